"""Diversity of base models: against direct counts, NumPy's correlation, and known limits."""

import warnings

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.stacking.diversity import (
    disagreement,
    diversity_table,
    error_correlation,
    prediction_errors,
    q_statistic,
)


def counts(first, second):
    pairs = list(zip(first, second, strict=True))
    return [pairs.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0))]


def test_pairs_equal_direct_counts():
    correct = np.random.default_rng(0).random((4, 57)) < 0.7
    q, apart = q_statistic(correct), disagreement(correct)
    for i in range(4):
        for j in range(4):
            a, b, c, d = counts(correct[i], correct[j])
            assert q[i, j] == pytest.approx((a * d - b * c) / (a * d + b * c))
            assert apart[i, j] == pytest.approx((b + c) / 57)


def test_independent_errors_have_no_q_and_no_correlation():
    rng = np.random.default_rng(1)
    n = 100_000
    correct = rng.random((2, n)) < 0.8
    # The standard errors are about 0.012 (Q) and 0.003.
    assert abs(q_statistic(correct)[0, 1]) < 0.05
    assert abs(error_correlation(rng.normal(size=(2, n)))[0, 1]) < 0.013


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),  # always together
        ([1, 1, 0, 0], [0, 0, 1, 1], -1.0),  # never together
        ([1, 1, 1, 0], [1, 1, 0, 1], -1.0),  # no row that both get wrong
        ([1, 1, 1, 1], [1, 1, 0, 0], np.nan),  # one makes no error: 0/0
        ([1, 1, 1, 1], [1, 1, 1, 1], np.nan),
    ],
)
def test_q_with_empty_cells(first, second, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an undefined value is expected, not a division by zero
        got = q_statistic(np.array([first, second], dtype=bool))[0, 1]
    np.testing.assert_equal(got, expected)


def test_error_correlation_equals_numpy_and_averages_targets():
    errors = np.random.default_rng(2).normal(size=(3, 40, 2)) * [1.0, 1000.0]
    expected = (np.corrcoef(errors[:, :, 0]) + np.corrcoef(errors[:, :, 1])) / 2
    np.testing.assert_allclose(error_correlation(errors), expected, atol=1e-12)
    np.testing.assert_allclose(
        error_correlation(errors[:, :, 0]), np.corrcoef(errors[:, :, 0]), atol=1e-12
    )


def test_constant_errors_have_no_correlation():
    errors = np.stack([np.full(7, 0.1), np.arange(7.0)])
    matrix = error_correlation(errors)
    assert np.isnan(matrix[0]).all() and np.isnan(matrix[0, 1])
    assert matrix[1, 1] == pytest.approx(1)


def test_errors_by_task():
    p = np.array([[0.7, 0.3], [0.4, 0.6]])
    np.testing.assert_allclose(prediction_errors("classification", [0, 0], p)[:, 0], [0.3, 0.6])
    got = prediction_errors("regression", np.array([1.0, 2.0]), np.array([0.5, 2.5]))
    np.testing.assert_allclose(got, [[0.5], [-0.5]])


def test_table_holds_each_pair_once_in_order():
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=30)
    predictions = {name: rng.dirichlet(np.ones(3), size=30) for name in ("svm", "knn", "tree")}
    table = diversity_table("classification", y, predictions)
    assert list(table.columns) == ["statistic", "model_a", "model_b", "value", "n"]
    pairs = [("svm", "knn"), ("svm", "tree"), ("knn", "tree")]
    assert list(zip(table["model_a"], table["model_b"], strict=True)) == pairs * 3
    assert table["statistic"].unique().tolist() == [
        "error_correlation",
        "q_statistic",
        "disagreement",
    ]
    assert (table["n"] == 30).all()
    right = {name: p.argmax(axis=1) == y for name, p in predictions.items()}
    expected = np.mean(right["svm"] != right["tree"])
    row = table.query("statistic == 'disagreement' and model_a == 'svm' and model_b == 'tree'")
    assert row["value"].item() == pytest.approx(expected)


def test_regression_has_the_correlation_only():
    y = np.random.default_rng(4).normal(size=(20, 2))
    table = diversity_table("regression", y, {"a": y + 1.0, "b": 0.5 * y, "c": 0.2 * y})
    assert table["statistic"].unique().tolist() == ["error_correlation"]
    assert table["value"].iloc[2] == pytest.approx(1.0)  # 0.5 y and 0.8 y
    assert np.isnan(table["value"].iloc[0])  # the error of a is constant


REFUSED = {
    "one model": ("regression", [1.0, 2.0], {"a": [1.0, 2.0]}, "at least two models, got 1"),
    "missing": ("regression", [1.0, 2.0], {"a": [1.0, np.nan], "b": [1.0, 2.0]}, "out-of-fold"),
    "shape": ("regression", [1.0, 2.0], {"a": [1.0], "b": [1.0, 2.0]}, r"got shape \(1,\)"),
    "labels": ("classification", [0, 1], {"a": [0, 1], "b": [0, 1]}, "classification predictions"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_clear_line(case):
    task, y, predictions, message = case
    with pytest.raises(InputError, match=message):
        diversity_table(task, np.array(y), {k: np.array(v) for k, v in predictions.items()})
