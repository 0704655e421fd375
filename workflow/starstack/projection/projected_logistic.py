"""Logistic regression on a projection that is trained with it, as an estimator of scikit-learn."""

import logging
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from starstack.errors import InputError
from starstack.projection.certificates import certify
from starstack.projection.equivalence import balance
from starstack.projection.objective import JointObjective, output_probabilities
from starstack.projection.solvers import SOLVERS, Trace, minimise
from starstack.projection.starts import STARTS

logger = logging.getLogger(__name__)

_SEPARABLE = (
    "the classes are separable and there is no penalty: the loss has no minimum, and the "
    "coefficients grow until the solver stops; give alpha above 0"
)
_MAYBE_SEPARABLE = (
    "the classes are separable by all features and there is no penalty: whether the loss of a "
    "projection of this rank has a minimum, or falls for ever, is not known; give alpha above 0"
)
# Squares of larger ones, times those of features, overflow.
_LARGEST_ALPHA = 1e100


class ProjectedLogisticRegression(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator
):
    r"""Logistic regression of X W, with the projection W trained together with the weights.

    Minimises over W (F×L), V (L×C) and b, from one flat vector and with derivatives by automatic
    differentiation,

    .. math:: \sum_i s_i\, \ell(y_i, x_i W V + b) + \tfrac{\alpha}{2}(\|W\|_F^2 + \|V\|_F^2).

    For two classes (C = 1) it finds the coefficients of an ordinary logistic regression with
    C = ‖W V‖₂/α, whatever the rank; for more, those with a nuclear-norm penalty, see
    `starstack.projection.equivalence`. What it offers beyond is the projection itself: the L
    directions that matter, in falling order.

    Parameters
    ----------
    rank : int
        The number L of columns of the projection.
    alpha : float
        The penalty α, 0 for none, 1e100 at most.
    solver : {"trust-krylov", "l-bfgs", "gradient-descent"}
        See `starstack.projection.solvers`.
    init : {"orthogonal", "small-random", "zeros"}
        The first factors, see `starstack.projection.starts`.
    escape : bool
        Whether to leave saddles along their direction of negative curvature.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    max_iter : int
        Iterations of the solver, over all escapes.
    tol : float
        A point is stationary if the norm of the gradient, divided by the sum of the rows' weights,
        does not exceed it, nor the norm itself 10⁻³ α/√‖x‖, beyond which it hides the penalty. A
        minimum is then refined by at most five Newton steps, as far as rounding and `max_iter`
        allow.
    random_state : int, RandomState or None
        Seed of the first factors, and of the search for negative curvature.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The classes of the rows that have a weight.
    projection_ : ndarray of shape (F, L)
        W, balanced: orthogonal columns in falling order of length.
    weights_ : ndarray of shape (L, C)
        V; C is 1 for two classes and K for more.
    coef_ : ndarray of shape (C, F)
        (W V)ᵀ, as scikit-learn lays it out.
    intercept_ : ndarray of shape (C,)
        b, of mean zero for more than two classes; zeros without one.
    history_ : dict of str to ndarray
        ``loss`` and ``gradient_norm`` at the start, after each iteration and after each escape.
    saddle_ : list of dict
        Every saddle met: ``iteration``, ``loss``, ``gradient_norm``, ``eigenvalue`` (smallest one
        of the Hessian) and ``step`` (length of the escape, 0 if there was none).
    certificates_ : dict
        What is proved of the last point, see `starstack.projection.certificates.certify`.
    n_iter_ : int
        Iterations.
    n_features_in_ : int
        F.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ProjectedLogisticRegression(rank=2, random_state=0).fit(X, y)
    >>> model.transform(X).shape, model.certificates_["status"]
    ((150, 2), 'minimum')
    >>> stuck = ProjectedLogisticRegression(
    ...     rank=1, init="zeros", escape=False, fit_intercept=False, alpha=0.1
    ... )
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     stuck = stuck.fit(X, y)
    >>> stuck.certificates_["status"], bool(np.allclose(stuck.predict_proba(X), 1 / 3))
    ('saddle', True)
    """

    _parameter_constraints: ClassVar[dict] = {
        "rank": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, _LARGEST_ALPHA, closed="both")],
        "solver": [StrOptions(set(SOLVERS))],
        "init": [StrOptions(set(STARTS))],
        "escape": ["boolean"],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        rank: int = 2,
        *,
        alpha: float = 1.0,
        solver: str = "trust-krylov",
        init: str = "orthogonal",
        escape: bool = True,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-6,
        random_state: Any = None,
    ):
        self.rank = rank
        self.alpha = alpha
        self.solver = solver
        self.init = init
        self.escape = escape
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ProjectedLogisticRegression":
        """Train projection, weights and intercept together.

        Parameters
        ----------
        X : array-like of shape (n, F)
            Features; of like size, since one penalty is on all.
        y : array-like of shape (n,)
            Classes, of any type.
        sample_weight : array-like of shape (n,), optional
            How much each row counts; rows of weight zero are left out, and classes with them.

        Returns
        -------
        self
            Warns with ``ConvergenceWarning`` where the end is no minimum, and says why; and where
            the null directions of a minimum are not as many as derived.

        Raises
        ------
        InputError
            If there are rows of one class only.
        """
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        used = weight > 0
        X, weight = X[used], weight[used]
        self.classes_, codes = np.unique(y[used], return_inverse=True)
        if len(self.classes_) < 2:
            got = f"one class: {self.classes_.tolist()[0]!r}" if len(X) else "no row with a weight"
            raise InputError(f"{type(self).__name__} needs rows of at least two classes, got {got}")
        one_hot = np.eye(len(self.classes_))[codes]
        objective = JointObjective(
            X,
            one_hot[:, 1:] if len(self.classes_) == 2 else one_hot,
            weight,
            rank=self.rank,
            alpha=float(self.alpha),
            fit_intercept=self.fit_intercept,
        )
        self._train(objective)
        return self

    def _train(self, objective: JointObjective) -> None:
        layout, gtol = objective.layout, objective.gradient_tolerance(self.tol)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        flat, curvature, trace = minimise(
            objective,
            STARTS[self.init](objective, np.random.default_rng(seed)),
            solver=self.solver,
            escape=self.escape,
            max_iter=self.max_iter,
            gtol=gtol,
            seed=seed,
        )
        self.certificates_ = certify(objective, flat, curvature, gtol=gtol)
        W, V, b = layout.unpack(balance(flat, layout))
        self.projection_, self.weights_ = W, V
        # The softmax does not see the mean, and Newton steps let it drift by rounding.
        self.intercept_ = b - b.mean() if layout.n_outputs > 1 else b.copy()
        self.coef_ = (W @ V).T
        self.history_ = {
            "loss": np.array(trace.losses),
            "gradient_norm": np.array(trace.gradient_norms),
        }
        self.saddle_ = trace.saddles
        self.n_iter_ = trace.n_iter
        status = self.certificates_["status"]
        logger.info(
            "joint fit of rank %d: %s after %d iterations, loss %.6g, smallest eigenvalue %.2e; %s",
            self.rank,
            status,
            trace.n_iter,
            self.certificates_["loss"],
            curvature.smallest,
            trace.message,
        )
        advice = self._advice(trace)
        if advice:
            warnings.warn(advice, ConvergenceWarning, stacklevel=3)

    def _advice(self, trace: Trace) -> str:
        """Say what is missing at the end of a fit, and what would help; nothing if all is well."""
        status = self.certificates_["status"]
        found, derived = (self.certificates_[f"null_directions_{k}"] for k in ("found", "derived"))
        if status == "no minimum":
            return _SEPARABLE
        if status == "minimum" and self.certificates_["has_minimum"] is None:
            return _MAYBE_SEPARABLE
        dual, rank = self.certificates_["dual_norm"], self.certificates_["product_rank"]
        if rank == 0 and dual < self.alpha:
            cure = f"lower alpha: above about {dual:.2g} all coefficients are zero"
        else:
            cure = "standardise the features, or raise alpha"
        if status == "minimum":
            if found in (-1, derived):  # −1: not counted
                return ""
            return (
                f"the minimum should have {derived} null directions, and {found} were found: which "
                f"eigenvalues are zero cannot be told; {cure}"
            )
        if status == "saddle" and not self.escape:
            remedy = "set escape to True"
        elif trace.used_up:
            remedy = f"raise max_iter above {self.max_iter}"
        else:  # rounding ends a solver before its iterations do
            remedy = f"rounding hides what is left; {cure}"
        if status == "not converged" and self.certificates_["gradient_norm"] <= trace.gtol:
            return (
                "the fit did not converge: its gradient is small, but not on the scale of every "
                f"feature, and the loss may be above the lowest by more than tolerated; {cure}"
            )
        return {
            "saddle": f"the fit ended at a saddle and not at a minimum; {remedy}",
            "not converged": "the fit did not converge, its gradient is of norm "
            f"{self.certificates_['gradient_norm']:.1e}, above {trace.gtol:.1e}; {remedy}",
        }[status]

    @property
    def _n_features_out(self) -> int:
        return self.projection_.shape[1]

    def transform(self, X: Any) -> np.ndarray:
        """Project rows: X W, of shape (n, L)."""
        return self._project(X)

    def _project(self, X: Any) -> np.ndarray:
        # scikit-learn wraps the public `transform`, which may give a data frame.
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64) @ self.projection_

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute X W V + b: shape (n,) for two classes, positive for the second; else (n, K)."""
        logits = self._project(X) @ self.weights_ + self.intercept_
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes, shape (n, K)."""
        logits = self.decision_function(X)
        probabilities = output_probabilities(logits.reshape(len(logits), -1))
        if probabilities.shape[1] == 1:
            return np.column_stack([1 - probabilities, probabilities])
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class of each row."""
        probabilities = self.predict_proba(X)  # first: it says so if there was no fit
        return self.classes_[probabilities.argmax(axis=1)]
