"""How the errors of the labels hang together: predicted correlations, and those of the errors."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.figures.style import (
    BLUE,
    GREY,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    few_rows_figure,
    footnote,
    n_text,
    new_figure,
    sentence_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import name_and_unit, structure_words, target_words

COLUMNS = ("study", "estimator", "row_id", "output", "snr", "observed", "predicted", "total")
FEW = 20


@styled
def plot_error_correlations(
    budget: pd.DataFrame,
    snr_bins: Sequence[float] | None = None,
    labels: Mapping[str, str] | None = None,
    structure: str | None = None,
) -> Figure:
    """Draw correlations of the errors of two labels against the signal-to-noise ratio.

    Parameters
    ----------
    budget : DataFrame
        One line per row and label of one estimator of one study: `COLUMNS`, and
        ``correlation_<label>`` for each label, of the predicted total covariance.
    snr_bins : sequence of float, optional
        Edges in rising order; eight bins of equal width in the logarithm by default.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.
    structure : str, optional
        Structure of the curvature that the uncertainty of the weights was computed with.

    Returns
    -------
    Figure
        A panel per pair of labels: the median and the 16 to 84 % range of the predicted
        correlation, and the correlation of the errors over their predicted standard deviations
        (± one standard error, of Fisher's transform).

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(budget, COLUMNS, "error budget")
    outputs = unique(budget["output"])
    check_table(budget, [f"correlation_{name}" for name in outputs], "error budget")
    check_one_study(budget, "error budget")
    if len(outputs) < 2:
        return sentence_figure("This study has one label, whose errors are correlated with none.")
    known = budget[np.isfinite(budget["snr"])]
    if known.empty:
        return sentence_figure("No row of this study has a signal-to-noise ratio.")
    low, high = known["snr"].min(), known["snr"].max()
    edges = np.geomspace(low, max(high, 1.01 * low), 9) if snr_bins is None else snr_bins
    z = known.assign(z=(known["predicted"] - known["observed"]) / known["total"])
    wide = z.pivot(index="row_id", columns="output", values="z")
    snr = z.groupby("row_id")["snr"].first().loc[wide.index].to_numpy()
    pairs = list(combinations(outputs, 2))
    figure = new_figure(TWO_COLUMNS, 2.5 * -(-len(pairs) // 3) + 0.4)
    rows = -(-len(pairs) // 3)
    axes_of = figure.subplots(rows, min(len(pairs), 3), sharey=True, squeeze=False).flat
    for axes, (first, second) in zip(axes_of, pairs, strict=False):
        own = known[known["output"] == first].set_index("row_id")[f"correlation_{second}"]
        predicted = own.loc[wide.index].to_numpy()
        found = _binned(snr, predicted, wide[first].to_numpy(), wide[second].to_numpy(), edges)
        if found.empty:
            return few_rows_figure(FEW)
        _panel(
            axes, found, f"predicted, {structure_words(structure)}" if structure else "predicted"
        )
        words = (name_and_unit(target_words(name, labels))[0] for name in (first, second))
        axes.set_title(", ".join(words))
        axes.set_xlabel("Signal-to-noise ratio")
    for axes in list(axes_of)[len(pairs) :]:
        axes.remove()
    figure.axes[0].set_ylabel("Correlation of the errors")
    top_legend(figure, *figure.axes[0].get_legend_handles_labels(), columns=2)
    footnote(
        figure,
        f"Test rows, {n_text(found['n'], 'rows per bin')}. Line and band: median and 16 to 84 % "
        "of the predicted correlations.\nMarks: errors made over their predicted standard "
        "deviation, ± 1 standard error.",
    )
    return figure


def _binned(
    snr: np.ndarray, predicted: np.ndarray, a: np.ndarray, b: np.ndarray, edges: Sequence[float]
) -> pd.DataFrame:
    found = []
    for low, high in pairwise(edges):
        inside = (snr >= low) & ((snr <= high) if high == edges[-1] else (snr < high))
        n = int(inside.sum())
        if n < FEW:
            continue
        both = np.stack((a[inside], b[inside]))
        # Errors that are all the same have no correlation.
        vary = np.isfinite(both).all() and (np.ptp(both, axis=1) > 0).all()
        made = float(np.corrcoef(both)[0, 1]) if vary else np.nan
        # Fisher 1915: artanh r has the standard error 1/√(n - 3).
        around = np.tanh(np.arctanh(made) + np.array([-1, 1]) / np.sqrt(n - 3))
        some = predicted[inside & np.isfinite(predicted)]
        quantiles = np.quantile(some, (0.16, 0.5, 0.84)) if len(some) else [np.nan] * 3
        centre = float(np.exp(np.log(snr[inside]).mean()))
        found.append((centre, *quantiles, made, *around, n))
    columns = ["snr", "low", "median", "high", "made", "made_low", "made_high", "n"]
    return pd.DataFrame(found, columns=columns)


def _panel(axes: Axes, found: pd.DataFrame, words: str) -> None:
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    axes.fill_between(found["snr"], found["low"], found["high"], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(found["snr"], found["median"], color=BLUE, label=words)
    bars = np.abs(found[["made_low", "made_high"]].to_numpy().T - found["made"].to_numpy())
    axes.errorbar(
        found["snr"],
        found["made"],
        yerr=bars,
        color=VERMILLION,
        marker="D",
        markersize=3,
        linestyle="none",
        label="errors made",
    )
    axes.set_xscale("log")
    low, high = found["snr"].min(), found["snr"].max()
    axes.set_xticks(
        [t for t in (10, 20, 30, 50, 100, 200, 300, 500) if 0.9 * low <= t <= 1.1 * high]
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_ylim(-1, 1)
