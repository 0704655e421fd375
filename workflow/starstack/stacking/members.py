"""One base model, one fold: fit on some rows, predict the rows it did not see.

The estimators and the workflow's jobs call the same functions, so that their numbers agree to the
last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import has_fit_parameter

from starstack.errors import InputError

# What a classifier is asked for, best first, and what its columns then hold.
CLASSIFIER_METHODS = {
    "predict_proba": "probability",
    "decision_function": "decision",
    "predict": "label",
}


@dataclass(frozen=True)
class Member:
    """How one base model takes part: what it is asked for, and what its columns hold.

    Attributes
    ----------
    estimator : estimator
        Unfitted (cloned before each fit), or frozen.
    method : str
        ``predict_proba``, ``decision_function`` or ``predict``.
    kind : str
        ``probability``, ``decision``, ``label`` or ``value``.
    n_outputs : int
        Number of classes, or of targets.
    width : int
        Number of columns: one per class or target; one in all for a decision between two classes
        and for a regressor among classifiers.
    """

    estimator: BaseEstimator
    method: str
    kind: str
    n_outputs: int
    width: int


def make_member(estimator: BaseEstimator, *, task: str, n_outputs: int) -> Member:
    """Decide how a base model takes part.

    A classifier gives ``predict_proba``, else ``decision_function``, else one-hot labels; a
    regressor gives its values, also among classifiers (it then fits the class codes). With
    several targets, an estimator that takes one is fitted once per target.

    Parameters
    ----------
    estimator : estimator
        The base model.
    task : str
        ``classification`` or ``regression``.
    n_outputs : int
        Number of classes, or of targets.

    Returns
    -------
    Member
        The plan for this base model.
    """
    if task == "classification" and is_classifier(estimator):
        method = next(name for name in CLASSIFIER_METHODS if hasattr(estimator, name))
        kind = CLASSIFIER_METHODS[method]
        width = 1 if kind == "decision" and n_outputs == 2 else n_outputs
        return Member(estimator, method, kind, n_outputs, width)
    several = task == "regression" and n_outputs > 1
    frozen = isinstance(estimator, FrozenEstimator)
    if several and not frozen and not get_tags(estimator).target_tags.multi_output:
        estimator = MultiOutputRegressor(estimator)
    width = 1 if task == "classification" else n_outputs
    return Member(estimator, "predict", "value", n_outputs, width)


def fit_argument(estimator: BaseEstimator, argument: str) -> str | None:
    """Name the argument of ``fit`` by which an argument reaches a model, also in a pipeline.

    Parameters
    ----------
    estimator : estimator
        A model, a pipeline that ends in one, or a ``MultiOutputRegressor`` around one.
    argument : str
        ``sample_weight``, ``groups`` or ``layout``.

    Returns
    -------
    str or None
        None if the model has no such argument.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> fit_argument(make_pipeline(Ridge()), "sample_weight")
    'ridge__sample_weight'
    >>> fit_argument(KNeighborsRegressor(), "sample_weight") is None
    True
    """
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = None if last in (None, "passthrough") else fit_argument(last, argument)
        return None if inner is None else f"{name}__{inner}"
    if isinstance(estimator, MultiOutputRegressor):
        # Its fit has sample_weight whatever it wraps, and hands on every other argument.
        return fit_argument(estimator.estimator, argument)
    return argument if has_fit_parameter(estimator, argument) else None


def fit_arguments(estimator: BaseEstimator, **values: object) -> dict[str, object]:
    """Collect those arguments of ``fit`` that are given and that the model takes.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> fit_arguments(Ridge(), sample_weight=[1.0, 2.0], groups=[0, 1])
    {'sample_weight': [1.0, 2.0]}
    """
    named = {fit_argument(estimator, key): v for key, v in values.items() if v is not None}
    return {name: value for name, value in named.items() if name is not None}


def fit_member(
    member: Member,
    X: object,
    y: np.ndarray,
    rows: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> BaseEstimator:
    """Fit a clone of a base model on some rows.

    Parameters
    ----------
    member : Member
        The base model.
    X : array, sparse matrix or DataFrame of shape (n, p)
        All rows.
    y : ndarray of shape (n,) or (n, k)
        Class codes 0..C-1, or targets.
    rows : ndarray of int, optional
        Rows to fit on; all if None.
    sample_weight : ndarray of shape (n,), optional
        Passed on if the base model accepts it, left out otherwise.
    groups : ndarray of shape (n,), optional
        Passed on if the base model accepts them: a stack folds by them, a network holds out whole
        groups for early stopping.

    Returns
    -------
    estimator
        A fitted clone; ``member.estimator`` is untouched.
    """
    estimator = clone(member.estimator)
    if rows is not None:
        X, y = _safe_indexing(X, rows), y[rows]
        sample_weight = None if sample_weight is None else sample_weight[rows]
        groups = None if groups is None else groups[rows]
    arguments = fit_arguments(estimator, sample_weight=sample_weight, groups=groups)
    return estimator.fit(X, y, **arguments)


def predict_member(
    member: Member, fitted: BaseEstimator, X: object, rows: np.ndarray | None = None
) -> np.ndarray:
    """Predict some rows with a fitted base model.

    Parameters
    ----------
    member : Member
        How the base model takes part.
    fitted : estimator
        A fitted model of it.
    X : array, sparse matrix or DataFrame of shape (n, p)
        All rows.
    rows : ndarray of int, optional
        Rows to predict; all if None.

    Returns
    -------
    ndarray of shape (n rows, c)
        One column per class or target; one in all for a binary decision function.
    """
    if rows is not None:
        X = _safe_indexing(X, rows)
    predictions = np.asarray(getattr(fitted, member.method)(X))
    if member.kind == "label":
        return np.eye(member.n_outputs)[predictions.astype(int)]
    predictions = predictions[:, None] if predictions.ndim == 1 else predictions
    # One-vs-one decisions are as many as there are pairs of classes.
    if member.kind != "decision" and predictions.shape[1] != member.width:
        raise InputError(
            f"{type(fitted).__name__}.{member.method} gives {predictions.shape[1]} column(s), "
            f"expected {member.width}, one per class or target; take another base model"
        )
    return predictions


def check_finite(predictions: np.ndarray, where: str) -> None:
    """Refuse predictions that are NaN or infinite, naming the base model and the fold.

    Raises
    ------
    InputError
        If any is.
    """
    if not np.isfinite(predictions).all():
        raise InputError(
            f"{where}: predicts NaN or infinity; scale the features or choose another model"
        )


def align_classes(
    predictions: np.ndarray, own: Sequence[object], classes: Sequence[object], name: str
) -> np.ndarray:
    """Put the class columns of an already-fitted model into the stack's order.

    A binary decision function, one column, changes its sign where the order is the other one.

    Raises
    ------
    InputError
        If the model knows other classes than the data.
    """
    own, classes = np.asarray(own).tolist(), np.asarray(classes).tolist()
    if set(own) != set(classes):
        raise InputError(
            f"base model {name!r} was fitted on the classes {own}, the data have {classes}; "
            "give a model fitted on the same classes"
        )
    if predictions.shape[1] == 1:
        return predictions if own == classes else -predictions
    return predictions[:, [own.index(c) for c in classes]]


def combine_folds(
    n_rows: int, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the folds' predictions in their rows; average over repeats.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    folds : sequence of (rows, predictions)
        Row positions, and predictions of shape (rows, c).

    Returns
    -------
    out_of_fold : ndarray of shape (n_rows, c)
        NaN where no fold predicted the row: an invented value would pass for a real one.
    predicted : ndarray of bool, shape (n_rows,)
        Rows that have an out-of-fold prediction.
    """
    first = folds[0][1]
    total = np.zeros((n_rows, first.shape[1]), dtype=np.result_type(first.dtype, np.float32))
    count = np.zeros(n_rows, dtype=int)
    for rows, predictions in folds:
        total[rows] += predictions
        count[rows] += 1
    predicted = count > 0
    total[~predicted] = np.nan
    several = count > 1
    total[several] /= count[several, None].astype(total.dtype)
    return total, predicted
