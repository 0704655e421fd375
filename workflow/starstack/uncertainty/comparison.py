"""Calibration of every way to predict the errors of a study, in tables of one form."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from starstack.errors import InputError
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.calibration import (
    calibration_table,
    error_reliability_table,
    histogram_table,
)
from starstack.uncertainty.conformal_tables import split_conformal_table
from starstack.uncertainty.covariances import check_covariance, have_inverses, standardised
from starstack.uncertainty.intrinsic import fit_intrinsic
from starstack.uncertainty.labelled_errors import NONE, Predicted, recalibrate
from starstack.uncertainty.noise_of_rows import RowCovariances
from starstack.uncertainty.recalibration import Recalibration

logger = logging.getLogger(__name__)

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

    def judge(method: str, covariance: np.ndarray, pit=None, joint=True, **laws) -> None:
        found = {
            "calibration": calibration_table(
                test.errors,
                covariance,
                names,
                snr=test.snr,
                snr_bins=snr_bins,
                pit=pit,
                joint=joint,
                **laws,
            ),
            "error_reliability": error_reliability_table(test.errors, covariance, names),
            "error_histograms": histogram_table(test.errors, covariance, names, pit),
        }
        for name, table in found.items():
            tables[name].append(table.assign(method=method))

    for method, (of_known, of_test) in covariances.items():
        recalibrated = method in budgets and distribution != NONE
        used = [(test, of_test), (known, of_known)] if recalibrated else [(test, of_test)]
        joint = _judged_together(method, used)
        judge(method, of_test, joint=joint)
        if not recalibrated:
            continue
        options = {"distribution": distribution, "n_bins": n_bins, "joint": joint}
        fitted = recalibrate(known, of_known, **options)
        stretched, laws = _recalibrated(fitted, test, of_test)
        judge(f"{method}, {WORDS[distribution]}", stretched, joint=joint, **laws)
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
        baseline as it is, and after the recalibration that networks have. Two things are left out,
        and the log says so: rows of a predicted error of 0, where all draws agree and which no
        factor mends (``n`` counts the others), and all labels together where a row's covariance
        has no inverse, since that of m draws has rank m - 1 at most.

    Raises
    ------
    InputError
        If no test row has a predicted error above 0, or a matrix cannot be a covariance.
    """
    known, test, of_known, of_test = _of_some_error(name, known, test, of_known, of_test)
    recalibrated = distribution != NONE
    used = [(test, of_test), (known, of_known)] if recalibrated else [(test, of_test)]
    joint = _judged_together(f"baseline {name}", used)
    arguments = {"snr": test.snr, "snr_bins": snr_bins, "joint": joint}
    tables = [calibration_table(test.errors, of_test, names, **arguments).assign(method=name)]
    if recalibrated:
        options = {"distribution": distribution, "n_bins": n_bins, "joint": joint}
        stretched, laws = _recalibrated(recalibrate(known, of_known, **options), test, of_test)
        table = calibration_table(test.errors, stretched, names, **arguments, **laws)
        tables.append(table.assign(method=f"{name}, {WORDS[distribution]}"))
    return pd.concat(tables, ignore_index=True)


def _of_some_error(
    name: str, known: Predicted, test: Predicted, of_known: np.ndarray, of_test: np.ndarray
) -> tuple[Predicted, Predicted, np.ndarray, np.ndarray]:
    """Leave out the rows of which a baseline says that a label has no error at all."""
    has = [
        (np.diagonal(covariance, axis1=1, axis2=2) != 0).all(axis=1)
        for covariance in (of_known, of_test)
    ]
    if not has[1].any():
        raise InputError(
            f"baseline {name}: expected predicted errors above 0, got 0 in all {len(of_test)} test "
            "rows, where all draws agree; give the network more units"
        )
    if n_without := int(sum((~some).sum() for some in has)):
        logger.warning(
            "baseline %s: %d of %d rows have a predicted error of 0, where all draws agree; they "
            "are left out",
            name,
            n_without,
            sum(map(len, has)),
        )
    return known.part(has[0]), test.part(has[1]), of_known[has[0]], of_test[has[1]]


def _judged_together(name: str, used: Sequence[tuple[Predicted, np.ndarray]]) -> bool:
    """Say whether all labels can be judged together, on every row that takes part."""
    for rows, covariance in used:
        check_covariance(rows.errors, covariance)
    return have_inverses(np.concatenate([covariance for _, covariance in used]), name)


def _recalibrated(
    fitted: Recalibration, test: Predicted, covariance: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return stretched covariances of test rows, and what `calibration_table` takes of the laws."""
    by = test.bin_by(covariance)
    stretched = fitted.covariance(covariance, by)
    z = standardised(test.errors, stretched)
    laws = {"pit": fitted.pit(z, by), "log_density": fitted.log_density(z, by)}
    if fitted.joint:
        laws["joint_pit"] = fitted.joint_pit(test.errors, stretched, by)
    return stretched, laws


def _with_intrinsic(
    known: Predicted, test: Predicted, of_known: np.ndarray, of_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scatter = fit_intrinsic(known.errors, of_known, known.predicted)
    return (
        of_known + scatter.covariance(known.predicted),
        of_test + scatter.covariance(test.predicted),
    )
