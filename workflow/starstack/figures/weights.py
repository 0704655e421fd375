"""Weights that each meta-learner gives to the base models' predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    BAND,
    BLUE,
    PAGE,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    footnote,
    heading,
    new_figure,
    sentence_figure,
    styled,
    text_size,
    unique,
)
from starstack.figures.words import name_and_unit, target_words

COLUMNS = ("study", "meta_learner", "trained_on", "model", "meta_feature", "output", "weight")
BIAS = "(bias)"
_NO_MODEL = "(features)"  # features of the data itself, where a study keeps them
_PANELS_PER_ROW = 5
_BIAS_SLOT = 0.9
# Inches of height of a line with a number, and of one without.
_NUMBER, _CELL = 0.1, 0.07
# Outputs whose largest weights differ by more are coloured one by one: they have different units,
# and on one scale all but one would be white.
_ONE_SCALE = 10


@dataclass(frozen=True)
class _Learner:
    """The weights of one meta-learner: a matrix of meta-features by outputs, and its bias."""

    title: str
    weights: pd.DataFrame
    model: pd.Series
    bias: pd.Series

    @property
    def has_bias_line(self) -> bool:
        """Whether a heat map has a line for the bias."""
        return self.weights.shape[1] > 1 and len(self.bias) > 0

    @property
    def largest(self) -> np.ndarray:
        """Largest absolute weight of each output."""
        return np.nanmax(np.abs(self.weights.to_numpy()), axis=0)

    @property
    def scaled(self) -> bool:
        """Whether the outputs have colour scales of their own."""
        some = self.largest[self.largest > 0]
        return bool(some.size) and bool(some.max() > _ONE_SCALE * some.min())

    @property
    def limits(self) -> np.ndarray:
        """Weight at the end of the colour scale of each output, 1 where all weights are zero."""
        ends = self.largest if self.scaled else np.full(len(self.largest), self.largest.max())
        return np.where(ends > 0, ends, 1.0)


@styled
def plot_weights(weights: pd.DataFrame, labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the weights of every meta-learner of one study, one panel each.

    Rows are base models, the same in all panels. A meta-learner with one output (two classes, one
    target, or one set of weights for all classes) is drawn as bars; with several outputs as a heat
    map, in which a model's block has one line per meta-feature and one column per output. Thus
    630 weights of ten digits remain legible. Columns of few outputs bear their numbers where a
    page has room for them; columns of outputs with different units have their own colour scales.

    Parameters
    ----------
    weights : DataFrame
        Rows of weights.csv of one study.
    labels : mapping of str to str, optional
        Words and unit of a target by its name, such as ``{"teff": "Teff (K)"}``.

    Returns
    -------
    Figure
        One bar or cell per row of the table; a bias is written below the bars, and a line of
        cells below the heat map. Biases that are all zero are left out.

    Raises
    ------
    InputError
        If columns are missing, or the table holds several studies.
    """
    check_table(weights, COLUMNS, "weights", may_be_empty=True)
    if weights.empty:
        return sentence_figure("No meta-learner of this study has weights.")
    check_one_study(weights, "weights")
    learners = [_learner(name, part) for name, part in weights.groupby("meta_learner", sort=False)]
    rows = weights[weights["meta_feature"] != BIAS]
    models = unique(rows["model"].replace("", _NO_MODEL))
    # All panels have the same rows, so that a model stands at one height in all of them.
    bottom = len(models) + (_BIAS_SLOT if any(x.has_bias_line for x in learners) else 0) - 0.45
    blocks = -(-len(learners) // _PANELS_PER_ROW)
    n_columns = -(-len(learners) // blocks)
    maps = [learner for learner in learners if learner.weights.shape[1] > 1]
    width = min(TWO_COLUMNS, 1.9 + 1.6 * n_columns)
    names = {learner.title: _column_names(learner, labels, width / n_columns) for learner in maps}
    upright = max(
        (0.06 * max(map(len, texts)) for texts, angle in names.values() if angle), default=0
    )
    height, numbered = _panel_height(
        learners, models, bottom, (PAGE - 0.2) / blocks - 1.2 - upright
    )
    figure = new_figure(width, blocks * (height + upright + 1.2) + 0.2)
    # Colour bars have a line of the grid to themselves: beside a panel they would shrink it.
    strips = 2 if maps else 1
    grid = figure.add_gridspec(
        strips * blocks, n_columns, height_ratios=[height, 0.07][:strips] * blocks
    )
    for number, learner in enumerate(learners):
        block, column = divmod(number, n_columns)
        axes = figure.add_subplot(grid[strips * block, column])
        axes.set_title(learner.title)
        if learner.weights.shape[1] == 1:
            _bars(axes, learner, models)
        else:
            mesh, extend = _heat_map(axes, learner, models, numbered=numbered)
            texts, angle = names[learner.title]
            axes.set_xticks(range(len(texts)), texts, rotation=angle)
            bar = figure.add_subplot(grid[strips * block + 1, column])
            _colour_bar(bar, mesh, extend, scaled=learner.scaled)
        axes.set_yticks(range(len(models)), models if column == 0 else [])
        axes.tick_params(axis="y", length=0, labelsize=text_size(height / (bottom + 0.55)))
        axes.set_ylim(bottom, -0.55)
    if strips == 2:
        footnote(figure, _key(maps, labels))
    return figure


def _column_names(
    learner: _Learner, labels: Mapping[str, str] | None, width: float
) -> tuple[list[str], int]:
    """Write the outputs below their columns, units in a second line, and choose their angle."""
    words = [target_words(name, labels) for name in learner.weights.columns]
    texts = [text.replace(" (", "\n(") for text in words]
    longest = max(len(line) for text in texts for line in text.splitlines())
    # A letter of 7 points is 0.06 inches wide; the names of the models have their share as well.
    fits = 0.06 * longest * len(texts) < 0.75 * width
    return (texts, 0) if fits else (words, 90)


def _panel_height(
    learners: Sequence[_Learner], models: Sequence[str], bottom: float, room: float
) -> tuple[float, bool]:
    """Choose the height of the panels in inches, and whether cells have room for numbers."""
    maps = [learner for learner in learners if learner.weights.shape[1] > 1]
    lines = max(len(learner.weights) for learner in learners)
    height = min(max(0.22 * len(models), _CELL * lines, 0.9), 6.0, room)
    if not maps or any(learner.weights.shape[1] > 4 for learner in maps):
        return height, False
    # A model's block is 0.9 high where the distance of two models is 1.
    most = max(learner.model.value_counts().max() for learner in maps)
    wanted = _NUMBER * most / 0.9 * (bottom + 0.55)
    return (max(height, wanted), True) if wanted <= room else (height, False)


def _learner(name: str, part: pd.DataFrame) -> _Learner:
    """Arrange the rows of one meta-learner as a matrix, models and outputs in their order."""
    is_bias = part["meta_feature"] == BIAS
    rows = part[~is_bias]
    matrix = rows.pivot(index="meta_feature", columns="output", values="weight")
    matrix = matrix.loc[unique(rows["meta_feature"]), unique(rows["output"])]
    model = rows.drop_duplicates("meta_feature").set_index("meta_feature")["model"]
    bias = part[is_bias].set_index("output")["weight"].reindex(matrix.columns)
    leaks = part["trained_on"].iloc[0] == "in-sample"
    return _Learner(
        title=heading(name, 1.1) + ("\n(in-sample)" if leaks else ""),
        weights=matrix,
        model=model.replace("", _NO_MODEL),
        bias=bias if (bias.fillna(0) != 0).any() else bias.iloc[:0],
    )


def _edges(learner: _Learner, models: list[str]) -> np.ndarray:
    """Place each meta-feature in its model's block of height 0.9; top and bottom, (rows, 2)."""
    edges = np.empty((len(learner.weights), 2))
    owner = learner.model.loc[learner.weights.index].to_numpy()
    for number, model in enumerate(models):
        own = np.flatnonzero(owner == model)
        steps = np.linspace(number - 0.45, number + 0.45, len(own) + 1)
        edges[own] = np.column_stack([steps[:-1], steps[1:]])
    return edges


def _short(value: float, largest: float) -> str:
    """Write a weight with the decimals that suit the largest one.

    Only zero itself is written as 0: with targets of different units a small weight may matter.
    """
    place = int(np.floor(np.log10(largest))) if largest > 0 else 0
    decimals = int(np.clip(2 - place - (place < 0), 0, 4))
    text = f"{value:.{decimals}f}" if abs(value) < 1000 * largest else f"{value:.2g}"
    if value and float(text) == 0:
        text = f"{value:.1g}" if abs(value) >= 0.001 else f"{value:.0e}".replace("e-0", "e-")
    return text.replace("-", "−") if value else "0"


def _key(maps: Sequence[_Learner], labels: Mapping[str, str] | None) -> str:
    """Explain the lines of the heat maps: the meta-features of each model, top to bottom."""
    text = "Heat maps: one column per output, one line per meta-feature of a model"
    scaled = [learner.title.replace("\n", " ") for learner in maps if learner.scaled]
    colours = f" Colours of {' and '.join(scaled)}: share of the column's largest weight." * bool(
        scaled
    )
    suffixes = {
        tuple(name.removeprefix(f"{model}__") for name in part.index)
        for learner in maps
        for model, part in learner.model.groupby(learner.model)
        if len(part) > 1
    }
    if len(suffixes) != 1:
        return f"{text}.{colours}"
    names = [name_and_unit(target_words(name, labels))[0] for name in suffixes.pop()]
    shown = ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, …, {names[-1]}"
    return f"{text} ({shown}, from top to bottom).{colours}"


def _bars(axes: Axes, learner: _Learner, models: list[str]) -> None:
    """Draw one bar per meta-feature; the sign by direction and colour."""
    edges = _edges(learner, models)
    value = learner.weights.iloc[:, 0].to_numpy()
    for number in range(len(models)):
        axes.axhspan(number - 0.45, number + 0.45, color=BAND, zorder=0)
    bars = axes.barh(
        edges.mean(axis=1),
        value,
        height=0.6 * (edges[:, 1] - edges[:, 0]),
        color=np.where(value < 0, VERMILLION, BLUE),
    )
    axes.axvline(0, color="black", linewidth=0.6)
    if len(value) <= 2 * len(models):
        limit = float(np.abs(value).max())
        texts = [_short(each, limit) for each in value]
        axes.bar_label(bars, texts, padding=1.5, fontsize=5.5)
    low, high = min(value.min(), 0.0), max(value.max(), 0.0)
    room = 0.45 * (high - low or 1.0)  # for the numbers, on the sides that have bars
    axes.set_xlim(low - room * (low < 0), high + room * (high > 0 or low == 0))
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    bias = f"\nbias {learner.bias.iloc[0]:.3g}".replace("-", "−") if len(learner.bias) else ""
    axes.set_xlabel(f"Weight{bias}")


def _heat_map(
    axes: Axes, learner: _Learner, models: list[str], *, numbered: bool
) -> tuple[QuadMesh, str]:
    """Draw one cell per meta-feature and output, and a line of cells for the bias."""
    edges = _edges(learner, models)
    values = learner.weights.to_numpy()
    limits = learner.limits
    unit = limits if learner.scaled else np.ones(len(limits))
    # A bias in the unit of the target may be a thousand times a weight and would pale the weights,
    # so it may leave the scale, which the ends of the colour bar then show.
    beyond = len(learner.bias) > 0 and bool((learner.bias.abs() > limits).any())
    end = (limits / unit).max()
    style = {"norm": Normalize(-end, end), "cmap": "RdBu_r"}
    owner = learner.model.loc[learner.weights.index].to_numpy()
    blocks = [np.flatnonzero(owner == model) for model in models]
    cells = [
        (np.append(edges[own, 0], edges[own[-1], 1]), values[own]) for own in blocks if len(own)
    ]
    if len(learner.bias):
        top = len(models) - 0.55 + 0.3
        cells.append((np.array([top, top + 0.6]), learner.bias.to_numpy()[None]))
        axes.text(
            -0.04,
            top + 0.3,
            "bias",
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=6.5,
        )
    for down, block in cells:
        mesh = axes.pcolormesh(np.arange(len(limits) + 1) - 0.5, down, block / unit, **style)
        for (line, column), value in np.ndenumerate(block):
            if numbered and np.isfinite(value):
                axes.text(
                    column,
                    (down[line] + down[line + 1]) / 2,
                    _short(value, limits[column]),
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color="white" if abs(value) > 0.6 * limits[column] else "black",
                )
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    return mesh, "both" if beyond else "neither"


def _colour_bar(axes: Axes, mesh: QuadMesh, extend: str, *, scaled: bool) -> None:
    """Draw the colour bar of a heat map below it."""
    bar = axes.figure.colorbar(mesh, cax=axes, orientation="horizontal", extend=extend)
    bar.set_label("Weight / largest of its column" if scaled else "Weight")
    bar.locator = MaxNLocator(2, symmetric=True, steps=[1, 2, 5, 10])
    bar.update_ticks()
    bar.outline.set_visible(False)
