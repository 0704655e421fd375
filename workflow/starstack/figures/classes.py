"""Probabilities of classes by every method: how reliable they are, and what they score."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    BAND,
    BLUE,
    GREY,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    footnote,
    n_text,
    new_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import method_words

RELIABILITY_COLUMNS = (
    "study",
    "estimator",
    "method",
    "temperature",
    "low",
    "mean_confidence",
    "right",
    "interval_low",
    "interval_high",
    "n",
)
CALIBRATION_COLUMNS = (
    "study",
    "estimator",
    "method",
    "temperature",
    "statistic",
    "value",
    "standard_error",
    "n",
)
TIMES = {"before": ("before", BLUE, "o"), "after": ("at its temperature", VERMILLION, "s")}
SCORES = {"log_loss": "Log loss (nat)", "brier": "Brier score"}
_PLAIN, _MINUS_PLAIN = "plain", "_minus_plain"
_PER_ROW = 5
_FEW = 10


@styled
def plot_class_reliability(reliability: pd.DataFrame) -> Figure:
    """Draw the share of right rows against the confidence, before and after, for all methods.

    Parameters
    ----------
    reliability : DataFrame
        Rows of class_reliability.csv of one network: `RELIABILITY_COLUMNS`.

    Returns
    -------
    Figure
        A column per method: above as the method gives the probabilities, below at the temperature
        that calibration rows chose. Bars are binomial intervals of 68 %; small numbers are rows.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(reliability, RELIABILITY_COLUMNS, "class reliability")
    check_one_study(reliability, "class reliability")
    methods = unique(reliability["method"])
    blocks = [methods[at : at + _PER_ROW] for at in range(0, len(methods), _PER_ROW)]
    n_columns = max(len(block) for block in blocks)
    figure = new_figure(TWO_COLUMNS, 0.7 + 3.3 * len(blocks))
    grid = figure.subplots(2 * len(blocks), n_columns, squeeze=False, sharex=True, sharey=True)
    lowest = reliability["low"].min()
    for at, block in enumerate(blocks):
        for row, time in enumerate(TIMES):
            line = grid[2 * at + row]
            for axes, method in zip(line, block, strict=False):
                part = reliability[
                    (reliability["method"] == method) & (reliability["temperature"] == time)
                ]
                _reliability_panel(axes, part, time, lowest)
                if row == 0:
                    axes.set_title(method_words(method).replace(", ", "\n"))
                else:
                    axes.set_xlabel("Confidence")
                    axes.tick_params(labelbottom=True)
            for axes in line[len(block) :]:
                axes.remove()
            line[0].set_ylabel(f"Share right,\n{TIMES[time][0]}")
    sizes = reliability.groupby(["method", "temperature"])["n"].sum()
    footnote(
        figure,
        f"{n_text(sizes)} test rows. Confidence: probability of the most probable class, in bins "
        f"of equal width. Error bars: binomial intervals of 68 %. Small numbers: rows in the bin; "
        f"open marks: fewer than {_FEW}.",
    )
    return figure


def _reliability_panel(axes: Axes, bins: pd.DataFrame, time: str, lowest: float) -> None:
    _, colour, marker = TIMES[time]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    place = -1.0
    step = 0.075 * (1 - lowest)
    for row in bins.itertuples():
        axes.errorbar(
            [row.mean_confidence],
            [row.right],
            yerr=[[row.right - row.interval_low], [row.interval_high - row.right]],
            color=colour,
            marker=marker,
            markersize=3,
            markerfacecolor=colour if row.n >= _FEW else "white",
            gid="class_reliability",
        )
        place = max(row.mean_confidence, place + step)  # neighbouring bins may be close
        axes.text(
            place, 1.07, str(row.n), rotation=90, fontsize=5, color=GREY, ha="center", va="bottom"
        )
    axes.set_xlim(lowest - 0.04, 1.04)
    axes.set_ylim(-0.05, 1.24)
    axes.set_yticks([0, 0.5, 1])


@styled
def plot_class_scores(calibration: pd.DataFrame, *, weighted: bool = False) -> Figure:
    """Draw log loss and Brier score of every method, with the error of paired rows.

    Parameters
    ----------
    calibration : DataFrame
        Rows of class_calibration.csv of one network: `CALIBRATION_COLUMNS`.
    weighted : bool, optional
        Whether rows counted by their sample weights, which the remark below then says.

    Returns
    -------
    Figure
        A panel per score, a line per method. The error is that of the difference from the plain
        probabilities, which are scored on the same rows: a bar that does not reach their line says
        more than the error of either score.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(calibration, CALIBRATION_COLUMNS, "class calibration")
    check_one_study(calibration, "class calibration")
    methods = unique(calibration["method"])
    figure = new_figure(TWO_COLUMNS, 1.1 + 0.3 * len(methods))
    panels = figure.subplots(1, len(SCORES), sharey=True)
    own = []
    for axes, (score, label) in zip(panels, SCORES.items(), strict=True):
        _score_panel(axes, calibration, score, methods)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        plain = _statistic(calibration, score, "before").loc[_PLAIN]
        own.append(f"{plain['value']:.4f} ± {plain['standard_error']:.4f}")
    panels[0].set_yticks(range(len(methods)), [method_words(method) for method in methods])
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    handles, texts = panels[0].get_legend_handles_labels()
    top_legend(figure, handles, texts, columns=2)
    sizes = calibration.loc[calibration["statistic"] == "log_loss", "n"]
    footnote(
        figure,
        f"{n_text(sizes)} test rows. Error bars: ± 1 standard error of the difference from the "
        f"plain probabilities before (dashed) on the same rows. These by themselves: log loss "
        f"{own[0]}, Brier score {own[1]}."
        + " Scores are weighted by the rows' sample weights."
        * weighted,
    )
    return figure


def _score_panel(axes: Axes, calibration: pd.DataFrame, score: str, methods: list[str]) -> None:
    for number in range(0, len(methods), 2):
        axes.axhspan(number - 0.5, number + 0.5, color=BAND, zorder=0)
    for shift, (time, (name, colour, marker)) in zip((-0.14, 0.14), TIMES.items(), strict=True):
        found = _statistic(calibration, score, time).loc[methods]
        paired = _statistic(calibration, f"{score}{_MINUS_PLAIN}", time).loc[methods]
        axes.errorbar(
            found["value"].to_numpy(),
            np.arange(len(methods)) + shift,
            xerr=paired["standard_error"].to_numpy(),
            color=colour,
            marker=marker,
            markersize=3.5,
            linestyle="none",
            label=name,
            gid="class_scores",
        )
    plain = _statistic(calibration, score, "before").loc[_PLAIN, "value"]
    axes.axvline(plain, color=GREY, linewidth=0.8, linestyle="--", zorder=1)


def _statistic(calibration: pd.DataFrame, name: str, time: str) -> pd.DataFrame:
    chosen = (calibration["statistic"] == name) & (calibration["temperature"] == time)
    return calibration[chosen].set_index("method")
