"""Meta-learners that weigh whole base models: one weight per model, not per column.

For classification a blend is Σ_m w_m p_m(class | x), for regression Σ_m w_m f_m(x), with one set
of weights per target. Four ways to find the weights:

``convex``
    Non-negative, sum exactly one, least squares (Brier score in classification): a quadratic
    programme, see :mod:`starstack.stacking.simplex`.
``nnls``
    Non-negative least squares, no constraint on the sum (van der Laan, Polley & Hubbard 2007,
    Stat. Appl. Genet. Mol. Biol. 6, 25, use it as the super learner's default).
``greedy``
    Selection with replacement (Caruana et al. 2004, ICML): add, again and again, the model that
    lowers the risk of the mean most; ties go to a model already in; the best prefix is kept.
``best_single``
    All weight on the model of smallest risk (the discrete super learner).
"""

import warnings
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted

from starstack.errors import InputError
from starstack.stacking.layout import MetaColumn, MetaFeatureLayout
from starstack.stacking.simplex import convex_weights, non_negative_least_squares

Risk = Callable[[np.ndarray], float]


def squared_error(y: np.ndarray, sample_weight: np.ndarray | None) -> Risk:
    """Risk of predictions of shape (n,) or (n, C): weighted mean of the squared error."""

    def risk(prediction: np.ndarray) -> float:
        loss = (y - prediction) ** 2
        return float(np.average(loss.reshape(len(y), -1).sum(axis=1), weights=sample_weight))

    return risk


def log_loss(y: np.ndarray, sample_weight: np.ndarray | None) -> Risk:
    """Risk of probabilities of shape (n, C) for one-hot y: weighted mean of −ln p(true class)."""
    true = y.argmax(axis=1)

    def risk(prediction: np.ndarray) -> float:
        p = prediction[np.arange(len(true)), true] / prediction.sum(axis=1)
        return float(
            np.average(-np.log(np.clip(p, np.finfo(p.dtype).eps, 1)), weights=sample_weight)
        )

    return risk


def greedy_weights(F: np.ndarray, risk: Risk, max_selections: int) -> np.ndarray:
    """Weights by greedy selection with replacement.

    Parameters
    ----------
    F : ndarray of shape (n, m) or (n, m, C)
        Members' predictions, members on the second axis.
    risk : callable
        Risk of a prediction of shape (n,) or (n, C).
    max_selections : int
        Number of steps; the prefix of smallest risk is kept.

    Returns
    -------
    ndarray of shape (m,)
        Multiples of one over the number of selections kept; they sum to one.
    """
    counts = np.zeros(F.shape[1], dtype=int)
    total = np.zeros_like(F[:, 0])
    best_risk, best_counts = np.inf, counts
    for step in range(1, max_selections + 1):
        risks = np.array([risk((total + F[:, m]) / step) for m in range(F.shape[1])])
        # Rounding errors do not decide between equals: a model already chosen wins a tie, which
        # keeps the ensemble small.
        tied = risks <= risks.min() * (1 + 1e-12)
        chosen = int(np.argmax(np.where(tied, counts, -1)))
        counts = counts.copy()
        counts[chosen] += 1
        total = total + F[:, chosen]
        if risks[chosen] < best_risk * (1 - 1e-12):
            best_risk, best_counts = risks[chosen], counts
    return best_counts / best_counts.sum()


def best_single_weights(F: np.ndarray, risk: Risk) -> np.ndarray:
    """All weight on the member of smallest risk; the first of equals."""
    return np.eye(F.shape[1])[int(np.argmin([risk(F[:, m]) for m in range(F.shape[1])]))]


