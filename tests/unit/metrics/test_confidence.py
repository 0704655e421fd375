"""Confidence against the share of right rows: by hand, by brute force, and by repetition."""

import numpy as np
import pytest
from scipy.stats import binomtest

from starstack.errors import InputError
from starstack.metrics.confidence import (
    binomial_interval,
    calibrated_error,
    confidence_table,
    expected_calibration_error,
)

CONFIDENCE = np.array([0.52, 0.58, 0.93, 0.97, 0.95, 1.0])
RIGHT = np.array([True, False, True, True, False, True])


def of_two(confidence, right):
    """Codes and probabilities of two classes with these confidences, half of them of each class."""
    second = np.arange(len(confidence)) % 2 == 0
    p = np.where(second, confidence, 1 - confidence)
    return np.where(right, second, ~second).astype(int), np.column_stack([1 - p, p])


def test_bins_by_hand():
    table = confidence_table(*of_two(CONFIDENCE, RIGHT))
    assert table["bin"].tolist() == [6, 10]
    assert table["n"].tolist() == [2, 4]
    np.testing.assert_allclose(table["mean_confidence"], [0.55, 0.9625])
    np.testing.assert_allclose(table["right"], [0.5, 0.75])
    np.testing.assert_allclose(table[["low", "high"]], [[0.5, 0.6], [0.9, 1.0]])


def test_the_error_by_hand():
    found = expected_calibration_error(*of_two(CONFIDENCE, RIGHT))
    assert found.value == pytest.approx((2 * 0.05 + 4 * 0.2125) / 6)
    assert found.n == 6


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (7, 7), (1, 1), (250, 300)])
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_intervals_are_those_of_clopper_and_pearson(successes, n, level):
    exact = binomtest(successes, n).proportion_ci(level, method="exact")
    np.testing.assert_allclose(binomial_interval(successes, n, level), exact, rtol=1e-9)


def test_true_probabilities_show_an_error_of_few_rows():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, 60)
    _, p = of_two(confidence, np.ones(60, dtype=bool))
    stated = calibrated_error(p, n_draws=2000, seed=2)
    found = [
        expected_calibration_error(*of_two(confidence, rng.random(60) < confidence)).value
        for _ in range(2000)
    ]
    error = np.hypot(np.std(found), stated.standard_error) / np.sqrt(2000)
    assert abs(stated.value - np.mean(found)) < 4 * error
    assert stated.standard_error == pytest.approx(np.std(found), rel=0.1)
    assert stated.value > 0.04


def test_the_standard_error_is_that_of_repetitions():
    """Where every bin is far off, so that no sign is in doubt."""
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.8, 1, 200)
    found = [
        expected_calibration_error(*of_two(confidence, rng.random(200) < confidence - 0.3))
        for _ in range(400)
    ]
    scatter = np.std([each.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(scatter, rel=0.15)


def test_rows_of_one_group_count_once():
    codes, p = of_two(CONFIDENCE, RIGHT)
    once = expected_calibration_error(codes, p)
    twice = expected_calibration_error(
        np.tile(codes, 2), np.tile(p, (2, 1)), group=np.tile(np.arange(6), 2)
    )
    assert (twice.value, twice.standard_error) == pytest.approx((once.value, once.standard_error))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="for 3 rows, at least one, got shape"):
        confidence_table(np.zeros(3), np.zeros((2, 2)))
