"""Rows in the plane of a learned projection, over the regions of the classes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from starstack.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ONE_COLUMN,
    ORANGE,
    PURPLE,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    footnote,
    new_figure,
    styled,
    top_legend,
    unique,
)

ROWS = ("study", "class", "predicted", "first", "second", "axis")
REGIONS = ("study", "first", "second", "class")

# As many classes as marks can tell apart; of more, each row is written as the name of its class.
_MARKS = [
    {"color": BLUE, "marker": "o"},
    {"color": VERMILLION, "marker": "^"},
    {"color": GREEN, "marker": "s"},
    {"color": PURPLE, "marker": "D"},
    {"color": ORANGE, "marker": "v"},
]
_TINT = 0.13
_SECOND_AXIS = {
    "learned": "Second learned direction",
    "rest": "First principal component of the rest\n(not used by the model)",
}


@styled
def plot_projection(rows: pd.DataFrame, regions: pd.DataFrame) -> Figure:
    """Draw test rows in the plane of a projection of rank two.

    Parameters
    ----------
    rows, regions : DataFrame
        projection/rows.csv and projection/regions.csv of one study. With the margins of the
        regions borders are straight lines; without, they follow the grid.

    Returns
    -------
    Figure
        Up to five classes have a colour and a mark each, and regions a tint of the colour; more
        classes are written by name, or by number and with a key where a name is longer than three
        letters; regions have borders and large names, and rows that the model gets wrong are
        vermillion.

    Raises
    ------
    InputError
        If columns are missing, a table is empty or of several studies.
    """
    check_table(rows, ROWS, "rows")
    check_table(regions, REGIONS, "regions")
    check_one_study(rows, "rows")
    classes = sorted(set(rows["class"]) | set(regions["class"]))
    few = len(classes) <= len(_MARKS)
    figure = new_figure(ONE_COLUMN if few else 0.75 * TWO_COLUMNS, 3.4 if few else 4.6)
    axes = figure.add_subplot()
    grid = _Grid(regions, classes)
    if few:
        _draw_marks(axes, rows, grid, classes)
    else:
        _draw_names(axes, rows, grid, classes)
    axes.set_xlim(grid.first[0], grid.first[-1])
    axes.set_ylim(grid.second[0], grid.second[-1])
    axes.set_xlabel(
        "First learned direction" if rows["axis"].iloc[0] == "learned" else "Learned direction"
    )
    axes.set_ylabel(_SECOND_AXIS[rows["axis"].iloc[0]])
    wrong = int((rows["class"] != rows["predicted"]).sum())
    footnote(
        figure,
        f"n = {len(rows)} test rows, of which {wrong} lie in the region of another class"
        + (" (circled)." if few else " (vermillion)."),
    )
    return figure


class _Grid:
    """The regions as a matrix of class numbers, and their margins."""

    def __init__(self, regions: pd.DataFrame, classes: list[str]) -> None:
        self.first = np.array(sorted(unique(regions["first"])))
        self.second = np.array(sorted(unique(regions["second"])))
        numbers = {name: number for number, name in enumerate(classes)}
        coded = regions.assign(code=regions["class"].map(numbers))
        if "margin" not in coded:
            coded["margin"] = 1.0
        table = coded.pivot(index="second", columns="first", values=["code", "margin"])
        self.codes = table["code"].to_numpy().astype(int)
        self._margins = table["margin"].to_numpy()

    def heights(self, number: int) -> np.ndarray:
        """Give a matrix that is positive in one region, and zero where its borders run.

        Along a grid line from one class to the next the outputs are linear, and so is this.
        """
        return np.where(self.codes == number, self._margins, -self._margins)


def _draw_marks(axes: Axes, rows: pd.DataFrame, grid: _Grid, classes: list[str]) -> None:
    for number in np.unique(grid.codes):
        axes.contourf(
            grid.first,
            grid.second,
            grid.heights(number),
            levels=[0, np.inf],
            colors=[str(_MARKS[number]["color"])],
            alpha=_TINT,
        )
    for name, mark in zip(classes, _MARKS, strict=False):
        part = rows[rows["class"] == name]
        axes.plot(part["first"], part["second"], linestyle="none", markersize=3, alpha=0.8, **mark)
    wrong = rows[rows["class"] != rows["predicted"]]
    axes.plot(
        wrong["first"],
        wrong["second"],
        linestyle="none",
        marker="o",
        markersize=8,
        markerfacecolor="none",
        markeredgecolor="black",
    )
    handles = [
        Line2D(
            [], [], linestyle="none", label=f"{name} (n = {(rows['class'] == name).sum()})", **mark
        )
        for name, mark in zip(classes, _MARKS, strict=False)
    ]
    top_legend(axes.figure, handles, [mark.get_label() for mark in handles], columns=2)


def _draw_names(axes: Axes, rows: pd.DataFrame, grid: _Grid, classes: list[str]) -> None:
    short = _short_names(classes)
    for number, name in enumerate(classes):
        inside = grid.codes == number
        if inside.any():
            heights = grid.heights(number)
            axes.contour(
                grid.first, grid.second, heights, levels=[0], colors=[GREY], linewidths=0.6
            )
            x, y = _deepest_point(inside, grid)
            axes.text(
                x, y, short[name], ha="center", va="center", fontsize=26, color="#DADADA", zorder=0
            )
    for name, predicted, x, y in zip(
        rows["class"], rows["predicted"], rows["first"], rows["second"], strict=True
    ):
        axes.text(
            x,
            y,
            short[name],
            ha="center",
            va="center",
            fontsize=5.5,
            color=BLUE if name == predicted else VERMILLION,
            weight="normal" if name == predicted else "bold",
            clip_on=True,
            gid="row",
        )
    if any(short[name] != name for name in classes):
        key = [f"{short[name]}: {name}" for name in classes]
        marks = [Line2D([], [], linestyle="none")] * len(key)
        top_legend(axes.figure, marks, key, columns=3, handlelength=0, handletextpad=0)


def _short_names(classes: list[str]) -> dict[str, str]:
    """Give each class a name of its own that a mark has room for: its own one, or a number."""
    if max(map(len, classes)) <= 3:
        return {name: name for name in classes}
    return {name: str(number) for number, name in enumerate(classes, 1)}


def _deepest_point(inside: np.ndarray, grid: _Grid) -> tuple[float, float]:
    """Find the point of a region that is farthest from its border, by eroding it to the last."""
    layer = inside
    while True:
        padded = np.pad(layer, 1)
        eroded = layer & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
        if not eroded.any():
            break
        layer = eroded
    row, column = np.argwhere(layer)[len(np.argwhere(layer)) // 2]
    return float(grid.first[column]), float(grid.second[row])