def _flat(F: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> tuple:
    """Classes as further rows: (n, m, C) → (n·C, m)."""
    if F.ndim == 2:
        return F, y, weight
    repeated = None if weight is None else np.repeat(weight, F.shape[2])
    return np.moveaxis(F, 2, 1).reshape(-1, F.shape[1]), y.ravel(), repeated


BLENDING_METHODS: dict[str, Callable[..., np.ndarray]] = {
    "convex": lambda F, y, weight, risk, steps: convex_weights(*_flat(F, y, weight)),
    "nnls": lambda F, y, weight, risk, steps: non_negative_least_squares(*_flat(F, y, weight)),
    "greedy": lambda F, y, weight, risk, steps: greedy_weights(F, risk, steps),
    "best_single": lambda F, y, weight, risk, steps: best_single_weights(F, risk),
}


class _Blend(BaseEstimator):
    """What both blends share: options, layout of the members, the table of weights."""

    _parameter_constraints: ClassVar[dict] = {
        "method": [StrOptions({"convex", "nnls", "greedy", "best_single"})],
        "max_selections": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, method: str = "convex", *, max_selections: int = 25):
        self.method = method
        self.max_selections = max_selections

    def _solve(
        self, F: np.ndarray, y: np.ndarray, weight: np.ndarray | None, risk: Risk
    ) -> np.ndarray:
        weights = BLENDING_METHODS[self.method](F, y, weight, risk, self.max_selections)
        if not weights.any():
            warnings.warn(
                "no base model is positively related to the target: all weights are zero, and the "
                "blend predicts zero or equal probabilities; look at the bases, or use the convex "
                "blend",
                UserWarning,
                stacklevel=3,
            )
        return weights

    @property
    def weights_(self) -> pd.DataFrame:
        """Named weights: one row per base model, one column per target."""
        check_is_fitted(self)
        classes = self.member_weights_.shape[1] == 1 and len(self.layout_.outputs) > 1
        return pd.DataFrame(
            self.member_weights_,
            index=pd.Index(self.layout_.models, name="model"),
            columns=["all classes"] if classes else list(self.layout_.outputs),
        )


class BlendRegressor(RegressorMixin, _Blend):
    """Weighted mean of regressors, one set of weights per target.

    Parameters
    ----------
    method : {"convex", "nnls", "greedy", "best_single"}
        How the weights are found, see the module's text.
    max_selections : int
        Steps of ``greedy``.

    Attributes
    ----------
    member_weights_ : ndarray of shape (models, targets)
        The weights; ``weights_`` is the same with names.
    layout_ : MetaFeatureLayout
        What the columns of the meta-features are.

    Examples
    --------
    >>> Z = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0]])
    >>> blend = BlendRegressor("convex").fit(Z, Z @ [0.25, 0.75])
    >>> bool(np.allclose(blend.weights_["y"], [0.25, 0.75]))
    True
    """

    def fit(
        self,
        Z: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        *,
        layout: MetaFeatureLayout | None = None,
    ) -> "BlendRegressor":
        """Find the weights.

        Parameters
        ----------
        Z : ndarray of shape (n, columns)
            Meta-features.
        y : ndarray of shape (n,) or (n, targets)
            Observed values.
        sample_weight : ndarray of shape (n,), optional
            Weights of the rows.
        layout : MetaFeatureLayout, optional
            What the columns are; if None, each column is one member of a single target.

        Returns
        -------
        self
        """
        self._validate_params()
        Z = check_array(Z, input_name="Z")
        y = check_array(y, ensure_2d=False, dtype=float, input_name="y")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, Z, ensure_non_negative=True)
        if layout is None and y.ndim != 1:
            raise InputError(
                f"blend: {y.shape[1]} targets need the layout of the meta-features, which "
                "StackingRegressor passes; alone, a blend takes one target of shape (n,)"
            )
        self.layout_ = layout or _one_member_per_column(Z.shape[1], ("y",), "value")
        self.n_features_in_ = Z.shape[1]
        self.single_target_ = y.ndim == 1
        F, Y = self.layout_.members(Z), y.reshape(len(y), -1)
        weights = [
            self._solve(F[:, :, t], Y[:, t], sample_weight, squared_error(Y[:, t], sample_weight))
            for t in range(Y.shape[1])
        ]
        self.member_weights_ = np.column_stack(weights)
        return self

    def predict(self, Z: np.ndarray) -> np.ndarray:
        """Predict values, shape (n,) or (n, targets)."""
        check_is_fitted(self)
        prediction = np.einsum("nmt,mt->nt", self.layout_.members(Z), self.member_weights_)
        return prediction[:, 0] if self.single_target_ else prediction


class BlendClassifier(ClassifierMixin, _Blend):
    """Weighted mean of the class probabilities of several classifiers.

    Parameters
    ----------
    method : {"convex", "nnls", "greedy", "best_single"}
        How the weights are found, see the module's text; ``greedy`` and ``best_single`` minimise
        the log loss, the other two the Brier score.
    max_selections : int
        Steps of ``greedy``.

    Attributes
    ----------
    member_weights_ : ndarray of shape (models, 1)
        The weights, the same for every class; ``weights_`` is the same with names.
    classes_ : ndarray
        The classes.
    layout_ : MetaFeatureLayout
        What the columns of the meta-features are.
    """

    def fit(
        self,
        Z: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        *,
        layout: MetaFeatureLayout | None = None,
    ) -> "BlendClassifier":
        """Find the weights.

        Parameters
        ----------
        Z : ndarray of shape (n, columns)
            Meta-features.
        y : ndarray of shape (n,)
            Class labels; in the order of the layout's outputs once sorted.
        sample_weight : ndarray of shape (n,), optional
            Weights of the rows.
        layout : MetaFeatureLayout, optional
            What the columns are; if None, each column is one member's probability of the second
            of two classes.

        Returns
        -------
        self
        """
        self._validate_params()
        Z = check_array(Z, input_name="Z")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, Z, ensure_non_negative=True)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if layout is None and len(self.classes_) != 2:
            raise InputError(
                f"blend: {len(self.classes_)} classes need the layout of the meta-features, which "
                "StackingClassifier passes; alone, a blend takes two classes"
            )
        outputs = tuple(map(str, self.classes_))
        self.layout_ = layout or _one_member_per_column(Z.shape[1], outputs, "probability")
        self.n_features_in_ = Z.shape[1]
        P = self.layout_.members(Z)
        Y = np.eye(len(self.classes_))[codes]
        weights = self._solve(P, Y, sample_weight, log_loss(Y, sample_weight))
        self.member_weights_ = weights[:, None]
        return self

    def predict_proba(self, Z: np.ndarray) -> np.ndarray:
        """Predict class probabilities, shape (n, classes)."""
        check_is_fitted(self)
        blend = np.einsum("nmc,m->nc", self.layout_.members(Z), self.member_weights_[:, 0])
        total = blend.sum(axis=1, keepdims=True)
        equal = np.full_like(blend, 1 / len(self.classes_))
        return np.divide(blend, total, out=equal, where=total > 0)

    def predict(self, Z: np.ndarray) -> np.ndarray:
        """Predict the most probable class, shape (n,)."""
        return self.classes_[self.predict_proba(Z).argmax(axis=1)]


def _one_member_per_column(
    n_columns: int, outputs: tuple[str, ...], kind: str
) -> MetaFeatureLayout:
    columns = (MetaColumn(f"column-{i}", outputs[-1], kind) for i in range(n_columns))
    return MetaFeatureLayout(tuple(columns), outputs)
