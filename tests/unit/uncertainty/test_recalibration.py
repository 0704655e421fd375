"""Recalibration finds factors that are known, and is judged on rows that it has not seen."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.calibration import calibration_table
from starstack.uncertainty.covariances import standardised
from starstack.uncertainty.recalibration import fit_recalibration, identity

COVARIANCE = np.array([[4.0, 1.2], [1.2, 9.0]])
NAMES = ("a", "b")


def drawn(n, seed, dof=None):
    """Errors that are 1.5 and 0.5 times as large as predicted below and above 100."""
    rng = np.random.default_rng(seed)
    by = np.exp(rng.uniform(np.log(20), np.log(500), n))
    errors = rng.multivariate_normal(np.zeros(2), COVARIANCE, n)
    if dof is not None:
        errors *= np.sqrt((dof - 2) / rng.chisquare(dof, n))[:, None]
    return errors * np.where(by < 100, 1.5, 0.5)[:, None], np.stack([COVARIANCE] * n), by


def coverage(errors, covariance, found, by, percent):
    stretched = found.covariance(covariance, by)
    pit = found.pit(standardised(errors, stretched), by)
    table = calibration_table(errors, stretched, NAMES, pit=pit)
    return table.query("statistic == @percent and output != 'joint'")["value"].to_numpy()


def test_factors_of_two_bins():
    found = fit_recalibration(*drawn(40_000, 1), n_bins=2)
    # Half of log-uniform 20 to 500 lies below 100.
    assert found.edges == pytest.approx([100], rel=0.03)
    np.testing.assert_allclose(found.factors, [[1.5, 1.5], [0.5, 0.5]], rtol=0.03)
    assert found.n.sum() == 40_000


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "empirical"])
def test_new_rows_are_covered(kind):
    dof = None if kind == "gaussian" else 4
    found = fit_recalibration(*drawn(20_000, 1, dof), n_bins=2, distribution=kind)
    errors, covariance, by = drawn(20_000, 2, dof)
    for percent in (50, 68, 90, 95, 99):
        covered = coverage(errors, covariance, found, by, f"coverage_{percent}")
        # Rows to fit and rows to test scatter alike; 40 rows lie between the wrong factors.
        error = np.sqrt(2 * percent / 100 * (1 - percent / 100) / 20_000)
        np.testing.assert_allclose(covered, percent / 100, atol=4 * error + 0.004)
    half = found.half_widths(covariance, by, 0.95)
    assert (np.abs(errors) <= half).mean() == pytest.approx(0.95, abs=0.008)


def test_a_gaussian_does_not_cover_heavy_tails():
    """What the other distributions are for: the right variance, the wrong 68 %."""
    found = fit_recalibration(*drawn(20_000, 1, 4), n_bins=2)
    errors, covariance, by = drawn(20_000, 2, 4)
    assert (coverage(errors, covariance, found, by, "coverage_68") > 0.73).all()


def test_a_bias_counts_as_error():
    """A mean of z of 1.5 beside a spread of 1: the factor is √(1 + 1.5²), not 1."""
    z = np.random.default_rng(3).normal(size=(20_000, 1)) + 1.5
    found = fit_recalibration(z, np.ones((20_000, 1, 1)), np.ones(20_000))
    assert found.factors[0, 0] == pytest.approx(np.sqrt(1 + 1.5**2), rel=0.02)


def test_correlations_stay():
    found = fit_recalibration(*drawn(2000, 1), n_bins=1)
    stretched = found.covariance(COVARIANCE[None], np.array([50.0]))[0]
    expected = COVARIANCE[0, 1] / np.sqrt(COVARIANCE[0, 0] * COVARIANCE[1, 1])
    assert stretched[0, 1] / np.sqrt(stretched[0, 0] * stretched[1, 1]) == pytest.approx(expected)


def test_only_the_distribution():
    errors, covariance, by = drawn(3000, 1)
    found = fit_recalibration(errors, covariance, by, scale=False, distribution="empirical")
    assert (found.factors == 1).all()
    z = np.abs(standardised(errors, covariance)[:, 0])
    assert found.distributions[0][0].quantile(0.5) == pytest.approx(np.median(z), rel=0.01)


def test_identity_changes_nothing():
    errors, covariance, by = drawn(50, 1)
    found = identity(2)
    np.testing.assert_array_equal(found.covariance(covariance, by), covariance)
    z = standardised(errors, covariance)
    table = calibration_table(errors, covariance, NAMES)
    own = calibration_table(
        errors, covariance, NAMES, pit=found.pit(z, by), log_density=found.log_density(z, by)
    )
    np.testing.assert_array_equal(own["value"], table["value"])


def test_bins_have_rows_enough_and_ties_stay_together(caplog):
    errors, covariance, _ = drawn(450, 1)
    with caplog.at_level("INFO"):
        found = fit_recalibration(errors, covariance, np.arange(450.0), n_bins=10, min_rows=100)
    assert "4 of the 10 bins asked for, of 450 rows: each needs 100 rows" in caplog.text
    assert len(found.n) == 4 and (found.n >= 100).all()
    same = fit_recalibration(errors, covariance, np.ones(450), n_bins=4)
    assert same.n.tolist() == [450] and same.factors.shape == (1, 2)
    table = found.table(NAMES)
    assert len(table) == 8 and table["low"].iloc[0] == -np.inf
    assert table["dof"].isna().all()


def test_too_few_rows():
    errors, covariance, by = drawn(50, 1)
    with pytest.raises(InputError, match="has 50 rows; expected at least 100"):
        fit_recalibration(errors, covariance, by)
    with pytest.raises(InputError, match="NaN"):
        fit_recalibration(errors, covariance, np.full(50, np.nan), min_rows=10)


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "empirical"])
def test_ellipsoids_of_new_rows_are_covered(kind):
    """Where correlations are not as predicted, and tails are heavy."""
    dof = None if kind == "gaussian" else 4

    def wrong(n, seed):
        errors, covariance, by = drawn(n, seed, dof)
        return errors, covariance * [[1, 0], [0, 1]], by

    found = fit_recalibration(*wrong(20_000, 1), n_bins=2, distribution=kind)
    errors, covariance, by = wrong(20_000, 2)
    stretched = found.covariance(covariance, by)
    joint = found.joint_pit(errors, stretched, by)
    table = calibration_table(errors, stretched, NAMES, joint_pit=joint).query("output == 'joint'")
    covered = table.set_index("statistic")["value"]
    for percent in (50, 68, 90, 95):
        error = np.sqrt(2 * percent / 100 * (1 - percent / 100) / 20_000)
        # Uncorrelated ellipsoids about correlated errors have no exact law but their own.
        off = 4 * error + (0.004 if kind == "empirical" else 0.01)
        assert covered[f"coverage_{percent}"] == pytest.approx(percent / 100, abs=off)
    if dof:  # what the law is for
        plain = calibration_table(errors, stretched, NAMES).query("output == 'joint'")
        assert plain.set_index("statistic")["value"]["coverage_68"] > 0.72


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "empirical"])
@pytest.mark.parametrize("scale", [True, False])
def test_errors_that_are_all_zero_are_refused(kind, scale):
    """A factor of 0 would promise predictions without an error."""
    errors, covariance, by = drawn(300, 1)
    errors[:, 1] = 0
    with pytest.raises(InputError, match="all 300 errors of output 1 are 0; set recalibration"):
        fit_recalibration(errors, covariance, by, distribution=kind, scale=scale)


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "empirical"])
def test_singular_covariances_are_recalibrated_label_by_label(kind, caplog):
    """As the labels' variances alone are, which have an inverse, but without a joint law."""
    errors, covariance, by = drawn(1000, 1)
    singular = covariance.copy()
    singular[5] = np.outer([2.0, 3.0], [2.0, 3.0])
    options = {"n_bins": 2, "distribution": kind}
    found = fit_recalibration(errors, singular, by, **options)
    assert "recalibration: the covariances of 1 of 1000 rows are singular" in caplog.text
    assert found.joint == ()
    with pytest.raises(InputError, match="expected a law of all labels together, got none"):
        found.joint_pit(errors, covariance, by)
    alone = fit_recalibration(errors, covariance * np.eye(2), by, **options)
    assert len(alone.joint) == 2
    np.testing.assert_array_equal(found.factors, alone.factors)
    np.testing.assert_array_equal(
        found.half_widths(singular, by, 0.68), alone.half_widths(covariance, by, 0.68)
    )
    caplog.clear()
    assert fit_recalibration(errors, singular, by, joint=False, **options).joint == ()
    assert not caplog.records


