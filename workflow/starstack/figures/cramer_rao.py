"""Errors over the smallest possible ones, against the signal-to-noise ratio."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.figures.style import (
    GREY,
    SERIES_COLOURS,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    n_text,
    new_figure,
    sentence_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import name_and_unit, target_words

COLUMNS = (
    "study",
    "estimator",
    "bound",
    "output",
    "snr",
    "statistic",
    "value",
    "standard_error",
    "n",
)
_WORDS = {"error_over_bound": "errors made", "noise_over_bound": "predicted noise part"}
_FORMS = {"error_over_bound": ("-", "o"), "noise_over_bound": (":", "s")}


@styled
def plot_cramer_rao(
    efficiency: pd.DataFrame,
    estimators: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw errors over the Cramér–Rao bound in bins of the signal-to-noise ratio.

    Parameters
    ----------
    efficiency : DataFrame
        Ratios of one study: `COLUMNS`; ``bound`` says which bound, such as "known nuisances".
    estimators : sequence of str, optional
        Which; all by default.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    Figure
        A panel per label, on a logarithmic scale; at 1 the spectrum tells no more.

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies, or an estimator unknown.
    """
    check_table(efficiency, COLUMNS, "efficiency")
    check_one_study(efficiency, "efficiency")
    names = choose(unique(efficiency["estimator"]), estimators, "efficiency: estimator")
    table = efficiency[
        efficiency["estimator"].isin(names)
        & efficiency["statistic"].isin(_WORDS)
        & (efficiency["snr"] != "all")
    ]
    if table.empty:
        return sentence_figure("No row of this study has a signal-to-noise ratio in the bins.")
    outputs, bins = unique(table["output"]), unique(table["snr"])
    series = list(dict.fromkeys(zip(table["estimator"], table["bound"], strict=True)))
    # A bar that reaches down to zero has no end on a logarithmic scale.
    error = table["standard_error"].fillna(0)
    low = min(0.9, 0.9 * np.maximum(table["value"] - error, table["value"] / 2).min())
    high = 1.1 * (table["value"] + error).max()
    width = min(TWO_COLUMNS, 0.9 + 2.4 * len(outputs))
    figure = new_figure(width, 2.9)
    axes_of = figure.subplots(1, len(outputs), sharey=True, squeeze=False)[0]
    for axes, output in zip(axes_of, outputs, strict=True):
        axes.set_title(name_and_unit(target_words(output, labels))[0])
        for (name, bound), colour in zip(series, cycle(SERIES_COLOURS), strict=False):
            part = table[
                (table["output"] == output)
                & (table["estimator"] == name)
                & (table["bound"] == bound)
            ]
            _series(axes, part, bins, colour, f"{name}, {bound}")
        axes.axhline(1, color=GREY, linewidth=0.9)
        axes.set_xticks(range(len(bins)), [text.replace("-", "–") for text in bins])
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel("Signal-to-noise ratio")
        axes.set_yscale("log")
        ticks = [t for t in (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)]
        axes.set_ylim(low, high)
        axes.set_yticks([t for t in ticks if low <= t <= high])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
        axes.grid(True, axis="y")
    axes_of[0].set_ylabel("Error / Cramér–Rao bound")
    top_legend(figure, *axes_of[0].get_legend_handles_labels(), columns=2)
    footnote(
        figure,
        "Ratios of root mean squares over test rows, each at its own noise; "
        f"{n_text(table['n'], 'rows per bin')}; error bars: ± 1 standard error.",
    )
    return figure


def _series(axes: Axes, part: pd.DataFrame, bins: Sequence[str], colour: str, words: str) -> None:
    for statistic, (line, marker) in _FORMS.items():
        rows = part[part["statistic"] == statistic]
        if rows.empty:
            continue
        axes.errorbar(
            rows["snr"].map(list(bins).index).astype(float),
            rows["value"],
            yerr=np.nan_to_num(rows["standard_error"]),
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=3,
            linewidth=0.9,
            label=f"{words}: {_WORDS[statistic]}",
        )
