import numpy as np

from starstack.uncertainty.intervals import cv_plus, interval_table, split_conformal


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
    assert table["guarantee"].isna().all()


def test_a_guarantee_is_on_average_over_all_rows():
    interval = (np.zeros((4, 1)), np.ones((4, 1)))
    table = interval_table(
        np.zeros((4, 1)),
        {0.68: interval, 0.95: interval},
        ["a"],
        snr=np.full(4, 10.0),
        snr_bins=[0, 20],
        guarantee={0.68: 0.36},
    )
    (promised,) = table[table["guarantee"].notna()].to_dict("records")
    assert (promised["snr"], promised["statistic"]) == ("all", "coverage_68")
    assert promised["guarantee"] == 0.36


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
        np.full((3, 6, 2), 2.0),
        levels=[0.9],
    )
    lower, upper = found[0.9]
    # ⌈0.9 · 100⌉ = 90-th smallest of 99 scores.
    half = 2.0 * np.sort(np.abs(residuals), axis=0)[89]
    np.testing.assert_allclose(upper, centre + half)
    np.testing.assert_allclose(lower, centre - half)
