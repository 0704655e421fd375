"""Conformal intervals of a network and of a stack, judged on the test rows beside their promise.

The guarantee of split conformal intervals needs scores of rows that had no part in the prediction
and none in the width. So the calibration rows are halved: from one half the intrinsic scatter and
the recalibration are learnt, which make the width; the other half is scored with it. What is left
of the scored half in the network is the number of the epoch that training stopped at, and in the
posterior two numbers, σ and δ.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import FoldPredictions
from starstack.stacking.stored_features import StoredFeatures
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.calibration_rows import MIN_ROWS
from starstack.uncertainty.conformal import cv_plus_guarantee
from starstack.uncertainty.intervals import cv_plus, interval_table, split_conformal
from starstack.uncertainty.intrinsic import fit_intrinsic
from starstack.uncertainty.labelled_errors import NONE, Predicted, join_predictions, recalibrate
from starstack.uncertainty.network_rows import draw_rows
from starstack.uncertainty.residual_scale import fit_scale
from starstack.uncertainty.stack_folds import StackFolds, predict_by_folds

SPLIT_CONFORMAL, CV_PLUS = "split conformal", "CV+"


def halve(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide n calibration rows at random into those to learn widths from and those to score.

    Examples
    --------
    >>> learn, score = halve(5, seed=1)
    >>> len(learn), len(score), sorted([*learn.tolist(), *score.tolist()])
    (2, 3, [0, 1, 2, 3, 4])
    """
    order = np.random.default_rng(derive_seed(seed, "conformal rows")).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def conformal_widths(
    known: Predicted,
    test: Predicted,
    budgets: tuple[ErrorBudget, ErrorBudget],
    learn: np.ndarray,
    *,
    distribution: str,
    n_bins: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what errors are divided by: an error budget that some calibration rows complete.

    Parameters
    ----------
    known, test : Predicted
        Calibration rows and test rows.
    budgets : (ErrorBudget, ErrorBudget)
        Of both; their intrinsic part, learnt from all calibration rows, is not used.
    learn : ndarray of int
        Calibration rows to learn the intrinsic part and the recalibration from.
    distribution, n_bins
        See `starstack.uncertainty.labelled_errors.recalibrate`; nothing is recalibrated with fewer
        than `starstack.uncertainty.calibration_rows.MIN_ROWS` rows.

    Returns
    -------
    of_known, of_test : ndarray of shape (m, k) and (n, k)
    """
    own, other = (budget.noise + budget.weights for budget in budgets)
    some = known.part(learn)
    scatter = fit_intrinsic(some.errors, own[learn], some.predicted)
    own = own + scatter.covariance(known.predicted)
    other = other + scatter.covariance(test.predicted)
    fitted = recalibrate(
        some,
        own[learn],
        distribution=distribution if len(learn) >= MIN_ROWS else NONE,
        n_bins=n_bins,
        joint=False,
    )
    return tuple(
        np.sqrt(np.diagonal(fitted.covariance(found, rows.bin_by(found)), axis1=1, axis2=2))
        for rows, found in ((known, own), (test, other))
    )


def split_conformal_table(
    known: Predicted,
    test: Predicted,
    budgets: tuple[ErrorBudget, ErrorBudget],
    *,
    distribution: str,
    n_bins: int,
    names: Sequence[str],
    snr_bins: Sequence[float],
    seed: int,
) -> pd.DataFrame:
    """Judge split conformal intervals, in units of a network's error budget.

    Parameters
    ----------
    known, test, budgets, distribution, n_bins
        See `conformal_widths`.
    names : sequence of str
        Labels.
    snr_bins : sequence of float
        Edges of the bins of the signal-to-noise ratio.
    seed : int
        Of the halves.

    Returns
    -------
    DataFrame
        As `starstack.uncertainty.intervals.interval_table`, with the column ``method``.
    """
    learn, score = halve(len(known.row_id), seed)
    widths, others = conformal_widths(
        known, test, budgets, learn, distribution=distribution, n_bins=n_bins
    )
    intervals = split_conformal(known.errors[score], widths[score], test.predicted, others)
    table = interval_table(
        test.observed,
        intervals,
        names,
        snr=test.snr,
        snr_bins=snr_bins,
        guarantee={level: level for level in intervals},
    )
    return table.assign(method=SPLIT_CONFORMAL)


def stack_table(
    dataset: Dataset,
    split: Split,
    features: StoredFeatures,
    models: Mapping[str, Sequence[FoldPredictions]],
    meta_learner: BaseEstimator,
    *,
    snr_bins: Sequence[float],
    n_rows: int,
    seed: int,
) -> pd.DataFrame:
    """Judge the CV+ intervals of a stack, in units of how large its own errors are.

    Parameters
    ----------
    dataset, split, features, models, meta_learner
        See `starstack.uncertainty.stack_folds.predict_by_folds`.
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
    test = np.flatnonzero(split.is_test)
    some = np.searchsorted(test, draw_rows(test, n_rows, seed))
    rows = join_predictions(dataset, dataset.row_id[test[some]], folds.test.mean(axis=0)[some])
    observed = dataset.y.reshape(len(dataset.y), -1)[folds.rows]
    # Finite and above 0, or not known: `join_predictions` has seen to it.
    snr = None if rows.snr is None else dataset.row_values["snr"][folds.rows]
    of_row, of_test = scales_by_fold(folds, observed, folds.test[:, some], snr, rows.snr, seed)
    residuals, by_fold = observed - folds.out_of_fold, folds.test[:, some]
    intervals = cv_plus(residuals, folds.fold_of_row, by_fold, of_row, of_test)
    table = interval_table(
        rows.observed,
        intervals,
        dataset.target_names,
        snr=rows.snr,
        snr_bins=snr_bins,
        guarantee={
            level: cv_plus_guarantee(len(residuals), len(by_fold), 1 - level) for level in intervals
        },
    )
    return table.assign(method=CV_PLUS)


def scales_by_fold(
    folds: StackFolds,
    observed: np.ndarray,
    predicted_by_fold: np.ndarray,
    snr: np.ndarray | None,
    test_snr: np.ndarray | None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Learn, for each fold, from the others how large the errors of the stack are.

    The scale of a fold belongs to its model as the prediction does, so that CV+ keeps its
    guarantee: neither has seen the fold.

    Parameters
    ----------
    folds : StackFolds
    observed : ndarray of shape (m, k)
        Labels of the rows of the folds.
    predicted_by_fold : ndarray of shape (K, n, k)
        Predictions of test rows.
    snr, test_snr : ndarray of shape (m,) and (n,), or None
    seed : int
        See `starstack.uncertainty.residual_scale.fit_scale`.

    Returns
    -------
    of_row : ndarray of shape (m, k)
        Scale of each training row, by the model of its fold.
    of_test : ndarray of shape (K, n, k)
        Scales of the test rows, by the model of each fold.
    """
    residuals = observed - folds.out_of_fold
    of_row = np.empty(residuals.shape)
    of_test = np.empty(predicted_by_fold.shape)
    for fold, predicted in enumerate(predicted_by_fold):
        own = folds.fold_of_row == fold
        known, held_out = (None if snr is None else snr[chosen] for chosen in (~own, own))
        scale = fit_scale(residuals[~own], folds.out_of_fold[~own], known, seed=seed)
        of_row[own] = scale(folds.out_of_fold[own], held_out)
        of_test[fold] = scale(predicted, test_snr)
    return of_row, of_test
