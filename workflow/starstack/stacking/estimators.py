"""Stacking as scikit-learn estimators, without leakage."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from starstack.errors import InputError
from starstack.stacking.base import BaseStacking


def _final_has(method: str):
    """Offer ``method`` only if the meta-learner has it, and raise its own error otherwise."""

    def check(self: BaseStacking) -> bool:
        final = getattr(self, "final_estimator_", None)
        getattr(self._unfitted_final_estimator() if final is None else final, method)
        return True

    return check


class StackingClassifier(ClassifierMixin, BaseStacking):
    """Stack of classifiers with a meta-learner on their out-of-fold predictions.

    Each base model is fitted on the rows outside a fold and predicts the rows inside it; the
    meta-learner is fitted on these out-of-fold meta-features (Wolpert 1992, Neural Networks 5,
    241), and new rows are predicted by base models that were fitted on all training rows.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Base models. Each gives ``predict_proba``, else ``decision_function``, else one-hot
        labels; a regressor fits the class codes 0..C-1. A base model sees a subset of the columns
        through a pipeline that begins with a ``ColumnTransformer``.
    final_estimator : str or estimator, default="logistic"
        Meta-learner: ``logistic``, ``ridge``, ``nnls``, ``convex``, ``greedy``, ``best_single``
        or any classifier, another stack included.
    cv : int, splitter or iterable of (fit rows, held-out rows), default=5
        Drawn once for all base models. An integer means stratified folds, grouped ones if
        ``fit`` is given groups. Repeated folds are averaged per row; rows that no fold predicts
        (time-ordered splits) take no part in the meta-learner's training.
    drop_first : bool, default=True
        Drop the first class's column of every base model that has one column per class: the
        probabilities of a model sum to one, so this column is linearly dependent on its others.
        (Decision functions of three or more classes lose their first column too.)
    keep_features : bool, default=False
        Append the input features to the meta-features, on the right.
    refit : bool, default=True
        False takes base models that are fitted already, each in a ``FrozenEstimator``, together
        with their stored out-of-fold predictions (``oof_predictions`` of ``fit``).
    member_predictions : {"refit", "fold_mean"}, default="refit"
        New rows are predicted by base models refitted on all training rows, or by the mean over
        the models of the folds.
    n_jobs : int, optional
        Number of (base model, fold) fits that run at once.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Class labels.
    estimators_ : list
        Fitted base models (with ``fold_mean`` a list of the folds' models for each).
    final_estimator_ : estimator
        Fitted meta-learner.
    oof_meta_features_ : ndarray of shape (n, columns)
        What the meta-learner was fitted on; NaN in rows that no fold predicted.
    has_oof_ : ndarray of bool, shape (n,)
        Rows that have out-of-fold predictions.
    meta_feature_names_ : list of str
        ``<model>__<class>``, then the kept features.
    weights_, bias_ : DataFrame, Series
        Named weights of a linear or blending meta-learner.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> bases = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(random_state=0))]
    >>> stack = StackingClassifier(bases, "convex").fit(X, y)
    >>> stack.meta_feature_names_
    ['bayes__1', 'bayes__2', 'tree__1', 'tree__2']
    >>> float(stack.weights_.to_numpy().sum())
    1.0
    """

    _task = "classification"
    _default_final_estimator = "logistic"
    _is_right_kind = staticmethod(is_classifier)

    def _encode_target(self, y: object) -> np.ndarray:
        check_classification_targets(y)
        if type_of_target(y).startswith("multilabel"):
            raise InputError(
                "y holds several labels per row (multilabel); expected one class per row: stack "
                "each label by itself"
            )
        self._label_encoder = LabelEncoder().fit(column_or_1d(y, warn=True))
        self.classes_ = self._label_encoder.classes_
        if len(self.classes_) < 2:
            raise InputError(
                f"y has one class only ({self.classes_.tolist()[0]!r}); a classifier needs at "
                "least two classes"
            )
        self._outputs = tuple(map(str, self.classes_))
        return self._label_encoder.transform(column_or_1d(y))

    def _decode(self, prediction: np.ndarray) -> np.ndarray:
        return self._label_encoder.inverse_transform(prediction)

    @available_if(_final_has("predict_proba"))
    def predict_proba(self, X):
        """Predict class probabilities of new rows, shape (n, classes)."""
        Z = self._meta_features(X)
        return self.final_estimator_.predict_proba(Z)

    @available_if(_final_has("decision_function"))
    def decision_function(self, X):
        """Meta-learner's decision function of new rows."""
        Z = self._meta_features(X)
        return self.final_estimator_.decision_function(Z)


class StackingRegressor(RegressorMixin, BaseStacking):
    """Stack of regressors with a meta-learner on their out-of-fold predictions.

    Takes one target or several: with several, a base model or meta-learner made for one is fitted
    once per target, and every meta-learner sees the predictions of all targets.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Base models.
    final_estimator : str or estimator, default="ridge"
        Meta-learner: ``ridge``, ``lasso``, ``nnls``, ``convex``, ``greedy``, ``best_single`` or
        any regressor, another stack included.
    cv, drop_first, keep_features, refit, member_predictions, n_jobs
        As in :class:`StackingClassifier`; ``drop_first`` drops nothing, since targets are not
        linearly dependent.

    Attributes
    ----------
    estimators_, final_estimator_, oof_meta_features_, has_oof_, weights_, bias_
        As in :class:`StackingClassifier`.
    meta_feature_names_ : list of str
        ``<model>__<target>``; a single target without a name is ``y``.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> X = np.arange(20.0)[:, None]
    >>> bases = [("linear", LinearRegression()), ("neighbours", KNeighborsRegressor(2))]
    >>> stack = StackingRegressor(bases, "convex").fit(X, 2 * X[:, 0] + 1)
    >>> stack.weights_["y"].round(6).to_dict()
    {'linear': 1.0, 'neighbours': 0.0}
    """

    _task = "regression"
    _default_final_estimator = "ridge"
    _is_right_kind = staticmethod(is_regressor)

    def _encode_target(self, y: object) -> np.ndarray:
        names = getattr(y, "columns", None)
        name = getattr(y, "name", None)
        y = check_array(y, ensure_2d=False, input_name="y", dtype="numeric")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        width = 1 if y.ndim == 1 else y.shape[1]
        if names is not None:
            self._outputs = tuple(map(str, names))
        elif width == 1:
            self._outputs = (str(name) if isinstance(name, str) else "y",)
        else:
            self._outputs = tuple(f"y{i}" for i in range(width))
        return y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
