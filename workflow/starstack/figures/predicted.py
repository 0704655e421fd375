"""Predicted against true labels, with error bars."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    GREY,
    PURPLE,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    footnote,
    label,
    new_figure,
    styled,
    unique,
)

COLUMNS = ("study", "estimator", "row_id", "output", "observed", "predicted", "total")
# Bars of more rows would cover each other.
BARS = 250
_MANY = 3000


@styled
def plot_predicted(budget: pd.DataFrame, labels: Mapping[str, str] | None = None) -> Figure:
    """Draw predicted against true labels, and below them the errors with their error bars.

    Parameters
    ----------
    budget : DataFrame
        One line per row and label of one estimator of one study: `COLUMNS`; ``total`` is the
        standard deviation that was predicted.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    Figure
        A column per label. All rows are points; evenly chosen ones of them have a bar of
        one predicted standard deviation.

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
    for column, output in enumerate(outputs):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        rows = budget[budget["output"] == output]
        words = (labels or {}).get(output) or label(output)
        _pair(above, below, rows, words)
    figure.align_ylabels()
    n = len(budget) // len(outputs)
    footnote(
        figure,
        f"n = {n} test rows; error bars of {min(BARS, n)} of them: ± 1 predicted standard "
        "deviation (noise, weights and intrinsic scatter).",
    )
    return figure


def _pair(above: Axes, below: Axes, rows: pd.DataFrame, words: str) -> None:
    observed, predicted = rows["observed"].to_numpy(), rows["predicted"].to_numpy()
    total, error = rows["total"].to_numpy(), predicted - observed
    few = np.unique(np.linspace(0, len(rows) - 1, min(BARS, len(rows))).round().astype(int))
    ends = [observed.min(), observed.max()]
    above.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--")
    below.axhline(0, color=GREY, linewidth=0.8, linestyle="--")
    for axes, values in ((above, predicted), (below, error)):
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
        axes.errorbar(
            observed[few],
            values[few],
            yerr=total[few],
            color="black",
            marker="o",
            markersize=1.4,
            elinewidth=0.4,
            linestyle="none",
        )
        axes.yaxis.set_major_locator(MaxNLocator(5 if axes is above else 3))
    limit = 1.2 * float(np.quantile(np.abs(error), 0.998)) or 1.0
    below.set_ylim(-limit, limit)
    below.xaxis.set_major_locator(MaxNLocator(4))
    above.tick_params(labelbottom=False)
    inside = float(np.mean(np.abs(error) <= total))
    above.annotate(
        f"{100 * inside:.1f} % within 1 σ",
        (0, 1),
        xytext=(3, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=6.5,
    )
    above.set_ylabel(f"Predicted {words}")
    below.set_ylabel("Error")
    below.set_xlabel(f"True {words}")
