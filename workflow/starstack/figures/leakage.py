"""How leakage deceives: weights and scores of a stack trained in-sample, next to out-of-fold."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.errors import InputError
from starstack.figures.scores import metric_words
from starstack.figures.style import (
    BAND,
    FIGURE_MARKS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    footnote,
    n_text,
    new_figure,
    styled,
    unique,
)
from starstack.figures.words import FIGURE_WORDS

WEIGHT_COLUMNS = ("study", "meta_learner", "trained_on", "model", "meta_feature", "weight")
SCORE_COLUMNS = (
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
_BIAS = "(bias)"
_COLOURS = {"out-of-fold": (GREEN, SKY, ORANGE, PURPLE), "in-sample": (GREY, "black")}
_SHIFT = {"in-sample": -0.26, "test": 0.26}
_WORDS = {"out-of-fold": "trained out-of-fold", "in-sample": "trained in-sample (leaks)"}


@styled
def plot_leakage(weights: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw what a meta-learner makes of in-sample and of out-of-fold predictions.

    Left: the share of the weight that each base model gets. Right: the score that the stack
    promises on its training rows, linked to the one it keeps on the test rows; the promise is the
    in-sample score of a stack trained in-sample, the cross-validated one of the other.

    Parameters
    ----------
    weights : DataFrame
        Rows of weights.csv of one study, with meta-learners trained both ways.
    scores : DataFrame
        Rows of scores.csv of the same study; the first metric is drawn.

    Returns
    -------
    Figure
        One bar per meta-learner and base model; per estimator one mark for each of its scores.

    Raises
    ------
    InputError
        If columns are missing, a table is empty or of several studies, or no meta-learner was
        trained in-sample or none out-of-fold.
    """
    check_table(weights, WEIGHT_COLUMNS, "weights")
    check_table(scores, SCORE_COLUMNS, "scores")
    check_one_study(weights, "weights")
    check_one_study(scores, "scores")
    trained = dict(zip(weights["meta_learner"], weights["trained_on"], strict=True))
    if set(trained.values()) != set(_COLOURS):
        raise InputError(
            "weights: expected meta-learners trained_on both out-of-fold and in-sample, got "
            f"{', '.join(sorted(set(trained.values())))}; add the other one to the study"
        )
    if scores["output"].nunique() > 1:
        raise InputError(
            f"scores: expected one output, got {', '.join(unique(scores['output']))}; select one"
        )
    primary = scores[scores["metric"] == scores["metric"].iloc[0]]
    models = unique(weights.loc[weights["meta_feature"] != _BIAS, "model"])
    bands = max(len(models) * (len(trained) + 1) * 0.14, primary["estimator"].nunique() * 0.3)
    figure = new_figure(TWO_COLUMNS, bands + 1.1)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    _weights(left, weights[weights["meta_feature"] != _BIAS], trained)
    _scores(right, primary, trained)
    footnote(figure, "Error bars: ± 1 standard error. Thin lines: from the promise to the test.")
    return figure


def _weights(axes: Axes, weights: pd.DataFrame, trained: dict[str, str]) -> None:
    """Draw one bar per base model and meta-learner, with its number."""
    models = unique(weights["model"])
    several = weights.duplicated(["meta_learner", "model"]).any()
    size = weights["weight"].abs() if several else weights["weight"]
    total = weights.assign(size=size).groupby(["meta_learner", "model"])["size"].sum()
    height = 0.8 / len(trained)
    colours = {how: cycle(shades) for how, shades in _COLOURS.items()}
    for number, (learner, how) in enumerate(trained.items()):
        bars = axes.barh(
            np.arange(len(models)) + (number - (len(trained) - 1) / 2) * height,
            [total.get((learner, model), 0.0) for model in models],
            height=0.9 * height,
            color=next(colours[how]),
            hatch="////" if how == "in-sample" else None,
            edgecolor="white",
            label=f"{learner}, {_WORDS[how]}",
        )
        axes.bar_label(bars, fmt=lambda x: f"{x:.2f}".replace("-", "−"), padding=2, fontsize=6.5)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(models)), models)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(models) - 0.5, -0.5)
    low, high = min(total.min(), 0.0), max(total.max(), 0.0)
    room = 0.2 * (high - low or 1.0)  # for the numbers, on the sides that have bars
    axes.set_xlim(low - room * (low < 0), high + room * (high > 0 or low == 0))
    axes.set_xlabel("Sum of absolute weights" if several else "Weight")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))


def _scores(axes: Axes, scores: pd.DataFrame, trained: dict[str, str]) -> None:
    """Draw each estimator's scores: in-sample, honest and test from top to bottom."""
    estimators = unique(scores.sort_values("role", kind="stable")["estimator"])
    place = {name: number for number, name in enumerate(estimators)}
    for number in place.values():
        axes.axhspan(number - 0.43, number + 0.43, color=BAND, zorder=0)
    for figure_name, mark in FIGURE_MARKS.items():
        rows = scores[scores["figure"] == figure_name]
        if rows.empty:
            continue
        container = axes.errorbar(
            rows["value"],
            rows["estimator"].map(place) + _SHIFT.get(figure_name, 0.0),
            xerr=rows["standard_error"],
            linestyle="none",
            label=f"{FIGURE_WORDS[figure_name]}, {n_text(rows['n'])}",
            **mark,
        )
        container.lines[0].set_gid("scores")
    value = scores.set_index(["estimator", "figure"])["value"]
    for name, number in place.items():
        # What a stack trained out-of-fold promises is its cross-validated score.
        promise = "cross-validated" if trained.get(name) == "out-of-fold" else "in-sample"
        if (name, promise) in value.index and (name, "test") in value.index:
            ends = [value[name, promise], value[name, "test"]]
            shifts = [_SHIFT.get(promise, 0.0), _SHIFT["test"]]
            axes.plot(ends, np.add(number, shifts), color="black", linewidth=0.5, zorder=1)
    axes.set_yticks(range(len(estimators)), estimators)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(estimators) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.set_xlabel(metric_words(scores["metric"].iloc[0]))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=2)
