"""Bias and MAD scatter of predicted labels against the signal-to-noise ratio."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.figures.style import (
    GREY,
    ROLE_COLOURS,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    new_figure,
    sentence_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import target_words, unit_of

COLUMNS = (
    "study",
    "estimator",
    "role",
    "output",
    "snr",
    "statistic",
    "value",
    "standard_error",
    "n",
)
_ROWS = {"median": "Bias", "mad_scatter": "MAD scatter"}
_LINES = {"base": ":", "meta": "--", "network": "-"}
_MARKERS = {"base": "oXPvd", "meta": "s^<>p", "network": "oD^vP"}


@styled
def plot_errors(
    errors: pd.DataFrame,
    estimators: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the median error and the MAD scatter of each label in bins of signal-to-noise ratio.

    Parameters
    ----------
    errors : DataFrame
        Rows of errors.csv of one study.
    estimators : sequence of str, optional
        Which estimators; by default all meta-learners and networks, or all base models if there
        are none.
    labels : mapping of str to str, optional
        Words and unit of a label by its name, such as ``{"teff": "Teff (K)"}``.

    Returns
    -------
    Figure
        A column per label: above the bias (median of predicted minus observed), below the
        MAD scatter (1.4826 times the median absolute deviation).

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies, or an estimator is not
        in it.
    """
    check_table(errors, COLUMNS, "errors")
    check_one_study(errors, "errors")
    known = unique(errors["estimator"])
    final = unique(errors.loc[errors["role"] != "base", "estimator"])
    names = choose(known, estimators or final, "errors: estimator")
    binned = errors[(errors["snr"] != "all") & errors["estimator"].isin(names)]
    if binned.empty:
        return sentence_figure("No row of this study has a signal-to-noise ratio in the bins.")
    bins = unique(binned["snr"])
    outputs = unique(binned["output"])
    figure = new_figure(TWO_COLUMNS, 4.2)
    axes_of = figure.subplots(
        len(_ROWS), len(outputs), sharex=True, squeeze=False, gridspec_kw={"hspace": 0.05}
    )
    styles = _styles(binned, names)
    for row, (statistic, words) in enumerate(_ROWS.items()):
        for column, output in enumerate(outputs):
            axes = axes_of[row, column]
            part = binned[(binned["statistic"] == statistic) & (binned["output"] == output)]
            _panel(axes, part, bins, styles)
            name = target_words(output, labels)
            axes.set_ylabel(f"{words}{unit_of(name)}")
            if statistic == "median":
                axes.set_title(name)
                axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
            else:
                axes.set_ylim(bottom=0)
    for axes in axes_of[-1]:
        axes.set_xticks(np.arange(len(bins)), [text.replace("-", "–") for text in bins])
        axes.tick_params(axis="x", rotation=45)
        axes.set_xlabel("Signal-to-noise ratio")
    handles = {line.get_label(): line for line in axes_of[0, 0].containers}
    top_legend(figure, handles.values(), handles, columns=4)
    sizes = binned.groupby("snr", sort=False)["n"].max()
    counts = ", ".join(f"{text.replace('-', '–')}: {n}" for text, n in sizes.items())
    footnote(
        figure,
        "Test rows; error bars: ± 1 standard error. Bias: median of predicted − observed. MAD "
        f"scatter: 1.4826 × median absolute deviation.\nSpectra per bin: {counts}.",
    )
    return figure


def _styles(binned: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Give each estimator a line and a marker; the colour says its role."""
    markers = {role: cycle(shapes) for role, shapes in _MARKERS.items()}
    roles = binned.drop_duplicates("estimator").set_index("estimator")["role"]
    shift = np.linspace(-0.18, 0.18, len(names)) if len(names) > 1 else [0.0]
    return {
        name: {
            "color": ROLE_COLOURS[roles[name]],
            "linestyle": _LINES[roles[name]],
            "marker": next(markers[roles[name]]),
            "shift": by,
        }
        for name, by in zip(names, shift, strict=True)
    }


def _panel(
    axes: Axes, part: pd.DataFrame, bins: Sequence[str], styles: Mapping[str, Mapping]
) -> None:
    for name, style in styles.items():
        rows = part[part["estimator"] == name]
        options = {key: value for key, value in style.items() if key != "shift"}
        container = axes.errorbar(
            rows["snr"].map(list(bins).index) + style["shift"],
            rows["value"],
            yerr=rows["standard_error"],
            markersize=3.2,
            linewidth=0.8,
            label=name,
            **options,
        )
        container.lines[0].set_gid("errors")