def test_a_joint_law_names_the_row_that_has_no_inverse():
    errors, covariance, by = drawn(1000, 1)
    found = fit_recalibration(errors, covariance, by, n_bins=2)
    new, stretched, of_new = errors[:5], covariance[:5].copy(), by[:5]
    for factor in (1.0, 1e-3):
        stretched[3] = factor**2 * np.outer([2.0, 3.0], [2.0, 3.0])
        with pytest.raises(InputError, match=r"covariance of row 3 is singular .* one by one"):
            found.joint_pit(new, stretched, of_new)
        assert np.isfinite(found.pit(standardised(new, stretched), of_new)).all()
    stretched[3] = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(InputError, match="covariance: row 3 has a correlation matrix"):
        found.joint_pit(new, stretched, of_new)
    with pytest.raises(InputError, match=r"shape \(4, 2, 2\); expected \(5, 2, 2\)"):
        found.joint_pit(new, covariance[:4], of_new)


def test_what_does_not_belong_together_is_refused():
    errors, covariance, by = drawn(300, 1)
    with pytest.raises(InputError, match=r"by has shape \(299,\); expected \(300,\)"):
        fit_recalibration(errors, covariance, by[:-1])
    with pytest.raises(InputError, match=r"errors: have shape \(300,\); .* give errors\[:, None\]"):
        fit_recalibration(errors[:, 0], covariance[:, 0, 0], by)
    for n_bins in (0, 2.5, "a"):
        with pytest.raises(InputError, match="n_bins: expected a whole number of at least 1"):
            fit_recalibration(errors, covariance, by, n_bins=n_bins)
    found = fit_recalibration(errors.tolist(), covariance.tolist(), by.tolist())
    np.testing.assert_array_equal(found.factors, fit_recalibration(errors, covariance, by).factors)
