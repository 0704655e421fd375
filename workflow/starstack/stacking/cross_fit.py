"""Fit every base model on every fold, in one pool of tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

from starstack.stacking.members import (
    Member,
    check_finite,
    combine_folds,
    fit_member,
    predict_member,
)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitting leaves.

    Attributes
    ----------
    out_of_fold : list of ndarray of shape (n, c)
        For each base model, predictions of every row by models that had not seen it; NaN in rows
        that no fold holds out.
    predicted : ndarray of bool, shape (n,)
        Rows that have one.
    models : list
        For each base model, the one fitted on all rows, or the list of its folds' models.
    """

    out_of_fold: list[np.ndarray]
    predicted: np.ndarray
    models: list[BaseEstimator] | list[list[BaseEstimator]]


def cross_fit(
    members: Mapping[str, Member],
    X: object,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    keep_fold_models: bool = False,
    n_jobs: int | None = None,
) -> CrossFit:
    """Fit every base model on every fold, and on all rows unless the folds' models are kept.

    Parameters
    ----------
    members : mapping of str to Member
        The base models.
    X, y : arrays of n rows
        Rows, and class codes or values.
    folds : sequence of (fit rows, held-out rows)
        The same for every base model.
    sample_weight, groups : ndarray of shape (n,), optional
        See :func:`starstack.stacking.members.fit_member`.
    keep_fold_models : bool
        Keep the models of the folds, and fit none on all rows.
    n_jobs : int, optional
        How many fits run at once: all (base model, fold) pairs are one pool, so that no base model
        waits for another one's folds.

    Returns
    -------
    CrossFit
        Out-of-fold predictions and fitted models.

    Raises
    ------
    InputError
        If a base model predicts NaN or infinity: a meta-learner would go on with it in silence.
    """
    parts = list(folds) if keep_fold_models else [(None, None), *folds]
    results = iter(
        Parallel(n_jobs=n_jobs)(
            delayed(_fit_and_predict)(
                member, X, y, fit, held_out, sample_weight, groups, keep_fold_models
            )
            for member in members.values()
            for fit, held_out in parts
        )
    )
    out_of_fold, models = [], []
    predicted = np.zeros(len(y), dtype=bool)
    for name in members:
        refitted = None if keep_fold_models else next(results)[0]
        fitted = [next(results) for _ in folds]
        rows = [held_out for _, held_out in folds]
        blocks = [block for _, block in fitted]
        for number, block in enumerate(blocks, start=1):
            check_finite(block, f"base model {name!r}, fold {number}")
        combined, predicted = combine_folds(len(y), list(zip(rows, blocks, strict=True)))
        out_of_fold.append(combined)
        models.append([model for model, _ in fitted] if keep_fold_models else refitted)
    return CrossFit(out_of_fold, predicted, models)


def _fit_and_predict(
    member: Member,
    X: object,
    y: np.ndarray,
    fit_rows: np.ndarray | None,
    held_out: np.ndarray | None,
    sample_weight: np.ndarray | None,
    groups: np.ndarray | None,
    keep: bool,
) -> tuple[BaseEstimator | None, np.ndarray | None]:
    fitted = fit_member(member, X, y, fit_rows, sample_weight, groups)
    if held_out is None:
        return fitted, None
    return (fitted if keep else None), predict_member(member, fitted, X, held_out)
