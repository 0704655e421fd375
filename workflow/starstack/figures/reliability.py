"""Reliability diagrams: how often what was predicted with a probability came true."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.figures.style import (
    BLUE,
    GREY,
    ONE_COLUMN,
    ROLE_COLOURS,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    heading,
    n_text,
    new_figure,
    sentence_figure,
    styled,
    unique,
)
from starstack.metrics.reliability import wilson_standard_error

COLUMNS = (
    "study",
    "estimator",
    "role",
    "output",
    "bin",
    "mean_predicted",
    "observed_frequency",
    "standard_error",
    "n",
)
_FEW = 10


@styled
def plot_reliability(reliability: pd.DataFrame, estimators: Sequence[str] | None = None) -> Figure:
    """Draw observed frequency against predicted probability, one panel per estimator.

    More than two classes are pooled, each against the rest: a panel then counts every pair of a
    row and a class. The small numbers are the counts of the bins.

    Parameters
    ----------
    reliability : DataFrame
        Rows of reliability.csv of one study.
    estimators : sequence of str, optional
        Which estimators; all by default, in the order of the table.

    Returns
    -------
    Figure
        One mark per estimator and bin, with one standard error. That of a pooled bin takes its
        pairs as independent, which errs to the safe side: the classes of a row exclude each other.

    Raises
    ------
    InputError
        If columns are missing, the table is of several studies, or an estimator is not
        in it.
    """
    check_table(reliability, COLUMNS, "reliability", may_be_empty=True)
    if reliability.empty:
        return sentence_figure("No model of this study predicts probabilities.")
    check_one_study(reliability, "reliability")
    names = choose(unique(reliability["estimator"]), estimators, "reliability: estimator")
    n_columns = _columns(len(names))
    n_rows = -(-len(names) // n_columns)
    width = ONE_COLUMN if n_columns == 1 else min(TWO_COLUMNS, 0.5 + 2.2 * n_columns)
    figure = new_figure(
        width, 0.75 + n_rows * (1.17 * (width - 0.45) / n_columns + 0.1), layout="compressed"
    )
    for number, name in enumerate(names):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        part = reliability[reliability["estimator"] == name]
        _diagram(axes, _pooled(part), ROLE_COLOURS.get(part["role"].iloc[0], BLUE))
        axes.set_title(heading(name, (width - 0.5) / n_columns))
        first, last = number % n_columns == 0, number + n_columns >= len(names)
        axes.tick_params(labelleft=first, labelbottom=last)
        # Words of 1.3 inches.
        gap = " " if width / n_columns > 1.5 else "\n"
        axes.set_ylabel(f"Observed{gap}frequency" if first else "")
        axes.set_xlabel(f"Predicted{gap}probability" if last else "")
    outputs = unique(reliability["output"])
    sizes = reliability.groupby(["estimator", "output"])["n"].sum()
    of = f"class “{outputs[0]}”"
    if len(outputs) > 1:
        of = f"{len(outputs)} classes, each against the rest, pooled"
    footnote(
        figure,
        f"{n_text(sizes)} rows; {of}. Error bars: ± 1 standard error.\n"
        f"Small numbers: predictions in the bin; open marks: fewer than {_FEW}.",
    )
    return figure


def _columns(n_names: int) -> int:
    """Choose how many panels stand side by side: few gaps, and no more rows than a page holds.

    Examples
    --------
    >>> [_columns(n) for n in (1, 5, 7, 16, 17, 30)]
    [1, 3, 4, 4, 5, 6]
    """
    if n_names > 16:
        return 5 if n_names <= 25 else 6
    return min(n_names, 3 if n_names in (5, 6, 9) else 4)


def _pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Pool the classes of each bin, weighted by their counts; one class remains as it is."""
    if rows["bin"].is_unique:
        return rows
    weighted = rows[["mean_predicted", "observed_frequency"]].mul(rows["n"], axis=0)
    total = weighted.assign(bin=rows["bin"], n=rows["n"]).groupby("bin").sum()
    mean = total[["mean_predicted", "observed_frequency"]].div(total["n"], axis=0)
    return mean.assign(
        n=total["n"], standard_error=wilson_standard_error(mean["observed_frequency"], total["n"])
    )


def _diagram(axes: Axes, bins: pd.DataFrame, colour: str) -> None:
    """Draw one estimator's bins, with the line of perfect reliability."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    predicted, observed = bins["mean_predicted"], bins["observed_frequency"]
    error = bins["standard_error"]
    # A frequency cannot leave [0, 1], so neither does its bar.
    bars = np.stack([np.minimum(error, observed), np.minimum(error, 1 - observed)])
    for some, face in ((bins["n"] >= _FEW, colour), (bins["n"] < _FEW, "white")):
        if some.any():
            container = axes.errorbar(
                predicted[some],
                observed[some],
                yerr=bars[:, some],
                color=colour,
                marker="o",
                markersize=3.5,
                markerfacecolor=face,
                linestyle="none",
            )
            container.lines[0].set_gid("reliability")
    place = -1.0
    for p, n in zip(predicted, bins["n"], strict=True):
        place = max(p, place + 0.065)  # neighbouring bins may have almost the same mean
        axes.text(
            place, 1.07, str(int(n)), rotation=90, fontsize=5, color=GREY, ha="center", va="bottom"
        )
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.05, 1.24)
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])
    axes.set_aspect("equal")
