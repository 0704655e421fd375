"""The figure of leakage shows both meta-learners' weights, and promise beside test."""

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.figures.leakage import plot_leakage


def test_one_bar_per_weight_without_the_bias(tables):
    weights, scores = tables.leakage()
    left, _ = plot_leakage(weights, scores).axes
    for container, name in zip(left.containers, ["logistic", "logistic-in-sample"], strict=True):
        own = weights[(weights["meta_learner"] == name) & (weights["model"] != "")]
        assert [bar.get_width() for bar in container] == pytest.approx(own["weight"].tolist())
    assert left.get_xlabel() == "Weight"
    assert len({container[0].get_facecolor() for container in left.containers}) == 2
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "logistic, trained out-of-fold",
        "logistic-in-sample, trained in-sample (leaks)",
    ]


def test_several_weights_of_a_model_are_summed_up(tables):
    weights, scores = tables.leakage()
    more = weights[weights["model"] != ""].assign(output="c", weight=-2.0)
    left, _ = plot_leakage(pd.concat([weights, more]), scores).axes
    own = weights[(weights["meta_learner"] == "logistic") & (weights["model"] == "depth-5")]
    assert left.containers[0][1].get_width() == pytest.approx(abs(own["weight"].item()) + 2.0)
    assert left.get_xlabel() == "Sum of absolute weights"


def test_one_mark_per_score_and_lines_from_promise_to_test(tables):
    weights, scores = tables.leakage()
    _, right = plot_leakage(weights, scores).axes
    marks = [line.get_xdata() for line in right.lines if line.get_gid() == "scores"]
    np.testing.assert_array_equal(sorted(np.concatenate(marks)), sorted(scores["value"]))
    value = scores.set_index(["estimator", "figure"])["value"]
    links = [tuple(line.get_xdata()) for line in right.lines if line.get_linewidth() == 0.5]
    expected = [(value[tree, "in-sample"], value[tree, "test"]) for tree in ("depth-1", "depth-5")]
    expected.append((value["depth-10", "in-sample"], value["depth-10", "test"]))
    expected.append((value["logistic", "cross-validated"], value["logistic", "test"]))
    leaky = value["logistic-in-sample"]
    expected.append((leaky["in-sample"], leaky["test"]))
    assert links == expected


def test_both_ways_of_training_are_needed(tables):
    weights, scores = tables.leakage()
    with pytest.raises(InputError, match="both out-of-fold and in-sample, got in-sample; add"):
        plot_leakage(weights[weights["trained_on"] == "in-sample"], scores)
    with pytest.raises(InputError, match="expected one output, got , b; select one"):
        plot_leakage(weights, pd.concat([scores, scores.assign(output="b")]))


def test_meta_learners_have_colours_of_their_own(tables):
    weights, scores = tables.leakage()
    more = weights[weights["meta_learner"] == "logistic"].assign(meta_learner="convex")
    left, _ = plot_leakage(pd.concat([weights, more]), scores).axes
    assert len({container[0].get_facecolor() for container in left.containers}) == 3
