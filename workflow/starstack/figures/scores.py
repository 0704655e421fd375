"""Scores of base models, meta-learners and networks, with error bars."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from starstack.errors import InputError
from starstack.figures.style import (
    BAND,
    FIGURE_MARKS,
    ONE_COLUMN,
    PAGE,
    TWO_COLUMNS,
    check_table,
    choose,
    footnote,
    n_text,
    new_figure,
    styled,
    text_size,
    top_legend,
    unique,
)
from starstack.figures.words import FIGURE_WORDS, name_and_unit, target_words
from starstack.metrics.scores import METRICS

COLUMNS = (
    "study",
    "estimator",
    "role",
    "figure",
    "metric",
    "output",
    "value",
    "standard_error",
    "n",
)
_VALIDATED = ("out-of-fold", "cross-validated")
_ROLES = {"base": "Base models", "meta": "Meta-learners", "network": "Networks"}
_MARK = {
    "linestyle": "none",
    "markersize": 4.0,
    "markeredgecolor": "white",
    "markeredgewidth": 0.3,
}


@styled
def plot_scores(
    scores: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    weighted: bool = False,
) -> Figure:
    """Draw scores with one standard error, one panel per study, metric and output.

    Parameters
    ----------
    scores : DataFrame
        Rows of scores.csv; base models and meta-learners are drawn in its order.
    metrics : sequence of str, optional
        Which metrics; by default the first one of each study, its primary metric.
    labels : mapping of str to str, optional
        Words and unit of a target by its name, such as ``{"teff": "Teff (K)"}``.
    weighted : bool, optional
        Whether rows counted by their sample weights, which the remark below then says.

    Returns
    -------
    Figure
        One mark per row of the table that has a chosen metric; shape and colour say whether the
        score is out-of-fold, cross-validated, of the test rows or in-sample.

    Raises
    ------
    InputError
        If columns are missing, the table is empty, or a metric is not in it.
    """
    check_table(scores, COLUMNS, "scores")
    if metrics is not None:
        choose(unique(scores["metric"]), metrics, "scores: metric")
    for figure_name in unique(scores["figure"]):
        if figure_name not in FIGURE_MARKS:
            raise InputError(
                f"scores: column figure: expected one of {', '.join(FIGURE_MARKS)}, "
                f"got {figure_name!r}"
            )
    panels = []
    for _, of_study in scores.groupby("study", sort=False):
        for metric in metrics or [of_study["metric"].iloc[0]]:
            of_metric = of_study[of_study["metric"] == metric]
            panels += [part for _, part in of_metric.groupby("output", sort=False)]
    several_studies = scores["study"].nunique() > 1
    n_columns = min(len(panels), 2 if several_studies else 3)
    n_rows = -(-len(panels) // n_columns)
    slots = max(len(_slots(part)) for part in panels)
    slot = min(0.18, ((PAGE - 0.75) / n_rows - 0.55) / slots)
    figure = new_figure(
        ONE_COLUMN if len(panels) == 1 else TWO_COLUMNS, 0.75 + n_rows * (0.55 + slot * slots)
    )
    for number, part in enumerate(panels):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        words, unit = _output_words(part["output"].iloc[0], labels)
        _panel(axes, part, unit, names=several_studies or number % n_columns == 0)
        axes.tick_params(axis="y", labelsize=text_size(slot))
        axes.set_title(", ".join(filter(None, [part["study"].iloc[0] * several_studies, words])))
        if several_studies:
            axes.set_title(_sizes(part), loc="right", fontweight="normal", fontsize=6.5)
    shown = pd.concat(panels)
    vacant = n_rows > 1 and len(panels) < n_rows * n_columns
    _legend(figure, shown, sizes=not several_studies, vacant=vacant)
    remark = "Error bars: ± 1 standard error. Dotted: best base model, out-of-fold."
    if weighted:
        remark += "\nScores are weighted by the rows' sample weights."
    if (shown["standard_error"] == 0).any():
        remark += "\nNo bar: every row scores the same, so there is no spread to measure."
    footnote(figure, remark)
    return figure


def _output_words(output: str, labels: Mapping[str, str] | None) -> tuple[str, str]:
    """Look up name and unit of a panel's output; the only one of a study has no name."""
    if output:
        return name_and_unit(target_words(output, labels))
    only = list(labels.values()) if labels and len(labels) == 1 else [""]
    return "", name_and_unit(only[0])[1]


def _slots(part: pd.DataFrame) -> dict[tuple[str, str], str]:
    """List the lines of a panel: (role, estimator) -> name, with a heading before each role."""
    slots = {}
    for role in ("base", "meta", "network"):
        names = unique(part.loc[part["role"] == role, "estimator"])
        if names:
            slots[role, ""] = _ROLES[role]
            slots |= {(role, name): name for name in names}
    return slots


