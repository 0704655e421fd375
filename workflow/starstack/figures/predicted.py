"""Predicted against observed labels, with error bars."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.error_budget import is_recalibrated
from starstack.figures.style import (
    GREY,
    ORANGE,
    PURPLE,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    footnote,
    new_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import structure_words, target_words, unit_of

COLUMNS = (
    "study",
    "estimator",
    "row_id",
    "output",
    "observed",
    "predicted",
    "total",
    "recalibrated",
    "half_width_68",
)
# Bars of more rows would cover each other.
BARS = 250
_MANY = 3000
# Bars behind, and those in front, which have the points.
_LOOKS = (
    {"color": ORANGE, "elinewidth": 1.6, "alpha": 0.7},
    {"color": "black", "marker": "o", "markersize": 1.4, "elinewidth": 0.4},
)
_BARS = ("± 1 σ", "recalibrated 68 % interval")
_PROMISES = ("within 1 σ", "in the recalibrated 68 %")


@styled
def plot_predicted(
    budget: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    structure: str | None = None,
) -> Figure:
    """Draw predicted against observed labels, and below them the errors with their error bars.

    Parameters
    ----------
    budget : DataFrame
        One line per row and label of one estimator of one study: `COLUMNS`; ``total`` is the
        standard deviation that was predicted, ``half_width_68`` half the recalibrated interval.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.
    structure : str, optional
        Structure of the curvature that the uncertainty of the weights was computed with.

    Returns
    -------
    Figure
        A column per label. All rows are points; evenly chosen ones of them have a black bar of
        the recalibrated 68 % interval, and behind it an orange one of one predicted standard
        deviation, which without recalibration is the only bar, and black. Errors beyond the lower
        panel are triangles at its edge.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(budget, COLUMNS, "error budget")
    check_one_study(budget, "error budget")
    outputs = unique(budget["output"])
    width = min(TWO_COLUMNS, 0.9 + 2.5 * len(outputs))
    figure = new_figure(width, 4.0)
    grid = figure.add_gridspec(2, len(outputs), height_ratios=[1.8, 1], hspace=0.04)
    columns = ["total", "half_width_68"] if is_recalibrated(budget) else ["total"]
    cut_off = False
    for column, output in enumerate(outputs):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        rows = budget[budget["output"] == output]
        words = target_words(output, labels)
        cut_off |= _pair(above, below, rows, columns, words)
    figure.align_ylabels()
    shown = _BARS[: len(columns)]
    texts = [f"{words}, {structure_words(structure)}" if structure else words for words in shown]
    top_legend(figure, figure.axes[0].containers, texts, columns=2)
    n = len(budget) // len(outputs)
    footnote(
        figure,
        f"n = {n} test rows; error bars of {min(BARS, n)} of them; σ of noise, weights and "
        f"intrinsic scatter.{' Triangles: errors beyond the panel.' * cut_off}",
    )
    return figure


def _pair(above: Axes, below: Axes, rows: pd.DataFrame, columns: Sequence[str], words: str) -> bool:
    """Draw one label with bars of some columns, and tell whether errors lie beyond the panel."""
    observed, predicted = rows["observed"].to_numpy(), rows["predicted"].to_numpy()
    error = predicted - observed
    halves = [rows[column].to_numpy() for column in columns]
    few = np.unique(np.linspace(0, len(rows) - 1, min(BARS, len(rows))).round().astype(int))
    ends = [observed.min(), observed.max()]
    above.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--")
    below.axhline(0, color=GREY, linewidth=0.8, linestyle="--")
    limit = 1.2 * float(np.quantile(np.abs(error), 0.998)) or 1.0
    beyond = np.abs(error) > limit
    for axes, values, barred in ((above, predicted, few), (below, error, few[~beyond[few]])):
        axes.plot(
            observed,
            values,
            color=PURPLE,
            marker="o",
            markersize=1.2,
            markeredgewidth=0,
            alpha=0.3,
            linestyle="none",
            rasterized=len(rows) > _MANY,
            gid="predicted",
        )
        for half, look in zip(halves, _LOOKS[-len(halves) :], strict=True):
            axes.errorbar(
                observed[barred], values[barred], yerr=half[barred], linestyle="none", **look
            )
        axes.yaxis.set_major_locator(MaxNLocator(5 if axes is above else 3))
    for sign, marker in ((1, "^"), (-1, "v")):
        there = observed[beyond & (sign * error > 0)]
        edge = np.full(len(there), 0.94 * sign * limit)
        below.plot(there, edge, marker, color=PURPLE, markersize=3.5, gid="beyond")
    below.set_ylim(-limit, limit)
    below.xaxis.set_major_locator(MaxNLocator(4))
    above.tick_params(labelbottom=False)
    inside = [100 * float(np.mean(np.abs(error) <= half)) for half in halves]
    above.annotate(
        "\n".join(
            f"{share:.1f} % {promise}" for share, promise in zip(inside, _PROMISES, strict=False)
        ),
        (0, 1),
        xytext=(0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=6.5,
    )
    above.set_ylabel(f"Predicted {words}")
    below.set_ylabel(f"Error{unit_of(words)}")
    below.set_xlabel(f"Observed {words}")
    return bool(beyond.any())
