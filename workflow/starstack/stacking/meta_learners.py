"""The meta-learners by name, and how one is fitted and judged on stored out-of-fold predictions."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.linear_model import LassoCV, LogisticRegression, RidgeClassifierCV, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from starstack.errors import InputError
from starstack.models.specs import build_estimator
from starstack.stacking.blends import BLENDING_METHODS, BlendClassifier, BlendRegressor
from starstack.stacking.layout import MetaFeatureLayout
from starstack.stacking.members import fit_arguments

# The grid of ridge penalties is wide because meta-features come in the units of the target.
RIDGE_PENALTIES = [10.0**k for k in range(-6, 7)]


def _entry(cls: type, **options: object) -> tuple[str, dict[str, object]]:
    return f"{cls.__module__}.{cls.__qualname__}", options


# One hidden layer on a handful of columns that agree with each other overfits soon: a penalty,
# and whole fifths of the rows held out to stop by.
DENSE_OPTIONS = {
    "build_params": {"weight_decay": 1e-2},
    "epochs": 200,
    "validation_fraction": 0.2,
    "patience": 15,
}

# Short name -> path of the class, and what the name itself sets. The classes are imported above
# rather than named by text, so that whoever reads the imports sees what is used; all but networks,
# which are another room of this floor.
META_LEARNERS: dict[str, dict[str, tuple[str, dict[str, object]]]] = {
    "classification": {
        "logistic": _entry(LogisticRegression),
        "ridge": _entry(RidgeClassifierCV, alphas=RIDGE_PENALTIES),
        "dense": ("starstack.networks.estimators.KerasClassifier", DENSE_OPTIONS),
        **{method: _entry(BlendClassifier, method=method) for method in BLENDING_METHODS},
    },
    "regression": {
        # One penalty for all targets would be that of the target in the smallest unit: beside a
        # temperature in K, a stack's [Fe/H] in dex was shrunk to its mean.
        "ridge": _entry(RidgeCV, alphas=RIDGE_PENALTIES, alpha_per_target=True),
        "lasso": _entry(LassoCV),
        "dense": ("starstack.networks.estimators.KerasRegressor", DENSE_OPTIONS),
        **{method: _entry(BlendRegressor, method=method) for method in BLENDING_METHODS},
    },
}


def build_meta_learner(
    spec: dict,
    *,
    task: str,
    seed: int | None = None,
    allowed_packages: Sequence[str] = ("sklearn", "starstack"),
    where: str = "final_estimator",
) -> BaseEstimator:
    """Build a meta-learner from its entry in the config.

    Parameters
    ----------
    spec : dict
        ``class`` (a key of ``META_LEARNERS[task]`` or a dotted path), ``params``, ``preprocess``.
    task : str
        ``classification`` or ``regression``.
    seed : int, optional
        For every ``random_state`` that is not set.
    allowed_packages : sequence of str
        Packages that a dotted path may lead to.
    where : str
        The entry's place in the config, for messages.

    Returns
    -------
    estimator
        Unfitted.

    Raises
    ------
    InputError
        If the entry cannot be built, or is made for another task.
    """
    name = spec["class"]
    if "." not in name:
        known = META_LEARNERS[task]
        if name not in known:
            raise InputError(
                f"{where}: expected one of {', '.join(known)} or the path of a class for {task}, "
                f"got {name!r}"
            )
        path, options = known[name]
        spec = spec | {"class": path, "params": options | (spec.get("params") or {})}
        allowed_packages = ("sklearn", "starstack", *allowed_packages)
    estimator = build_estimator(spec, seed=seed, allowed_packages=allowed_packages, where=where)
    if is_classifier(estimator) != (task == "classification"):
        kind = "classifier" if task == "classification" else "regressor"
        raise InputError(f"{where}: {task} needs a {kind} as meta-learner, got {spec['class']}")
    return estimator


def fit_meta_learner(
    meta_learner: BaseEstimator,
    Z: np.ndarray,
    y: np.ndarray,
    *,
    layout: MetaFeatureLayout,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> BaseEstimator:
    """Fit a clone of a meta-learner on meta-features.

    Parameters
    ----------
    meta_learner : estimator
        Unfitted; given once per target if it takes one and ``y`` has several.
    Z : ndarray of shape (n, columns)
        Out-of-fold meta-features, without rows that no fold predicted.
    y : ndarray of shape (n,) or (n, targets)
        Class codes or values.
    layout : MetaFeatureLayout
        What the columns are; passed on to a ``fit`` that has the argument (the blends).
    sample_weight, groups : ndarray of shape (n,), optional
        Passed on to a ``fit`` that has the argument.

    Returns
    -------
    estimator
        A fitted clone.

    Raises
    ------
    InputError
        If a class has no row: the columns of the predictions would not be the classes.
    """
    if is_classifier(meta_learner):
        missing = np.setdiff1d(np.arange(len(layout.outputs)), y)
        if len(missing):
            raise InputError(
                f"class {layout.outputs[missing[0]]!r} has no row with an out-of-fold prediction, "
                "so the meta-learner cannot learn it; use other folds, or leave the class out"
            )
    estimator = clone(meta_learner)
    takes_one = not get_tags(estimator).target_tags.multi_output
    if y.ndim == 2 and takes_one and not has_fit_parameter(estimator, "layout"):
        estimator = MultiOutputRegressor(estimator)
    arguments = fit_arguments(estimator, layout=layout, sample_weight=sample_weight, groups=groups)
    return estimator.fit(Z, y, **arguments)


def cross_validated_predictions(
    meta_learner: BaseEstimator,
    Z: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    method: str,
    layout: MetaFeatureLayout,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict every row by a meta-learner that was fitted without it, over stored meta-features.

    The base models are not fitted again: the folds are those of the out-of-fold predictions. The
    meta-learner has not seen the row; the row's meta-features come from base models that have not
    seen it either. What is left is the indirect trace of the row in the base models of the other
    folds, so this figure is not a test score and is never called one.

    Parameters
    ----------
    meta_learner : estimator
        Unfitted.
    Z, y, layout, sample_weight, groups
        As in :func:`fit_meta_learner`, all rows; rows of NaN take no part.
    folds : sequence of (fit rows, held-out rows)
        Positions in ``Z``.
    method : str
        ``predict_proba`` or ``predict``.

    Returns
    -------
    predictions : ndarray of shape (n, classes), (n,) or (n, targets)
        Mean over repeats; for ``predict`` of a classifier the share of votes for each class. NaN
        where no fold predicted the row.
    predicted : ndarray of bool, shape (n,)
        Rows that have a prediction.
    """
    # A kept feature may be missing by itself; only whole rows without predictions are left out.
    members = [i for i, column in enumerate(layout.columns) if column.model]
    has_row = ~np.isnan(_dense(Z[:, members])).any(axis=1)
    n_classes = len(layout.outputs) if is_classifier(meta_learner) else 0
    total = np.zeros((len(y), n_classes) if n_classes else y.shape)
    count = np.zeros(len(y), dtype=int)
    for fit_rows, held_out in folds:
        fit_rows, held_out = fit_rows[has_row[fit_rows]], held_out[has_row[held_out]]
        if not len(fit_rows) or not len(held_out):
            continue
        if n_classes and len(np.unique(y[fit_rows])) < n_classes:
            continue
        fitted = fit_meta_learner(
            meta_learner,
            Z[fit_rows],
            y[fit_rows],
            layout=layout,
            sample_weight=None if sample_weight is None else sample_weight[fit_rows],
            groups=None if groups is None else groups[fit_rows],
        )
        predictions = np.asarray(getattr(fitted, method)(Z[held_out]))
        if n_classes and predictions.ndim == 1:
            # A mean of class codes would be a class that nobody voted for.
            predictions = np.eye(n_classes)[predictions.astype(int)]
        total[held_out] += predictions
        count[held_out] += 1
    total[count == 0] = np.nan
    total[count > 1] = (total[count > 1].T / count[count > 1]).T
    return total, count > 0


def _dense(Z: object) -> np.ndarray:
    return Z.toarray() if hasattr(Z, "toarray") else np.asarray(Z)