def _panel(axes: Axes, part: pd.DataFrame, unit: str, *, names: bool) -> None:
    """Draw the scores of one study, metric and output."""
    slots = _slots(part)
    position = {key: number for number, key in enumerate(slots)}
    for (_, name), number in position.items():
        if name:
            axes.axhspan(number - 0.43, number + 0.43, color=BAND, zorder=0)
    present = [name for name in FIGURE_MARKS if name in set(part["figure"])]
    # An estimator is either out-of-fold or cross-validated, so these two share a line.
    line = {name: "validated" if name in _VALIDATED else name for name in present}
    lines = list(dict.fromkeys(line.values()))
    for name in present:
        rows = part[part["figure"] == name]
        centre = [position[key] for key in zip(rows["role"], rows["estimator"], strict=True)]
        shift = 0.36 * (lines.index(line[name]) - (len(lines) - 1) / 2) if len(lines) > 1 else 0
        container = axes.errorbar(
            rows["value"],
            np.array(centre) + shift * (0.8 if len(lines) > 2 else 1),
            xerr=rows["standard_error"],
            **_MARK,
            **FIGURE_MARKS[name],
        )
        container.lines[0].set_gid("scores")
    metric = METRICS.get(part["metric"].iloc[0])
    honest = part[(part["role"] == "base") & (part["figure"] == "out-of-fold")]["value"]
    if len(honest):
        best = honest.max() if metric is None or metric.greater_is_better else honest.min()
        axes.axvline(best, color=FIGURE_MARKS["out-of-fold"]["color"], linestyle=":", zorder=0)
    axes.set_yticks(list(position.values()), list(slots.values()) if names else [])
    for text, (_, estimator) in zip(axes.get_yticklabels(), slots, strict=False):
        text.set_fontweight("normal" if estimator else "bold")
    axes.set_ylim(len(slots) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if _spans_decades(part):
        axes.set_xscale("log")
        decades = np.log10(part["value"].max() / part["value"].min())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.8 else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    # A letter of 8 points is 0.066 inches wide on average.
    width = axes.get_figure().get_figwidth() / axes.get_gridspec().ncols - 0.3
    axes.set_xlabel(textwrap.fill(metric_words(part["metric"].iloc[0], unit), int(width / 0.066)))


def _spans_decades(part: pd.DataFrame) -> bool:
    """Tell whether a loss has values so far apart that a linear axis would hide the good ones."""
    metric = METRICS.get(part["metric"].iloc[0])
    value = part["value"]
    return metric is not None and not metric.greater_is_better and value.max() > 8 * value.min() > 0


def metric_words(name: str, unit: str = "") -> str:
    """Name a metric with its unit and the direction in which it is better.

    Examples
    --------
    >>> metric_words("rmse", "K"), metric_words("rmse"), metric_words("r2", "K")
    ('RMSE (K; lower is better)', 'RMSE (lower is better)', 'R² (higher is better)')
    """
    if name not in METRICS:
        return name
    metric = METRICS[name]
    better = f"{'higher' if metric.greater_is_better else 'lower'} is better"
    shown = unit if metric.unit == "target" else metric.unit
    return f"{metric.label} ({f'{shown}; ' if shown else ''}{better})"


def _sizes(part: pd.DataFrame) -> str:
    """Write the number of rows behind the honest scores, and behind the test scores."""
    words = {"training n": part["figure"].isin(_VALIDATED), "test n": part["figure"] == "test"}
    texts = [n_text(part.loc[rows, "n"], word) for word, rows in words.items() if rows.any()]
    return ", ".join(texts)


def _legend(figure: Figure, shown: pd.DataFrame, *, sizes: bool, vacant: bool) -> None:
    """Say what each mark is: above the panels, or where a panel is missing."""
    present = [name for name in FIGURE_MARKS if name in set(shown["figure"])]
    handles = [Line2D([], [], **_MARK, **FIGURE_MARKS[name]) for name in present]
    texts = [FIGURE_WORDS[name] for name in present]
    if sizes:
        counts = [n_text(shown.loc[shown["figure"] == name, "n"]) for name in present]
        texts = [f"{text}, {count}" for text, count in zip(texts, counts, strict=True)]
    columns = len(present) if len(figure.axes) > 1 else min(2, len(present))
    if vacant:
        rows = figure.axes[0].get_gridspec().nrows
        figure.legend(handles, texts, loc="center", bbox_to_anchor=(0.78, 0.55 / rows))
    else:
        top_legend(figure, handles, texts, columns)
