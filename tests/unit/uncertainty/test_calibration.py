"""Calibration of predicted covariances: closed forms, published values, and errors of known law."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from starstack.errors import InputError
from starstack.uncertainty.calibration import (
    calibration_error,
    calibration_table,
    coverage_curve,
    error_reliability_table,
    histogram_table,
    miscalibration_area,
    sharpness,
)
from starstack.uncertainty.covariances import squared_mahalanobis, standardised

COVARIANCE = np.array([[4.0, 1.2], [1.2, 9.0]])
NAMES = ("a", "b")


def drawn(n, seed=0, factor=1.0):
    """Errors of a known covariance, and the one that is predicted."""
    rng = np.random.default_rng(seed)
    errors = rng.multivariate_normal(np.zeros(2), COVARIANCE, n)
    return errors, np.broadcast_to(COVARIANCE * factor**2, (n, 2, 2))


def value(table, label, statistic, snr="all", column="value"):
    found = table.query("output == @label and statistic == @statistic and snr == @snr")
    assert len(found) == 1
    return found[column].iloc[0]


# The three points with which uncertainty-toolbox (Chung et al. 2021) tests itself.
PREDICTED, OBSERVED = np.array([1.0, 2.0, 3.0]), np.array([1.5, 3.0, 2.0])
SIGMA = np.array([0.1, 0.5, 1.0])


def test_the_published_values_of_three_points():
    pit = stats.norm.cdf((PREDICTED - OBSERVED) / SIGMA)
    assert sharpness(SIGMA) == pytest.approx(0.648074069840786, abs=1e-12)
    assert calibration_error(pit) == pytest.approx(0.3733333333333335, abs=1e-12)
    assert miscalibration_area(pit) == pytest.approx(0.37710437710437716, abs=1e-12)
    covariance = (SIGMA**2)[:, None, None]
    table = calibration_table((PREDICTED - OBSERVED)[:, None], covariance, ["x"])
    assert value(table, "x", "nll") == pytest.approx(4.920361108686675, abs=1e-12)
    assert value(table, "x", "calibration_error") == pytest.approx(0.3733333333333335)
    assert value(table, "x", "coverage_90") == 1 / 3


def test_calibrated_errors_are_found_calibrated():
    errors, covariance = drawn(20_000)
    table = calibration_table(errors, covariance, NAMES)
    for label in (*NAMES, "joint"):
        for percent in (50, 68, 90, 95, 99):
            found = value(table, label, f"coverage_{percent}")
            error = np.sqrt(percent / 100 * (1 - percent / 100) / 20_000)
            assert abs(found - percent / 100) < 4 * error, (label, percent)
            assert value(table, label, f"coverage_{percent}", column="standard_error") == (
                pytest.approx(error, rel=0.05)
            )
        degrees = 2 if label == "joint" else 1
        chi2_error = np.sqrt(2 / degrees / 20_000)
        assert abs(value(table, label, "chi2_per_n") - 1) < 4 * chi2_error
        assert value(table, label, "chi2_per_n", column="standard_error") == (
            pytest.approx(chi2_error, rel=0.1)
        )
    assert value(table, "a", "sharpness") == pytest.approx(2.0)
    # The entropy of a Gaussian.
    entropy = 0.5 * np.log((2 * np.pi * np.e) ** 2 * np.linalg.det(COVARIANCE))
    assert value(table, "joint", "nll") == pytest.approx(entropy, abs=0.03)
    assert value(table, "b", "nll") == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 9), abs=0.02)


def test_errors_predicted_twice_too_large():
    errors, covariance = drawn(20_000, factor=2.0)
    table = calibration_table(errors, covariance, NAMES)
    assert value(table, "a", "chi2_per_n") == pytest.approx(0.25, abs=0.01)
    expected = 2 * stats.norm.cdf(2 * stats.norm.ppf(0.84)) - 1
    assert value(table, "a", "coverage_68") == pytest.approx(expected, abs=0.01)
    assert value(table, "a", "sd_z") == pytest.approx(0.5, abs=0.01)
    row = table.query("output == 'a' and snr == 'all' and statistic == 'sd_z'").iloc[0]
    assert row["standard_error"] == pytest.approx(0.5 / np.sqrt(2 * 20_000), rel=0.05)


def test_correlations_count_for_the_joint_statistic_only():
    errors, covariance = drawn(20_000)
    bare = covariance * np.eye(2)
    table = calibration_table(errors, bare, NAMES)
    assert value(table, "a", "chi2_per_n") == pytest.approx(1, abs=0.04)
    # The mean of eᵀ D⁻¹ e is still k; it is the ellipsoids that cover another share.
    assert value(table, "joint", "chi2_per_n") == pytest.approx(1, abs=0.04)
    by_hand = np.einsum("ni,ij,nj->n", errors, np.linalg.inv(COVARIANCE), errors)
    np.testing.assert_allclose(squared_mahalanobis(errors, covariance), by_hand, rtol=1e-10)


def test_bins_of_the_signal_to_noise_ratio():
    errors, covariance = drawn(6)
    snr = np.array([20.0, 29.9, 30.0, 45.0, 60.0, np.nan])
    table = calibration_table(errors, covariance, NAMES, snr=snr, snr_bins=[20, 30, 45, 50])
    counts = table[table["statistic"] == "coverage_50"].groupby(["output", "snr"])["n"].first()
    assert counts["a"].to_dict() == {"all": 6, "20-30": 2, "30-45": 1, "45-50": 1}
    z = standardised(errors, covariance)[:2, 0]
    assert value(table, "a", "chi2_per_n", "20-30") == pytest.approx(np.mean(z**2))


def test_other_laws_come_by_their_transform():
    rng = np.random.default_rng(3)
    law = stats.t(4, scale=np.sqrt(0.5))  # of variance one
    errors = law.rvs((20_000, 1), random_state=rng)
    covariance = np.ones((20_000, 1, 1))
    gaussian = calibration_table(errors, covariance, ["x"])
    assert value(gaussian, "x", "coverage_68") > 0.75
    own = calibration_table(
        errors, covariance, ["x"], pit=law.cdf(errors), log_density=law.logpdf(errors)
    )
    assert value(own, "x", "coverage_68") == pytest.approx(0.68, abs=0.013)
    assert value(own, "x", "nll") < value(gaussian, "x", "nll")


def test_area_where_the_curve_crosses_the_diagonal():
    # Half of the rows in the middle, half at the rim: the curve is 1/2 everywhere.
    pit = np.r_[np.full(50, 0.5), np.full(50, 1.0)]
    levels, covered = coverage_curve(pit, 1001)
    assert covered[1:-1].tolist() == [0.5] * 999 and levels[[0, -1]].tolist() == [0, 1]
    assert miscalibration_area(pit, 1001) == pytest.approx(0.25, abs=1e-3)
    # By hand, with distances 1/2, 1/6, -1/6, 0 at four levels: 1/9 + two triangles 1/36 + 1/36.
    assert miscalibration_area(pit, 4) == pytest.approx(1 / 6)


def test_the_standard_error_of_a_root_mean_square():
    """Of normal errors the root mean square of n scatters by σ/√(2n): 400 bins of 500 rows."""
    errors = 3.0 * np.random.default_rng(5).normal(size=(200_000, 1))
    # Predicted errors that rise by nothing to speak of keep the rows in their order.
    covariance = (9.0 + 1e-9 * np.arange(200_000.0))[:, None, None]
    table = error_reliability_table(errors, covariance, ["x"], n_bins=400)
    expected = 3.0 / np.sqrt(2 * 500)
    assert table["standard_error"].mean() == pytest.approx(expected, rel=0.02)
    assert table["rms_error"].std() == pytest.approx(expected, rel=0.15)


def test_reliability_of_predicted_errors():
    rng = np.random.default_rng(4)
    sigma = rng.uniform(1, 5, 30_000)
    errors = (sigma * rng.normal(size=30_000))[:, None]
    table = error_reliability_table(errors, (sigma**2)[:, None, None], ["x"], n_bins=5)
    assert table["n"].tolist() == [6000] * 5
    off = (table["rms_error"] - table["predicted_error"]) / table["standard_error"]
    assert off.abs().max() < 4
    assert table["predicted_error"].is_monotonic_increasing


def test_histograms_count_every_row():
    errors, covariance = drawn(500)
    errors[0] = 1e6
    table = histogram_table(errors, covariance, NAMES)
    assert table.groupby(["output", "quantity"])["count"].sum().tolist() == [500] * 4
    top = table.query("output == 'a' and quantity == 'z'").iloc[-1]
    assert top["count"] >= 1 and top["high"] == 4.0
    assert isinstance(table, pd.DataFrame)


def test_covariances_that_cannot_be_used():
    errors, covariance = drawn(3)
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\); expected \(3, 2, 2\)"):
        calibration_table(errors, covariance[:2], NAMES)
    broken = covariance.copy()
    broken[1, 0, 0] = 0
    with pytest.raises(InputError, match=r"row 1 has variances \[0.0, 9.0\]"):
        calibration_table(errors, broken, NAMES)


def of_members(k, n=400, members=5):
    """Covariances of few members' predictions, whose rank is one less than there are members."""
    rng = np.random.default_rng(k)
    draws = rng.normal(size=(n, members, k))
    covariance = np.stack([np.cov(each.T) for each in draws])
    return rng.normal(size=(n, k)), covariance, [f"label {c}" for c in range(k)]


