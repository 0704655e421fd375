"""Every way to predict a network's errors, in one table each."""

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
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


@pytest.mark.parametrize("where", ["calibration", "test"])
def test_a_baseline_of_singular_covariances_is_judged_label_by_label(study, where, caplog):
    """Draws that agree in a direction, in a row of which the table says nothing by itself."""
    known, test, budgets, _ = study
    parts = {"calibration": budgets["kfac"][0].total, "test": budgets["kfac"][1].total}
    options = {"name": "dropout", "distribution": "gaussian", **OPTIONS}
    whole = baseline_table(known, test, *parts.values(), **options)
    variance = np.diagonal(parts[where][4])
    singular = parts[where].copy()
    singular[4] = np.sqrt(np.outer(variance, variance))
    found = baseline_table(known, test, *(parts | {where: singular}).values(), **options)
    assert (whole["output"] == "joint").any()
    alone = whole[whole["output"] != "joint"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, alone)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "baseline dropout: the covariances of 1 of 4000 rows are singular"
    )


def test_rows_without_a_predicted_error_are_left_out_and_counted(study, caplog):
    """One row of no error would stretch those of all others without end."""
    known, test, budgets, _ = study
    of_known, of_test = (budget.total.copy() for budget in budgets["kfac"])
    options = {"name": "dropout", "distribution": "gaussian", **OPTIONS}
    rest = np.arange(3, len(test.row_id))
    others = known.part(np.arange(1, 1000)), test.part(rest), of_known[1:], of_test[rest]
    of_known[0] = of_test[:3] = 0
    found = baseline_table(known, test, of_known, of_test, **options)
    pd.testing.assert_frame_equal(found, baseline_table(*others, **options))
    assert found.query("snr == 'all'")["n"].unique().tolist() == [2997]
    (message,) = caplog.messages
    assert message.startswith("baseline dropout: 4 of 4000 rows have a predicted error of 0")
    with pytest.raises(InputError, match=r"^baseline dropout: .* 0 in all 3000 test rows"):
        baseline_table(known, test, of_known, 0 * of_test, **options)


def test_a_singular_budget_is_judged_label_by_label(study, caplog):
    known, test, budgets, noise = study
    rows = len(test.row_id)
    singular = np.broadcast_to([[1e4, 1e2], [1e2, 1.0]], (rows, 2, 2))
    nothing = np.zeros((rows, 2, 2))
    broken = ErrorBudget(test.row_id, NAMES, ("K", "dex"), singular, nothing, nothing)
    pair = (budgets["kfac"][0], broken)
    found = network_tables(known, test, {"kfac": pair}, noise, distribution="gaussian", **OPTIONS)
    table = found["calibration"]
    assert set(table.loc[table["output"] == "joint", "method"]) == {FIRST_ORDER, WITHOUT_WEIGHTS}
    assert {"kfac", "kfac, recalibrated"} <= set(table["method"])
    (warning,) = [text for text in caplog.messages if "singular" in text]
    assert warning.startswith("kfac: the covariances of 3000 of 4000 rows")
