"""The figure of weights shows every weight, as bars or as cells."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from starstack.figures.weights import plot_weights

DIGITS = [str(digit) for digit in range(10)]


def bars(axes):
    """Lengths of the bars, from top to bottom, without the bands behind them."""
    found = [patch for container in axes.containers for patch in container]
    return [patch.get_width() for patch in sorted(found, key=lambda bar: bar.get_y())]


def cells(axes):
    return [c.get_array().ravel() for c in axes.collections if isinstance(c, QuadMesh)]


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_one_bar_per_weight_in_the_order_of_the_models(tables):
    table = tables.weights()
    figure = plot_weights(table)
    assert list(panels(figure)) == ["logistic", "convex", "greedy", "best-single", "ridge"]
    for name, axes in panels(figure).items():
        own = table[(table["meta_learner"] == name) & (table["model"] != "")]
        assert bars(axes) == pytest.approx(own["weight"].tolist())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == tables.bases


def test_one_cell_per_weight_and_bias(tables):
    table = tables.weights(DIGITS[1:], DIGITS)
    figure = plot_weights(table)
    axes = panels(figure)["logistic"]
    *blocks, bias = cells(axes)
    assert [len(block) for block in blocks] == [9 * 10] * len(tables.bases)
    own = table[(table["meta_learner"] == "logistic") & (table["model"] == tables.bases[2])]
    expected = own.pivot(index="meta_feature", columns="output", values="weight").to_numpy()
    np.testing.assert_array_equal(blocks[2], expected.ravel())
    np.testing.assert_array_equal(bias, [7.0] * 10)
    assert [label.get_text() for label in axes.get_xticklabels()] == DIGITS
    assert "(1, 2, …, 9, from top to bottom)" in figure._supxlabel.get_text()


def test_few_cells_bear_their_numbers(tables):
    table = tables.weights(["b", "c"], ["a", "b", "c"])
    axes = panels(plot_weights(table))["logistic"]
    written = [text.get_text() for text in axes.texts if text.get_text() != "bias"]
    assert len(written) == 2 * 3 * len(tables.bases) + 3
    value = table.loc[0, "weight"]
    assert f"{value:.2f}".replace("-", "−") in written


def test_models_stand_at_the_same_height_in_all_panels(tables):
    figure = plot_weights(tables.weights(DIGITS[1:], DIGITS))
    limits = {axes.get_ylim() for axes in panels(figure).values()}
    assert len(limits) == 1


def test_bias_of_bars_is_written_unless_it_is_zero(tables):
    shown = panels(plot_weights(tables.weights()))
    assert shown["logistic"].get_xlabel() == "Weight\nbias 7"
    assert shown["convex"].get_xlabel() == "Weight"


def test_small_weights_are_not_called_zero(tables):
    table = tables.weights(blends=["convex"], metas=[])
    table["weight"] = [0.6, 1e-4, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0]
    axes = panels(plot_weights(table))["convex"]
    assert [text.get_text() for text in axes.texts] == ["0.60", "1e−4", "0", "0.40", "0", "0", "0"]


def test_training_in_sample_is_said(tables):
    weights, _ = tables.leakage()
    assert list(panels(plot_weights(weights))) == ["logistic", "logistic-in-\nsample\n(in-sample)"]


def test_kept_features_have_a_block_of_their_own(tables):
    table = tables.weights(blends=[])
    table.loc[[0, 1], ["model", "meta_feature"]] = [["", "alcohol"], ["", "ash"]]
    figure = plot_weights(table)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["(features)", *tables.bases[2:]]
    assert len(bars(figure.axes[0])) == 7