def test_labels_are_judged_one_by_one_where_a_covariance_is_singular(caplog):
    errors, covariance, names = of_members(5)
    table = calibration_table(errors, covariance, names)
    assert table["output"].unique().tolist() == names
    each = [
        calibration_table(errors[:, [c]], covariance[:, [c]][:, :, [c]], [n])
        for c, n in enumerate(names)
    ]
    alone = pd.concat(each).query("output != 'joint'").reset_index(drop=True)
    pd.testing.assert_frame_equal(table, alone)
    (record,) = [r for r in caplog.records if r.name.startswith("starstack.uncertainty")]
    assert "calibration: the covariances of 400 of 400 rows are singular" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_one_singular_row_is_enough(caplog):
    errors, covariance = drawn(50)
    covariance = covariance.copy()
    covariance[7] = np.outer([2.0, 3.0], [2.0, 3.0])
    assert set(calibration_table(errors, covariance, NAMES)["output"]) == set(NAMES)
    assert "covariances of 1 of 50 rows are singular" in caplog.text


def test_units_do_not_make_a_covariance_singular(caplog):
    """Labels of 1e6 and of 1e-6 have a covariance of condition 1e24 and the same distances."""
    errors, covariance = drawn(50)
    scale = np.array([1e6, 1e-6])
    table = calibration_table(errors, covariance, NAMES)
    other = calibration_table(errors * scale, covariance * np.outer(scale, scale), NAMES)
    for statistic in ("coverage_68", "chi2_per_n"):
        assert value(other, "joint", statistic) == pytest.approx(value(table, "joint", statistic))
    assert not caplog.records


