"""The folds of a stack: drawn once for all base models, checked before anything is fitted."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)

from starstack.errors import InputError

Folds = list[tuple[np.ndarray, np.ndarray]]

# (classification, groups given) -> what an integer ``cv`` means.
_BY_NUMBER = {
    (True, False): StratifiedKFold,
    (True, True): StratifiedGroupKFold,
    (False, False): KFold,
    (False, True): GroupKFold,
}


def draw_folds(
    cv: object,
    X: object,
    y: np.ndarray,
    groups: np.ndarray | None,
    classes: Sequence[str] | None,
) -> Folds:
    """Draw the folds that every base model meets.

    They are drawn once: a splitter that shuffles without a seed would give each base model other
    folds.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        As scikit-learn takes it; None means 5. With groups, a number means grouped folds.
    X, y : arrays of n rows
        Rows, and class codes or values.
    groups : ndarray of shape (n,), optional
        Rows of one group stay on one side of every fold.
    classes : sequence of str, optional
        Names of the classes; None for regression.

    Returns
    -------
    list of (fit rows, held-out rows)
        Positions.

    Raises
    ------
    InputError
        See :func:`check_folds`.
    """
    cv = 5 if cv is None else cv
    if isinstance(cv, int | np.integer):
        cv = _BY_NUMBER[classes is not None, groups is not None](int(cv))
    splitter = check_cv(cv, y, classifier=classes is not None)
    folds = [
        (np.asarray(fit), np.asarray(held_out)) for fit, held_out in splitter.split(X, y, groups)
    ]
    check_folds(folds, y, classes, groups)
    return folds


def check_folds(
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    y: np.ndarray,
    classes: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
) -> None:
    """Refuse folds that leak or that cannot be fitted, before anything is fitted.

    Parameters
    ----------
    folds : sequence of (fit rows, held-out rows)
        Positions.
    y : ndarray of shape (n, …)
        Class codes or values.
    classes : sequence of str, optional
        Names of the classes; None for regression.
    groups : ndarray of shape (n,), optional
        A group must not stand on both sides of a fold.

    Raises
    ------
    InputError
        Naming the fold and the class, row or group.
    """
    if not folds:
        raise InputError(
            "cv gives no folds; give a number, a splitter or a list of (fit rows, held-out rows) "
            "(a generator is empty after one use)"
        )
    for number, (fit, held_out) in enumerate(folds, start=1):
        for side, rows in (("to fit on", fit), ("held out", held_out)):
            if not len(rows) or rows.min() < 0 or rows.max() >= len(y):
                raise InputError(
                    f"fold {number}: expected rows {side} from 0 to {len(y) - 1}, at least one; "
                    f"got {f'{rows.min()} to {rows.max()}' if len(rows) else 'none'}"
                )
        both = np.intersect1d(fit, held_out)
        if len(both):
            raise InputError(
                f"fold {number}: row {both[0]} is both fitted on and held out, which leaks; give "
                "folds whose two sides share no row"
            )
        if groups is not None:
            shared = np.intersect1d(groups[fit], groups[held_out])
            if len(shared):
                raise InputError(
                    f"fold {number}: group {str(shared[0])!r} is on both sides, which leaks; use a "
                    "grouped splitter such as GroupKFold"
                )
        if classes is not None:
            missing = sorted(set(range(len(classes))) - set(np.unique(y[fit]).tolist()))
            if missing:
                raise InputError(
                    f"fold {number}: no training row of class {classes[missing[0]]!r}, so its "
                    "probability cannot be learned; use stratified folds, fewer folds, or leave "
                    "the class out"
                )
    if classes is not None:
        held_out = np.concatenate([held_out for _, held_out in folds])
        missing = np.setdiff1d(np.arange(len(classes)), y[held_out])
        if len(missing):
            raise InputError(
                f"no fold holds out a row of class {classes[missing[0]]!r}, so the meta-learner "
                "cannot learn it; use other folds, or leave the class out"
            )
