"""How alike the base models err: one number per pair of models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    ONE_COLUMN,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    n_text,
    new_figure,
    sentence_figure,
    styled,
    unique,
)

COLUMNS = ("study", "statistic", "model_a", "model_b", "value", "n")

# Colour scale of each statistic: a diverging one where zero means independent errors.
_SCALES = {
    "error_correlation": {"cmap": "RdBu_r", "vmin": -1.0, "vmax": 1.0},
    "q_statistic": {"cmap": "RdBu_r", "vmin": -1.0, "vmax": 1.0},
    "disagreement": {"cmap": "Blues", "vmin": 0.0},
}

_WORDS = {
    "error_correlation": "Error correlation",
    "q_statistic": "Q statistic",
    "disagreement": "Disagreement (share of rows)",
}


@styled
def plot_diversity(diversity: pd.DataFrame, statistics: Sequence[str] | None = None) -> Figure:
    """Draw the lower triangle of each statistic of diversity, with its numbers.

    Parameters
    ----------
    diversity : DataFrame
        Rows of diversity.csv of one study.
    statistics : sequence of str, optional
        Which statistics, one panel each; by default the correlation of errors and, for
        classifiers, the Q statistic.

    Returns
    -------
    Figure
        One numbered cell per pair; a dash where a statistic is not defined.

    Raises
    ------
    InputError
        If columns are missing, the table is of several studies, or a statistic is not
        in it.
    """
    check_table(diversity, COLUMNS, "diversity", may_be_empty=True)
    if diversity.empty:
        return sentence_figure("This study has fewer than two base models to compare.")
    check_one_study(diversity, "diversity")
    known = unique(diversity["statistic"])
    usual = [name for name in ("error_correlation", "q_statistic") if name in known]
    wanted = choose(known, statistics or usual, "diversity: statistic")
    models = unique(pd.concat([diversity["model_a"], diversity["model_b"]]))
    longest = 0.06 * max(len(model) for model in models)
    # Cells of one size, wide enough for a number, unless the page is too narrow for them.
    free = (TWO_COLUMNS - longest - 0.4 * len(wanted)) / len(wanted)
    side = min(0.34 * max(len(models) - 1, 3), free)
    width = max(ONE_COLUMN, longest + len(wanted) * (side + 0.4))
    figure = new_figure(width, side + 0.65 * longest + 0.75, layout="compressed")
    for number, statistic in enumerate(wanted):
        axes = figure.add_subplot(1, len(wanted), number + 1)
        _triangle(axes, diversity[diversity["statistic"] == statistic], names=number == 0)
    shown = diversity[diversity["statistic"].isin(wanted)]
    remark = f"{n_text(shown['n'])} out-of-fold rows."
    if shown["value"].isna().any():
        remark += " Dash: not defined."
    if ((shown["statistic"] == "q_statistic") & (shown["value"] == -1)).any():
        remark += " Q = −1: the two never err on the same row."
    footnote(figure, remark)
    return figure


def _triangle(axes: Axes, pairs: pd.DataFrame, *, names: bool) -> None:
    """Draw the cells below the diagonal: the later model down, the earlier one across."""
    statistic = pairs["statistic"].iloc[0]
    models = unique(pd.concat([pairs["model_a"], pairs["model_b"]]))
    place = {model: number for number, model in enumerate(models)}
    matrix = np.full((len(models), len(models)), np.nan)
    scale = {"vmax": pairs["value"].max()} | _SCALES.get(statistic, {"cmap": "viridis"})
    size = 6.5 if len(models) <= 8 else 5.0
    for a, b, value in zip(pairs["model_a"], pairs["model_b"], pairs["value"], strict=True):
        row, column = sorted((place[a], place[b]), reverse=True)
        matrix[row, column] = value
    cells = matrix[1:, :-1]
    image = axes.imshow(cells, aspect="equal", **scale)
    for a, b, value in zip(pairs["model_a"], pairs["model_b"], pairs["value"], strict=True):
        row, column = sorted((place[a], place[b]), reverse=True)
        red, green, blue, _ = image.cmap(image.norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.45
        text = f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "–"
        axes.text(
            column,
            row - 1,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else "black",
        )
    axes.set_xticks(
        range(len(models) - 1),
        models[:-1],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(len(models) - 1), models[1:] if names else [])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(_WORDS.get(statistic, statistic))
    if len(models) > 2:
        # The cells above the diagonal are free, the last one in any case.
        inset = axes.inset_axes((0.6, 0.86, 0.36, 0.045))
        bar = axes.figure.colorbar(image, cax=inset, orientation="horizontal")
        bar.locator = MaxNLocator(2)
        bar.update_ticks()
        bar.outline.set_visible(False)