def test_all_labels_together_can_be_left_out(caplog):
    errors, covariance = drawn(50)
    assert "joint" not in set(calibration_table(errors, covariance, NAMES, joint=False)["output"])
    assert not caplog.records


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1, 2], [2, 1]], "row 3 has a correlation matrix with the eigenvalue -1; expected none"),
        ([[1, 0.5], [0.2, 1]], r"row 3 has covariances 0.5 at \[0, 1\] and 0.2 at \[1, 0\]; exp"),
        ([[1, np.nan], [np.nan, 1]], r"row 3 has covariances nan at \[0, 1\] and nan at"),
        ([[np.inf, 0], [0, 1]], r"row 3 has variances \[inf, 1.0\] and errors"),
    ],
)
@pytest.mark.parametrize("table_of", [calibration_table, error_reliability_table, histogram_table])
def test_a_matrix_that_is_no_covariance_is_named(table_of, matrix, words):
    errors, covariance = drawn(5)
    covariance = covariance.copy()
    covariance[3] = matrix
    with pytest.raises(InputError, match=f"^covariance: {words}") as caught:
        table_of(errors, covariance, NAMES)
    assert "\n" not in str(caught.value)


def test_names_and_signal_to_noise_ratios_belong_to_the_errors():
    errors, covariance = drawn(5)
    for names in (("a",), ("a", "b", "c"), "ab"):
        with pytest.raises(InputError, match="expected a list of 2, one for each label"):
            calibration_table(errors, covariance, names)
    with pytest.raises(InputError, match=r"snr has shape \(4,\); expected \(5,\)"):
        calibration_table(errors, covariance, NAMES, snr=np.ones(4), snr_bins=(0, 2))
    with pytest.raises(InputError, match=r"errors: have shape \(5,\); expected \(n, k\)"):
        calibration_table(errors[:, 0], covariance[:, :1, :1], NAMES[:1])
