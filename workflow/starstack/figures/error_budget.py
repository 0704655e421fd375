"""The parts of the predicted errors against the signal-to-noise ratio."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

from starstack.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    few_rows_figure,
    footnote,
    new_figure,
    sentence_figure,
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
    "snr",
    "observed",
    "predicted",
    "noise",
    "weights",
    "intrinsic",
    "total",
    "recalibrated",
)
TOTALS = ("total", "recalibrated")
PARTS = {
    "noise": ("noise of the spectrum", BLUE, "o"),
    "weights": ("weights", ORANGE, "s"),
    "intrinsic": ("intrinsic scatter", SKY, "^"),
}
# Of what an axis can mark, these are round and no more than the room for them.
_TICKS = (10, 20, 30, 50, 100, 200, 300, 500, 1000)
FEW = 5


@styled
def plot_error_budget(
    budget: pd.DataFrame,
    snr_bins: Sequence[float] | None = None,
    labels: Mapping[str, str] | None = None,
    structure: str | None = None,
) -> Figure:
    """Draw the predicted errors and their parts, and the errors that were made.

    Parameters
    ----------
    budget : DataFrame
        One line per row and label of one estimator of one study: `COLUMNS`; ``noise``,
        ``weights``, ``intrinsic``, ``total`` and ``recalibrated`` are standard deviations.
    snr_bins : sequence of float, optional
        Edges in rising order; eight bins of equal width in the logarithm by default.
    labels : mapping of str to str, optional
        Words and unit of a label by its name, such as ``{"teff": "Teff (K)"}``.
    structure : str, optional
        Structure of the curvature that the uncertainty of the weights was computed with.

    Returns
    -------
    Figure
        A column per label. Above: root mean squares in each bin of the parts, of their total
        before and after recalibration (if there was one), and of predicted minus observed (with
        one standard error). Below: shares of the variance before recalibration.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(budget, COLUMNS, "error budget")
    check_one_study(budget, "error budget")
    known = budget[np.isfinite(budget["snr"])]
    if known.empty:
        return sentence_figure("No row of this study has a signal-to-noise ratio.")
    edges = _edges(known["snr"]) if snr_bins is None else list(snr_bins)
    outputs = unique(known["output"])
    recalibrated = is_recalibrated(known)
    width = min(TWO_COLUMNS, 1.0 + 2.4 * len(outputs))
    figure = new_figure(width, 3.9)
    axes_of = figure.subplots(
        2,
        len(outputs),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [1.7, 1], "hspace": 0.04},
    )
    sizes: list[int] = []
    for column, output in enumerate(outputs):
        binned = _binned(known[known["output"] == output], edges)
        if binned.empty:
            return few_rows_figure(FEW)
        sizes += binned["n"].tolist()
        above, below = axes_of[:, column]
        name = target_words(output, labels)
        above.set_title(name)
        above.set_ylabel(f"Error{unit_of(name)}")
        _lines(above, binned, structure, recalibrated=recalibrated)
        _shares(below, binned)
        below.set_ylabel("Variance share" if column == 0 else "")
        below.set_xlabel("Signal-to-noise ratio")
    columns = 3 if len(outputs) > 1 else 2
    top_legend(figure, *axes_of[0, 0].get_legend_handles_labels(), columns=columns)
    few, many = min(sizes), max(sizes)
    footnote(
        figure,
        f"Test rows; root mean squares of {few} to {many} rows per bin. Errors made: predicted − "
        "observed, ± 1 standard error."
        + " Parts and shares are those before recalibration."
        * recalibrated,
    )
    return figure


def is_recalibrated(budget: pd.DataFrame) -> bool:
    """Tell whether predicted errors were stretched: without recalibration none of them is."""
    return bool((budget["recalibrated"] != budget["total"]).any())


def _edges(snr: pd.Series, n_bins: int = 8) -> list[float]:
    low, high = float(snr.min()), float(snr.max())
    return list(np.geomspace(low, high if high > low else 1.01 * low, n_bins + 1))


def _binned(rows: pd.DataFrame, edges: Sequence[float]) -> pd.DataFrame:
    """Take root mean squares in bins that have rows enough."""
    found = []
    for low, high in pairwise(edges):
        last = high == edges[-1]
        inside = rows[
            (rows["snr"] >= low) & ((rows["snr"] <= high) if last else (rows["snr"] < high))
        ]
        if len(inside) < FEW:
            continue
        squares = (inside["predicted"] - inside["observed"]).to_numpy() ** 2
        made = float(np.sqrt(squares.mean()))
        error = squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * made) if made else np.nan
        parts = {name: np.sqrt(np.mean(inside[name] ** 2)) for name in (*PARTS, *TOTALS)}
        centre = float(np.exp(np.log(inside["snr"]).mean()))
        found.append({"snr": centre, "made": made, "error": error, "n": len(inside)} | parts)
    columns = ["snr", "made", "error", "n", *PARTS, *TOTALS]
    return pd.DataFrame(found, columns=columns)


def _lines(axes: Axes, binned: pd.DataFrame, structure: str | None, *, recalibrated: bool) -> None:
    for part, (words, colour, marker) in PARTS.items():
        if part == "weights" and structure:
            words = f"{words}, {structure_words(structure)}"
        shown = binned[binned[part] > 0]
        axes.plot(shown["snr"], shown[part], color=colour, marker=marker, markersize=3, label=words)
    axes.plot(
        binned["snr"], binned["total"], color="black", linewidth=1.4, label="sum of the parts"
    )
    if recalibrated:
        axes.plot(
            binned["snr"],
            binned["recalibrated"],
            color=PURPLE,
            linewidth=1.2,
            linestyle="--",
            label="sum, recalibrated",
        )
    axes.errorbar(
        binned["snr"],
        binned["made"],
        yerr=binned["error"],
        color=VERMILLION,
        marker="D",
        markersize=3,
        linestyle="none",
        label="errors made",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    low, high = binned["snr"].min(), binned["snr"].max()
    axes.set_xlim(0.9 * low, 1.1 * high)
    axes.set_xticks([tick for tick in _TICKS if 0.9 * low <= tick <= 1.1 * high])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(True)


def _shares(axes: Axes, binned: pd.DataFrame) -> None:
    """Stack the parts' shares of the variance of the total."""
    squares = binned[list(PARTS)].to_numpy() ** 2
    whole = squares.sum(axis=1, keepdims=True)
    shares = squares / np.where(whole > 0, whole, 1)
    axes.stackplot(
        binned["snr"],
        shares.T,
        colors=[colour for _, colour, _ in PARTS.values()],
        alpha=0.75,
        linewidth=0.5,
        edgecolor="white",
    )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axes.grid(False)
    axes.tick_params(axis="x", color=GREY)
