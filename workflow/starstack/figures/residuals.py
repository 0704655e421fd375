"""Predicted against observed values of the test rows, with the residuals below."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    BLUE,
    GREY,
    ONE_COLUMN,
    PAGE,
    ROLE_COLOURS,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    heading,
    new_figure,
    styled,
    unique,
)
from starstack.figures.words import rounded, target_words

COLUMNS = ("study", "estimator", "role", "row_id", "output", "observed", "predicted")
# Above this many points a vector file becomes slow to open, so they are drawn as pixels.
_MANY = 3000
# Rows of panels that a page can hold.
_BLOCKS = 6
_STEPS = [1, 2, 2.5, 5, 10]


@styled
def plot_residuals(
    predictions: pd.DataFrame,
    estimators: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw predicted against observed values, and below them the residuals.

    Parameters
    ----------
    predictions : DataFrame
        Rows of predictions.csv of one regression study.
    estimators : sequence of str, optional
        Which estimators; by default all meta-learners and networks, or all base models if
        there are none.
    labels : mapping of str to str, optional
        Words and unit of a target by its name, such as ``{"teff": "Teff (K)"}``.

    Returns
    -------
    Figure
        A panel with its residuals per estimator and target; targets stand side by side. Each
        says the number of rows, and the mean and the standard deviation of the residuals,
        predicted minus observed. What a page has no room for is named below.

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies, or an estimator is not
        in it.
    """
    check_table(predictions, COLUMNS, "predictions")
    check_one_study(predictions, "predictions")
    known = unique(predictions["estimator"])
    final = unique(predictions.loc[predictions["role"] != "base", "estimator"])
    names = choose(known, estimators or final, "predictions: estimator")
    targets = unique(predictions["output"])
    n_columns = _columns(len(names), len(targets))
    most = max(1, _BLOCKS * n_columns // len(targets))
    names, left_out = names[:most], names[most:]
    panels = [(name, target) for name in names for target in targets]
    n_blocks = -(-len(panels) // n_columns)
    width = ONE_COLUMN if n_columns == 1 else TWO_COLUMNS
    height = min(0.95 * width / n_columns + 0.85, (PAGE - 0.35) / n_blocks)
    figure = new_figure(width, n_blocks * height + 0.35)
    ratios = [2.6 if height > 2.2 else 1.8, 1]
    grid = figure.add_gridspec(2 * n_blocks, n_columns, height_ratios=ratios * n_blocks)
    for number, (name, target) in enumerate(panels):
        block, column = divmod(number, n_columns)
        above = figure.add_subplot(grid[2 * block, column])
        below = figure.add_subplot(grid[2 * block + 1, column], sharex=above)
        of_panel = (predictions["estimator"] == name) & (predictions["output"] == target)
        words = target_words(target, labels) or "value"
        _pair(above, below, predictions[of_panel], words, (width / n_columns, height))
        above.set_title(heading(name, width / n_columns - 0.5))
        # Panels below each other have one target where all rows hold the same ones.
        last = number + n_columns >= len(panels) or n_columns % len(targets)
        below.tick_params(labelbottom=bool(last))
        below.xaxis.label.set_visible(bool(last))
    figure.align_ylabels()
    remark = (
        "Test rows. Mean and standard deviation (SD) of the residuals, predicted minus observed."
    )
    if left_out:
        remark += f"\nA page has no room for {', '.join(left_out)}."
    footnote(figure, remark)
    return figure


def _columns(n_names: int, n_targets: int) -> int:
    """Choose how many panels stand side by side: all targets of a model, without a gap if it can.

    Examples
    --------
    >>> _columns(1, 1), _columns(4, 1), _columns(5, 1), _columns(4, 2), _columns(5, 3)
    (1, 2, 3, 4, 3)
    """
    if n_targets == 1:
        return {1: 1, 2: 2, 4: 2, 7: 4, 8: 4}.get(n_names, 3 if n_names < 10 else 4)
    return n_targets * min(n_names, 2) if n_targets == 2 else min(n_targets, 4)


def _pair(
    above: Axes, below: Axes, rows: pd.DataFrame, words: str, size: tuple[float, float]
) -> None:
    """Draw the rows of one estimator and target in two panels, which have a width and a height."""
    width, height = size
    observed, predicted = rows["observed"].to_numpy(), rows["predicted"].to_numpy()
    residual = predicted - observed
    style = {
        "color": ROLE_COLOURS.get(rows["role"].iloc[0], BLUE),
        "marker": "o",
        "markersize": 2.5 if len(rows) < 500 else 1.2,
        "markeredgewidth": 0,
        "alpha": 0.6 if len(rows) < 500 else 0.3,
        "linestyle": "none",
        "rasterized": len(rows) > _MANY,
    }
    ends = [observed.min(), observed.max()]
    above.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--")
    above.plot(observed, predicted, gid="residuals", **style)
    below.axhline(0, color=GREY, linewidth=0.8, linestyle="--")
    below.plot(observed, residual, **style)
    spread = float(np.std(residual, ddof=1)) if len(residual) > 1 else float("nan")
    mean = rounded(residual.mean(), spread)
    above.annotate(
        f"n = {len(rows)}\nmean {mean}\nSD {rounded(spread, spread)}",
        (0, 1),
        xytext=(3, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=6.5,
    )
    # The numbers stand above the points, in a third of an inch.
    share = 0.33 / max(0.5 * height, 0.66)
    low, high = above.get_ylim()
    above.set_ylim(low, high + share / (1 - share) * (high - low))
    limit = 1.1 * float(np.abs(residual).max()) or 1.0
    below.set_ylim(-limit, limit)
    above.tick_params(labelbottom=False)
    for axes in (above, below):
        axes.yaxis.set_major_locator(MaxNLocator(5 if axes is above else 3, steps=_STEPS))
    below.xaxis.set_major_locator(MaxNLocator(4, steps=_STEPS))
    above.set_ylabel(_axis_label("Predicted", words, 0.57 * height))
    below.set_ylabel("Residual")
    below.set_xlabel(_axis_label("Observed", words, width - 0.55))


def _axis_label(what: str, words: str, room: float) -> str:
    """Write a label in one line where some inches are enough for it, else in two."""
    # A letter of 8 points is 0.066 inches wide on average.
    return f"{what}{' ' if 0.066 * len(f'{what} {words}') < room else chr(10)}{words}"
