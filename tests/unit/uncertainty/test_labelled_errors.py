from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.labelled_errors import Predicted, budget_table, join_predictions
from starstack.uncertainty.labelled_errors import recalibrate as fit


def some_rows(n=400, factor=1.0, snr=True):
    rng = np.random.default_rng(2)
    covariance = np.tile(np.diag([4.0, 0.01]), (n, 1, 1))
    observed = rng.normal(size=(n, 2))
    predicted = observed + factor * rng.normal(size=(n, 2)) * [2.0, 0.1]
    ratio = np.geomspace(20, 300, n) if snr else None
    names = np.array([f"star-{i}" for i in range(n)])
    return Predicted(names, observed, predicted, ratio), covariance


def test_predictions_meet_the_truth_of_their_own_row():
    dataset = Dataset(
        "stars",
        "regression",
        np.zeros((3, 1)),
        np.array([1.0, 2.0, 3.0]),
        np.array(["a", "b", "c"]),
        ("x",),
        ("y",),
        row_values={"snr": np.array([10.0, 20.0, 30.0])},
    )
    rows = join_predictions(dataset, np.array(["c", "a"]), np.array([[3.5], [0.0]]))
    assert rows.errors.ravel().tolist() == [0.5, -1.0]
    assert rows.snr.tolist() == [30.0, 10.0]
    # One row without a ratio: none is used, for these rows nor for others of the data.
    lacking = replace(dataset, row_values={"snr": np.array([10.0, np.nan, 30.0])})
    assert join_predictions(lacking, np.array(["c", "a"]), np.zeros((2, 1))).snr is None
    with pytest.raises(InputError, match="row 'd' is not in the data of 'stars'"):
        join_predictions(dataset, np.array(["d"]), np.zeros((1, 1)))


def test_without_a_recalibration_intervals_are_those_of_the_normal_distribution():
    rows, covariance = some_rows()
    names, units = ("teff", "logg"), ("K", "dex")
    zero = 0 * covariance
    budget = ErrorBudget(rows.row_id, names, units, covariance, zero, zero)
    table = budget_table(budget, rows, fit(rows, covariance, distribution="none", n_bins=3))
    teff = table[table["output"] == "teff"]
    assert teff["half_width_68"].to_numpy() == pytest.approx(2.0 * stats.norm.ppf(0.84))
    assert teff["half_width_95"].to_numpy() == pytest.approx(2.0 * stats.norm.ppf(0.975))
    np.testing.assert_allclose(teff["recalibrated"], teff["total"])
    np.testing.assert_array_equal(teff["observed"], rows.observed[:, 0])
    np.testing.assert_array_equal(teff["predicted"], rows.predicted[:, 0])
    np.testing.assert_array_equal(teff["snr"], rows.snr)


def test_a_recalibration_stretches_intervals_to_the_errors_that_were_made():
    rows, covariance = some_rows(n=20_000, factor=1.7)
    fitted = fit(rows, covariance, distribution="gaussian", n_bins=2)
    assert len(fitted.edges) == 1
    half = fitted.half_widths(covariance, rows.bin_by(covariance), 0.68)
    assert half[:, 0] == pytest.approx(1.7 * 2.0 * stats.norm.ppf(0.84), rel=0.03)
    zero = 0 * covariance
    budget = ErrorBudget(rows.row_id, ("teff", "logg"), ("K", "dex"), covariance, zero, zero)
    table = budget_table(budget, rows, fitted)
    np.testing.assert_allclose(table["recalibrated"], 1.7 * table["total"], rtol=0.03)


def test_rows_without_a_ratio_are_binned_by_their_predicted_error():
    rows, covariance = some_rows(snr=False)
    covariance = covariance * np.linspace(1, 9, len(covariance))[:, None, None]
    by = rows.bin_by(covariance)
    # The geometric mean of both standard deviations.
    assert by == pytest.approx(np.sqrt(2.0 * 0.1) * np.sqrt(np.linspace(1, 9, len(by))))
    table = budget_table(
        ErrorBudget(rows.row_id, ("a", "b"), ("", ""), covariance, 0 * covariance, 0 * covariance),
        rows,
        fit(rows, covariance, distribution="gaussian", n_bins=2),
    )
    assert table["snr"].isna().all()
