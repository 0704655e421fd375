"""Calibration of every way to predict the errors of a study, in tables of one form."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import FoldPredictions
from starstack.stacking.stored_features import StoredFeatures
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.calibration import (
    calibration_table,
    error_reliability_table,
    histogram_table,
    standardised,
)
from starstack.uncertainty.intervals import cv_plus, interval_table, sigma_by_snr, split_conformal
from starstack.uncertainty.intrinsic import fit_intrinsic
from starstack.uncertainty.labelled_errors import NONE, Predicted, join_predictions, recalibrate
from starstack.uncertainty.network_rows import draw_rows
from starstack.uncertainty.noise_of_rows import RowCovariances
from starstack.uncertainty.stack_folds import predict_by_folds

FIRST_ORDER, WITHOUT_WEIGHTS = "J Σ Jᵀ + intrinsic", "noise + intrinsic"
WORDS = {"gaussian": "recalibrated", "student_t": "Student t", "empirical": "empirical law"}
SPLIT_CONFORMAL, CV_PLUS = "split conformal", "CV+"


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

    Returns
    -------
    dict of str to DataFrame
        ``calibration``, ``error_reliability`` and ``error_histograms``, each with a column
        ``method``: `FIRST_ORDER` and `WITHOUT_WEIGHTS` for what there is without a posterior, the
        structure (Gaussian) and the structure with the distribution after recalibration, and
        `SPLIT_CONFORMAL` intervals in units of the first structure's error.
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

    def judge(method: str, covariance: np.ndarray, pit=None, log_density=None) -> None:
        found = {
            "calibration": calibration_table(
                test.errors,
                covariance,
                names,
                snr=test.snr,
                snr_bins=snr_bins,
                pit=pit,
                log_density=log_density,
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
        judge(name, stretched, fitted.pit(z, by), fitted.log_density(z, by))
    if budgets:
        first = [budget.standard_deviations("total") for budget in next(iter(budgets.values()))]
        intervals = split_conformal(known.errors, first[0], test.predicted, first[1])
        table = interval_table(test.observed, intervals, names, snr=test.snr, snr_bins=snr_bins)
        tables["calibration"].append(table.assign(method=SPLIT_CONFORMAL))
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
        laws = {"pit": fitted.pit(z, by), "log_density": fitted.log_density(z, by)}
        table = calibration_table(test.errors, stretched, names, **arguments, **laws)
        tables.append(table.assign(method=f"{name}, {WORDS[distribution]}"))
    return pd.concat(tables, ignore_index=True)


def stack_table(
    dataset: Dataset,
    split: Split,
    features: StoredFeatures,
    models: Mapping[str, Sequence[FoldPredictions]],
    meta_learner: BaseEstimator,
    *,
    known: tuple[Sequence[Predicted], Sequence[ErrorBudget]],
    snr_bins: Sequence[float],
    n_rows: int,
    seed: int,
) -> pd.DataFrame:
    """Judge the CV+ intervals of a stack, in units of a network's error at each row's S/N.

    Parameters
    ----------
    dataset, split, features, models, meta_learner
        See `starstack.uncertainty.stack_folds.predict_by_folds`; rows have ``snr``.
    known : tuple of (calibration and test Predicted, calibration and test ErrorBudget)
        Of a network: its error as a function of S/N normalises the residuals.
    snr_bins : sequence of float
    n_rows : int
        Test rows to judge; each interval sorts all residuals.
    seed : int
        Which.

    Returns
    -------
    DataFrame
        As `starstack.uncertainty.intervals.interval_table`, with the column ``method``.
    """
    folds = predict_by_folds(dataset, split, features, models, meta_learner)
    (calibration, _), (budget, _) = known
    if calibration.snr is None:
        raise InputError("CV+ of the stack: the data have no signal-to-noise ratios")
    test = np.flatnonzero(split.is_test)
    some = np.searchsorted(test, draw_rows(test, n_rows, seed))
    rows = join_predictions(dataset, dataset.row_id[test[some]], folds.test.mean(axis=0)[some])
    # Finite and above 0: `join_predictions` has seen to it.
    snr, sigma = dataset.row_values["snr"], budget.standard_deviations("total")
    observed = dataset.y.reshape(len(dataset.y), -1)[folds.rows]
    intervals = cv_plus(
        observed - folds.out_of_fold,
        folds.fold_of_row,
        folds.test[:, some],
        sigma_by_snr(calibration.snr, sigma, snr[folds.rows]),
        sigma_by_snr(calibration.snr, sigma, rows.snr),
    )
    table = interval_table(
        rows.observed, intervals, dataset.target_names, snr=rows.snr, snr_bins=snr_bins
    )
    return table.assign(method=CV_PLUS)


def _with_intrinsic(
    known: Predicted, test: Predicted, of_known: np.ndarray, of_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scatter = fit_intrinsic(known.errors, of_known, known.predicted)
    return (
        of_known + scatter.covariance(known.predicted),
        of_test + scatter.covariance(test.predicted),
    )
