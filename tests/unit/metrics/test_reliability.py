"""The reliability table: bins, counts, standard errors."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from starstack.errors import InputError
from starstack.metrics.reliability import reliability_table, wilson_standard_error


def two_columns(p):
    return np.column_stack([1 - np.asarray(p), p])


@pytest.mark.parametrize("successes, n", [(0, 1), (1, 1), (0, 12), (3, 12), (40, 400)])
def test_standard_error_is_half_the_wilson_interval(successes, n):
    inside = norm.cdf(1) - norm.cdf(-1)
    low, high = binomtest(successes, n).proportion_ci(confidence_level=inside, method="wilson")
    got = float(wilson_standard_error(successes / n, n))
    # Where none or all succeed the interval is cut at 0 or 1, not its formula.
    if 0 < successes < n:
        assert got == pytest.approx((high - low) / 2, rel=1e-9)
    else:
        assert got == pytest.approx((high - low) / 2, rel=1e-9, abs=1e-9)


def test_bins_by_hand():
    p = [0.0, 0.05, 0.25, 0.25, 0.5, 0.999, 1.0]
    y = [0, 1, 0, 1, 1, 1, 1]
    table = reliability_table(y, two_columns(p), ("no", "yes"), n_bins=4)
    assert list(table.columns) == [
        "output",
        "bin",
        "mean_predicted",
        "observed_frequency",
        "standard_error",
        "n",
    ]
    assert table["bin"].tolist() == [1, 2, 3, 4]
    assert table["n"].tolist() == [2, 2, 1, 2]
    assert table["mean_predicted"].tolist() == pytest.approx([0.025, 0.25, 0.5, 0.9995])
    assert table["observed_frequency"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert (table["standard_error"] > 0).all()


def test_two_classes_are_listed_once_and_three_each():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=200)
    p = rng.dirichlet(np.ones(3), size=200)
    table = reliability_table(y, p, ("a", "b", "c"))
    assert table["output"].unique().tolist() == ["a", "b", "c"]
    assert table.groupby("output")["n"].sum().tolist() == [200] * 3
    # Every row belongs to one class: the observed frequencies count it once.
    assert (table["n"] * table["observed_frequency"]).sum() == pytest.approx(200)
    binary = reliability_table(y > 0, two_columns(1 - p[:, 0]), ("a", "not a"))
    assert binary["output"].unique().tolist() == ["not a"]


def test_perfect_calibration_stays_within_its_standard_errors():
    rng = np.random.default_rng(1)
    p = rng.random(200_000)
    table = reliability_table(rng.random(len(p)) < p, two_columns(p), ("no", "yes"), n_bins=50)
    pull = (table["observed_frequency"] - table["mean_predicted"]) / table["standard_error"]
    # The mean of 50 squared pulls has a standard deviation of 0.2 around 1.
    assert 0.4 < np.mean(pull**2) < 1.8


REFUSED = {
    "columns": (
        [0, 1],
        np.eye(2),
        ("a", "b", "c"),
        10,
        r"expected probabilities of shape \(2, 3\)",
    ),
    "rows": ([0, 1, 1], np.eye(2), ("a", "b"), 10, "3 rows and 2 classes"),
    "one class": ([0], [[1.0]], ("a",), 10, "1 rows and 1 classes"),
    "missing": ([0, 1], [[0.5, 0.5], [np.nan, 1.0]], ("a", "b"), 10, "have no prediction"),
    "scores": ([0, 1], [[-3.0, 4.0], [0.0, 1.0]], ("a", "b"), 10, "from 0 to 1"),
    "bins": ([0, 1], np.eye(2), ("a", "b"), 0, "at least one bin, got 0"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_clear_line(case):
    y, p, classes, n_bins, message = case
    with pytest.raises(InputError, match=message):
        reliability_table(y, p, classes, n_bins)
