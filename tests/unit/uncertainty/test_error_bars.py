"""What is put together from a results folder; that it gives the numbers of a study, a run tests."""

from types import SimpleNamespace

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.error_bars import ErrorBars, read_recalibration
from starstack.uncertainty.labelled_errors import Predicted, recalibrate

NAMES = ("teff", "NA")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    predicted = rng.normal(size=(600, 2))
    errors = rng.standard_t(4, size=(600, 2)) * [2.0, 0.1]
    names = np.array([f"star-{i}" for i in range(600)])
    snr = np.geomspace(20, 300, 600)
    return Predicted(names, predicted - errors, predicted, snr), np.tile(
        np.diag([4.0, 0.01]), (600, 1, 1)
    )


@pytest.mark.parametrize("n_bins", [1, 3])
@pytest.mark.parametrize("kind", ["none", "gaussian", "student_t", "empirical"])
def test_a_recalibration_comes_back_from_its_table(kind, n_bins, rows, tmp_path):
    known, covariance = rows
    fitted = recalibrate(known, covariance, distribution=kind, n_bins=n_bins)
    fitted.table(NAMES).to_csv(tmp_path / "r.csv", index=False)
    found = read_recalibration(tmp_path / "r.csv", known, covariance, NAMES)
    for level in (0.68, 0.95):
        np.testing.assert_allclose(
            found.half_widths(covariance, known.snr, level),
            fitted.half_widths(covariance, known.snr, level),
            rtol=1e-12,
        )
    np.testing.assert_array_equal(found.n, fitted.n)


def test_a_table_of_other_labels_or_none_is_refused(rows, tmp_path):
    with pytest.raises(InputError, match=r"r\.csv: there is no such file; run the rule"):
        read_recalibration(tmp_path / "r.csv", *rows, NAMES)
    fitted = recalibrate(*rows, distribution="gaussian", n_bins=1)
    fitted.table(NAMES).to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(InputError, match="expected the labels NA, teff"):
        read_recalibration(tmp_path / "r.csv", *rows, NAMES[::-1])


@pytest.mark.parametrize(
    ("n", "given", "message"),
    [
        (0, {}, "expected at least one row, got none"),
        (2, {}, "rows of the study have noise, and noise is not given"),
        (2, {"noise": np.zeros((2, 1, 1))}, "expected snr, one number above 0 for each of 2 rows"),
        (2, {"noise": np.zeros((2, 1, 1)), "snr": [20.0, np.nan]}, "expected snr, one number"),
    ],
)
def test_what_a_new_row_has_to_come_with(n, given, message):
    network = SimpleNamespace(feature_names=(), predict=lambda X: X[:, :1])
    bars = ErrorBars(network, None, None, None, ("",), np.array(["a"]), True, True)
    with pytest.raises(InputError, match=message):
        bars.predict(np.ones((n, 3)), **given)
