import numpy as np
import pytest

from starstack.uncertainty.intervals import cv_plus, interval_table, sigma_by_snr, split_conformal


def cell(table, output, snr, statistic):
    one = table.query("output == @output and snr == @snr and statistic == @statistic")
    return one["value"].item()


def test_coverage_counts_both_ends_by_label_and_bin():
    observed = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 0.0]])
    lower, upper = np.full((4, 2), 1.0), np.array([[2.0, 9.0]] * 4)
    table = interval_table(
        observed,
        {0.68: (lower, upper)},
        ["a", "b"],
        snr=np.array([10.0, 10.0, 50.0, 50.0]),
        snr_bins=[0, 20, 60],
    )
    assert cell(table, "a", "all", "coverage_68") == 0.5
    assert cell(table, "a", "0-20", "coverage_68") == 0.5
    assert cell(table, "b", "20-60", "coverage_68") == 0.5
    assert cell(table, "b", "0-20", "coverage_68") == 1.0
    assert cell(table, "b", "all", "sharpness") == 4.0


def test_split_conformal_covers_what_it_promises_at_every_level():
    rng = np.random.default_rng(3)
    m, n = 2000, 4000
    sigma = rng.uniform(1, 5, size=(m + n, 2))
    errors = rng.standard_t(3, size=(m + n, 2)) * sigma * [1.0, 10.0]
    truth = rng.normal(size=(n, 2))
    found = split_conformal(errors[:m], sigma[:m], truth + errors[m:], sigma[m:])
    for level, (lower, upper) in found.items():
        covered = ((truth >= lower) & (truth <= upper)).mean(axis=0)
        error = np.sqrt(level * (1 - level) * (1 / n + 1 / m))
        assert np.abs(covered - level).max() < 4 * error


def test_cv_plus_of_one_model_for_all_folds_is_the_quantile_of_the_scores():
    rng = np.random.default_rng(4)
    residuals = rng.normal(size=(99, 2)) * [1.0, 5.0]
    centre = rng.normal(size=(6, 2))
    found = cv_plus(
        residuals,
        np.arange(99) % 3,
        np.stack([centre] * 3),
        np.ones((99, 2)),
        np.full((6, 2), 2.0),
        levels=[0.9],
    )
    lower, upper = found[0.9]
    # ⌈0.9 · 100⌉ = 90-th smallest of 99 scores.
    half = 2.0 * np.sort(np.abs(residuals), axis=0)[89]
    np.testing.assert_allclose(upper, centre + half)
    np.testing.assert_allclose(lower, centre - half)


def test_sigma_is_that_of_rows_of_the_same_ratio():
    rng = np.random.default_rng(5)
    snr = np.exp(rng.uniform(np.log(20), np.log(300), 5000))
    sigma = np.stack([100 / snr, 3 + 0 * snr], axis=1) * np.exp(rng.normal(0, 0.1, (5000, 2)))
    found = sigma_by_snr(snr, sigma, np.array([30.0, 100.0, 200.0]))
    assert found[:, 0] == pytest.approx([100 / 30, 1.0, 0.5], rel=0.05)
    assert found[:, 1] == pytest.approx([3, 3, 3], rel=0.05)
