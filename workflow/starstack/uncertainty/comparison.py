"""Calibration of every way to predict the errors of a study, in tables of one form."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.calibration import (
    calibration_table,
    error_reliability_table,
    histogram_table,
    standardised,
)
from starstack.uncertainty.conformal_tables import split_conformal_table
from starstack.uncertainty.intrinsic import fit_intrinsic
from starstack.uncertainty.labelled_errors import NONE, Predicted, recalibrate
from starstack.uncertainty.noise_of_rows import RowCovariances

FIRST_ORDER, WITHOUT_WEIGHTS = "J Σ Jᵀ + intrinsic", "noise + intrinsic"
WORDS = {"gaussian": "recalibrated", "student_t": "Student t", "empirical": "empirical law"}


def network_tables(
    known: Predicted,
    test: Predicted,
    budgets: Mapping[str, tuple[ErrorBudget, ErrorBudget]],
    noise: RowCovariances,
    *,
    distribution: str,
    n_bins: int,
    names: Sequence[str],
    snr_bins: Sequence[float],
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Judge a network's error bars on its test rows.

    Parameters
    ----------
    known, test : Predicted
        Calibration rows and test rows.
    budgets : mapping of str to (ErrorBudget, ErrorBudget)
        By structure, of the calibration and of the test rows; may be empty.
    noise : RowCovariances
        Of all of them.
    distribution, n_bins
        See `starstack.uncertainty.labelled_errors.recalibrate`.
    names : sequence of str
        Labels.
    snr_bins : sequence of float
        Edges of the bins of the signal-to-noise ratio.
    seed : int
        Of the calibration rows that conformal intervals are scored with.

    Returns
    -------
    dict of str to DataFrame
        ``calibration``, ``error_reliability`` and ``error_histograms``, each with a column
        ``method``: `FIRST_ORDER` and `WITHOUT_WEIGHTS` for what there is without a posterior, the
        structure (Gaussian) and the structure with the distribution after recalibration, and split
        conformal intervals in units of the first structure's error.
    """
    own, other = noise.of(known.row_id), noise.of(test.row_id)
    covariances = {
        method: _with_intrinsic(known, test, first, second)
        for method, first, second in (
            (FIRST_ORDER, own.at_observed, other.at_observed),
            (WITHOUT_WEIGHTS, own.noise, other.noise),
        )
    }
    for structure, pair in budgets.items():
        covariances[structure] = tuple(budget.total for budget in pair)
    tables: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("calibration", "error_reliability", "error_histograms")
    }

    def judge(
        method: str, covariance: np.ndarray, pit=None, log_density=None, joint_pit=None
    ) -> None:
        found = {
            "calibration": calibration_table(
                test.errors,
                covariance,
                names,
                snr=test.snr,
                snr_bins=snr_bins,
                pit=pit,
                log_density=log_density,
                joint_pit=joint_pit,
            ),
            "error_reliability": error_reliability_table(test.errors, covariance, names),
            "error_histograms": histogram_table(test.errors, covariance, names, pit),
        }
        for name, table in found.items():
            tables[name].append(table.assign(method=method))

    for method, (of_known, of_test) in covariances.items():
        judge(method, of_test)
        if method not in budgets or distribution == NONE:
            continue
        fitted = recalibrate(known, of_known, distribution=distribution, n_bins=n_bins)
        by = test.bin_by(of_test)
        stretched = fitted.covariance(of_test, by)
        z = standardised(test.errors, stretched)
        name = f"{method}, {WORDS[distribution]}"
        joint_pit = fitted.joint_pit(test.errors, stretched, by)
        judge(name, stretched, fitted.pit(z, by), fitted.log_density(z, by), joint_pit)
    if budgets:
        conformal = split_conformal_table(
            known,
            test,
            next(iter(budgets.values())),
            distribution=distribution,
            n_bins=n_bins,
            names=names,
            snr_bins=snr_bins,
            seed=seed,
        )
        tables["calibration"].append(conformal)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def baseline_table(
    known: Predicted,
    test: Predicted,
    of_known: np.ndarray,
    of_test: np.ndarray,
    *,
    name: str,
    distribution: str,
    n_bins: int,
    names: Sequence[str],
    snr_bins: Sequence[float],
) -> pd.DataFrame:
    """Judge the covariances of a baseline on its test rows.

    Parameters
    ----------
    known, test : Predicted
        Calibration rows and test rows, by the baseline's own predictions.
    of_known, of_test : ndarray of shape (n, k, k)
        Its covariances.
    name : str
        Of the baseline.
    distribution, n_bins, names, snr_bins
        As for `network_tables`.

    Returns
    -------
    DataFrame
        As `starstack.uncertainty.calibration.calibration_table`, with the column ``method``: the
        baseline as it is, and after the recalibration that networks have.
    """
    arguments = {"snr": test.snr, "snr_bins": snr_bins}
    tables = [calibration_table(test.errors, of_test, names, **arguments).assign(method=name)]
    if distribution != NONE:
        fitted = recalibrate(known, of_known, distribution=distribution, n_bins=n_bins)
        by = test.bin_by(of_test)
        stretched = fitted.covariance(of_test, by)
        z = standardised(test.errors, stretched)
        laws = {
            "pit": fitted.pit(z, by),
            "log_density": fitted.log_density(z, by),
            "joint_pit": fitted.joint_pit(test.errors, stretched, by),
        }
        table = calibration_table(test.errors, stretched, names, **arguments, **laws)
        tables.append(table.assign(method=f"{name}, {WORDS[distribution]}"))
    return pd.concat(tables, ignore_index=True)


def _with_intrinsic(
    known: Predicted, test: Predicted, of_known: np.ndarray, of_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scatter = fit_intrinsic(known.errors, of_known, known.predicted)
    return (
        of_known + scatter.covariance(known.predicted),
        of_test + scatter.covariance(test.predicted),
    )
