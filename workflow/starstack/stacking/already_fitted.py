"""Base models that are fitted already, and the leak that they bring with them.

A model that is fitted once and for all has seen the rows it was fitted on. Its predictions of these
rows are in-sample, and a meta-learner that is trained on them trusts the model that remembers best.
Such base models are taken only frozen, and only with stored predictions by models that had not seen
the rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from starstack.errors import InputError
from starstack.stacking.layout import PER_CLASS_KINDS
from starstack.stacking.members import Member, align_classes


def check_estimators(
    estimators: Sequence[object],
    oof_predictions: Mapping[str, object] | None,
    *,
    task: str,
    refit: bool,
    member_predictions: str,
) -> None:
    """Refuse base models that cannot take part, before anything is fitted.

    Parameters
    ----------
    estimators : sequence of (str, estimator)
        Base models.
    oof_predictions : mapping of str to array, optional
        Stored out-of-fold predictions by name.
    task : str
        ``classification`` or ``regression``.
    refit : bool
        Whether base models are fitted (True) or fitted already.
    member_predictions : str
        ``refit`` or ``fold_mean``.

    Raises
    ------
    InputError
        For what is no list of named estimators, a classifier in a regression, and every way in
        which a fitted model could leak.
    """
    others = [pair for pair in estimators if not isinstance(pair, tuple | list) or len(pair) != 2]
    if others or not estimators:
        raise InputError(
            "estimators: expected a list of (name, estimator) pairs, at least one; got "
            + (f"a {type(others[0]).__name__} in it" if others else "an empty list")
        )
    for name, estimator in estimators:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(
                f"estimators: expected printable text as name of a base model, got {name!r}; it "
                "becomes part of column names"
            )
        if not hasattr(estimator, "fit") or not hasattr(estimator, "predict"):
            raise InputError(
                f"base model {name!r}: expected an estimator with fit and predict, got "
                f"{type(estimator).__name__} {str(estimator)[:40]!r}; leave it out of "
                "estimators if it is not wanted"
            )
        if task == "regression" and is_classifier(estimator):
            raise InputError(
                f"base model {name!r}: expected a regressor, got the classifier "
                f"{type(estimator).__name__}; use a regressor or StackingClassifier"
            )
    check = _check_unfitted if refit else _check_frozen
    check(estimators, oof_predictions, member_predictions)


def _check_unfitted(
    estimators: Sequence[tuple[str, BaseEstimator]],
    oof_predictions: Mapping[str, object] | None,
    member_predictions: str,
) -> None:
    thawed = [name for name, estimator in estimators if _holds_fitted_model(estimator)]
    if thawed:
        raise InputError(
            f"base model(s) {', '.join(thawed)} are or hold a frozen (already fitted) model, "
            "but refit=True fits base models anew on each fold; pass unfitted ones, or "
            "refit=False with oof_predictions"
        )
    if oof_predictions is not None:
        raise InputError("oof_predictions are used with refit=False only; leave them out")


def _check_frozen(
    estimators: Sequence[tuple[str, BaseEstimator]],
    oof_predictions: Mapping[str, object] | None,
    member_predictions: str,
) -> None:
    names = [name for name, _ in estimators]
    bare = [name for name, estimator in estimators if not isinstance(estimator, FrozenEstimator)]
    if bare:
        raise InputError(
            f"refit=False takes already-fitted base models: wrap {', '.join(bare)} in "
            "sklearn.frozen.FrozenEstimator"
        )
    for name, estimator in estimators:
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            raise InputError(
                f"base model {name!r}: expected a fitted model in the FrozenEstimator, got an "
                f"unfitted {type(estimator.estimator).__name__}; fit it first"
            ) from None
    if member_predictions == "fold_mean":
        raise InputError(
            "member_predictions='fold_mean' needs the models of the folds, which refit=False "
            "does not fit; use member_predictions='refit'"
        )
    if set(oof_predictions or ()) != set(names):
        given = ", ".join(sorted(oof_predictions or ())) or "none"
        raise InputError(
            "refit=False: the base models may have seen these rows, and a meta-learner fitted "
            "on such in-sample predictions overfits; pass oof_predictions={name: predictions "
            f"by models that had not seen the row}} for {', '.join(names)} (got {given})"
        )


def _holds_fitted_model(estimator: BaseEstimator) -> bool:
    """Whether fitting would leave a predictor in it as it is: the last step of a pipeline, say."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(
        isinstance(part, FrozenEstimator) and (is_classifier(part) or is_regressor(part))
        for part in parts
    )


def stored_predictions(
    members: Mapping[str, Member],
    oof_predictions: Mapping[str, object],
    n_rows: int,
    classes: Sequence[object] | None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Take stored out-of-fold predictions as meta-features.

    Parameters
    ----------
    members : mapping of str to Member
        The base models.
    oof_predictions : mapping of str to array of shape (n,) or (n, c)
        As their ``predict_proba`` (or ``decision_function``, or ``predict``) gives them.
    n_rows : int
        Number of training rows.
    classes : sequence, optional
        Class labels in code order; None for regression.

    Returns
    -------
    predictions : dict of str to ndarray of shape (n, c)
        Class columns in code order.
    predicted : ndarray of bool, shape (n,)
        Rows in which no prediction is NaN.

    Raises
    ------
    InputError
        If rows or columns are not as many as expected, or no row is without NaN.
    """
    stored, predicted = {}, np.ones(n_rows, dtype=bool)
    for name, member in members.items():
        block = check_array(oof_predictions[name], ensure_2d=False, ensure_all_finite="allow-nan")
        block = block[:, None] if block.ndim == 1 else block
        if len(block) != n_rows:
            raise InputError(
                f"oof_predictions[{name!r}] has {len(block)} rows, X has {n_rows}; give one "
                "prediction per row, NaN where there is none"
            )
        if member.kind == "label":
            raise InputError(
                f"base model {name!r} gives labels only; stored out-of-fold predictions need "
                "predict_proba or decision_function"
            )
        # One-vs-one decisions are as many as there are pairs of classes.
        pairs = member.kind == "decision" and member.n_outputs > 2
        if block.shape[1] != member.width and not pairs:
            raise InputError(
                f"oof_predictions[{name!r}] has {block.shape[1]} column(s), expected "
                f"{member.width}; give what {member.method} gives"
            )
        if member.kind == "probability":
            _check_probabilities(block, name)
        stored[name] = align(member, name, block, classes)
        predicted &= ~np.isnan(block).any(axis=1)
    if not predicted.any():
        raise InputError("oof_predictions hold no row without NaN; nothing to fit on")
    return stored, predicted


def _check_probabilities(block: np.ndarray, name: str) -> None:
    known = block[~np.isnan(block).any(axis=1)]
    if (known < 0).any() or (np.abs(known.sum(axis=1) - 1) > 1e-4).any():
        raise InputError(
            f"oof_predictions[{name!r}]: expected probabilities of every class, from 0 to 1 and "
            "with the sum 1 in every row; give what predict_proba gives"
        )


def align(
    member: Member, name: str, block: np.ndarray, classes: Sequence[object] | None
) -> np.ndarray:
    """Put the class columns of a model that was fitted elsewhere into code order.

    Without ``classes`` (regression, or a base model that was fitted here on class codes) the
    columns are in order already.
    """
    if classes is None or member.kind not in PER_CLASS_KINDS or block.shape[1] != member.width:
        return block
    return align_classes(block, member.estimator.classes_, classes, name)
