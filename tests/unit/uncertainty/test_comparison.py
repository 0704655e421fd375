"""Every way to predict a network's errors, in one table each."""

import numpy as np
import pytest

from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.comparison import (
    FIRST_ORDER,
    WITHOUT_WEIGHTS,
    baseline_table,
    network_tables,
)
from starstack.uncertainty.labelled_errors import Predicted
from starstack.uncertainty.noise_of_rows import RowCovariances

NAMES, BINS = ("teff", "logg"), [20.0, 80.0, 300.0]
OPTIONS = {"n_bins": 2, "names": NAMES, "snr_bins": BINS}


def rows(first, n, rng):
    """Normal errors; the noise is known, the weights add a quarter of its variance."""
    snr = np.exp(rng.uniform(np.log(20), np.log(300), n))
    noise = np.zeros((n, 2, 2))
    noise[:, [0, 1], [0, 1]] = np.column_stack([1000 / snr, 1 / snr]) ** 2
    total = 1.25 * noise
    errors = np.einsum("nij,nj->ni", np.sqrt(total), rng.normal(size=(n, 2)))
    observed = rng.normal(size=(n, 2))
    names = np.array([f"r{row}" for row in range(first, first + n)])
    budget = ErrorBudget(names, NAMES, ("K", "dex"), noise, 0.25 * noise, 0 * noise)
    return Predicted(names, observed, observed + errors, snr), budget


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(1)
    (known, first), (test, second) = rows(0, 1000, rng), rows(1000, 3000, rng)
    noise = RowCovariances(
        np.concatenate([known.row_id, test.row_id]),
        np.concatenate([first.noise, second.noise]),
        4.0 * np.concatenate([first.noise, second.noise]),
    )
    return known, test, {"kfac": (first, second)}, noise


def value(table, method, statistic, snr="all", output="teff"):
    query = "method == @method and statistic == @statistic and snr == @snr and output == @output"
    return table.query(query)["value"].item()


def test_methods_and_what_they_cover(study):
    tables = network_tables(*study, distribution="student_t", **OPTIONS)
    found = tables["calibration"]
    assert list(dict.fromkeys(found["method"])) == [
        FIRST_ORDER,
        WITHOUT_WEIGHTS,
        "kfac",
        "kfac, Student t",
        "split conformal",
    ]
    error = np.sqrt(0.68 * 0.32 / 3000)
    assert value(found, "kfac", "coverage_68") == pytest.approx(0.68, abs=5 * error)
    # Calibration rows add an uncertainty of their own.
    for method in ("kfac, Student t", "split conformal", WITHOUT_WEIGHTS):
        assert value(found, method, "coverage_68") == pytest.approx(0.68, abs=0.05)
    # Four times the variance of the noise cannot be mended by scatter, which is not negative.
    assert value(found, FIRST_ORDER, "coverage_68") > 0.9
    assert value(found, "kfac", "chi2_per_n", "20-80") == pytest.approx(1, abs=0.15)
    gaussian = {FIRST_ORDER, WITHOUT_WEIGHTS, "kfac", "kfac, Student t"}
    for name in ("error_reliability", "error_histograms"):
        assert set(tables[name]["method"]) == gaussian
    promised = found[found["guarantee"].notna()]
    assert set(promised["method"]) == {"split conformal"}


def test_without_a_posterior_there_is_the_noise_alone(study):
    known, test, _, noise = study
    tables = network_tables(known, test, {}, noise, distribution="student_t", **OPTIONS)
    assert set(tables["calibration"]["method"]) == {FIRST_ORDER, WITHOUT_WEIGHTS}


def test_without_a_recalibration_nothing_is_shown_after_it(study):
    tables = network_tables(*study, distribution="none", **OPTIONS)
    methods = set(tables["calibration"]["method"])
    assert methods == {FIRST_ORDER, WITHOUT_WEIGHTS, "kfac", "split conformal"}


@pytest.mark.parametrize(
    ("distribution", "methods"),
    [("none", ["dropout"]), ("gaussian", ["dropout", "dropout, recalibrated"])],
)
def test_a_baseline_before_and_after_recalibration(study, distribution, methods):
    known, test, budgets, _ = study
    of_known, of_test = (0.25 * budget.total for budget in budgets["kfac"])
    found = baseline_table(
        known, test, of_known, of_test, name="dropout", distribution=distribution, **OPTIONS
    )
    assert list(dict.fromkeys(found["method"])) == methods
    assert value(found, "dropout", "chi2_per_n") == pytest.approx(4, abs=0.5)
    if distribution != "none":
        assert value(found, methods[1], "chi2_per_n") == pytest.approx(1, abs=0.15)
