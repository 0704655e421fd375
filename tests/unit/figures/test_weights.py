"""The figure of weights shows every weight, as bars or as cells."""

import itertools

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from starstack.figures.style import PAGE
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


def stack_of_three_targets(tables, *models):
    """Weights of a linear stack: Teff in kelvin, the others in dex."""
    names = ["teff", "logg", "fe_h"]
    table = tables.weights(names, names, bases=models or tables.bases[:5], blends=[])
    table["weight"] *= table["output"].map({"teff": 100.0, "logg": 1.0, "fe_h": 0.5})
    return table


def test_numbers_of_many_meta_features_stand_one_below_the_other(tables):
    figure = plot_weights(stack_of_three_targets(tables))
    axes = panels(figure)["logistic"]
    figure.draw_without_rendering()
    written = [text for text in axes.texts if text.get_text() != "bias"]
    assert len(written) == 3 * 3 * 5 + 3
    for column in range(3):
        boxes = [t.get_window_extent() for t in written if t.get_position()[0] == column]
        boxes.sort(key=lambda box: box.y0)
        gaps = [above.y0 - below.y1 for below, above in itertools.pairwise(boxes)]
        assert min(gaps) > -0.5  # of a hundredth of an inch


def test_numbers_are_left_out_where_a_page_has_no_room(tables):
    models = [f"model-{number}" for number in range(40)]
    figure = plot_weights(stack_of_three_targets(tables, *models))
    assert figure.get_figheight() <= PAGE
    assert [text.get_text() for text in panels(figure)["logistic"].texts] == ["bias"]


def test_outputs_of_different_units_have_their_own_colours(tables):
    table = stack_of_three_targets(tables)
    figure = plot_weights(table)
    drawn = np.concatenate([block.reshape(-1, 3) for block in cells(panels(figure)["logistic"])])
    weights = table[table["model"] != ""]
    for column, output in enumerate(["teff", "logg", "fe_h"]):
        own = weights.loc[weights["output"] == output, "weight"].to_numpy()
        np.testing.assert_allclose(drawn[:-1, column], own / np.abs(own).max())
    assert "Weight / largest of its column" in [axes.get_xlabel() for axes in figure.axes]
    assert "column's largest weight" in figure._supxlabel.get_text()


def test_outputs_of_one_unit_share_a_scale(tables):
    figure = plot_weights(tables.weights(["b", "c"], ["a", "b", "c"], blends=[]))
    assert "Weight" in [axes.get_xlabel() for axes in figure.axes]
    assert "largest" not in figure._supxlabel.get_text()


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
