r"""The joint loss of a projection and a logistic regression, on one flat vector.

With features X (n×F), projection W (F×L), weights V (L×C) and intercept b (C),

.. math::
    f(W, V, b) = \sum_i s_i\, \ell(y_i,\, x_i W V + b)
                 + \tfrac{\alpha}{2} \left(\|W\|_F^2 + \|V\|_F^2\right),

where ℓ is the negative log-likelihood: of the sigmoid for two classes (C = 1), of the softmax for
more. The loss is a sum over rows, as in scikit-learn, so that α is 1/C for an ordinary penalty.
The intercept is not penalised. The flat vector holds W by rows, V by rows, b.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit, softmax

from starstack.autodiff.functions import FunctionProducts


@dataclass(frozen=True)
class Layout:
    """Where projection, weights and intercept stand in the flat vector.

    Attributes
    ----------
    n_features, rank, n_outputs : int
        F, L and C; two classes have one output.
    fit_intercept : bool
        Whether there is an intercept.

    Examples
    --------
    >>> layout = Layout(n_features=3, rank=2, n_outputs=1, fit_intercept=True)
    >>> layout.size
    9
    >>> W, V, b = layout.unpack(np.arange(9.0))
    >>> W.shape, V.ravel().tolist(), b.tolist()
    ((3, 2), [6.0, 7.0], [8.0])
    """

    n_features: int
    rank: int
    n_outputs: int
    fit_intercept: bool

    @property
    def size(self) -> int:
        """Length of the flat vector, (F + C)·L and C more with an intercept."""
        intercept = self.n_outputs if self.fit_intercept else 0
        return (self.n_features + self.n_outputs) * self.rank + intercept

    def pack(self, W: np.ndarray, V: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Write W, V and, if there is one, b into one vector."""
        parts = [W.ravel(), V.ravel(), *([b] if self.fit_intercept else [])]
        return np.concatenate(parts)

    def unpack(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read W (F×L), V (L×C) and b (C), zero if there is none."""
        end_W = self.n_features * self.rank
        end_V = end_W + self.rank * self.n_outputs
        b = flat[end_V:] if self.fit_intercept else np.zeros(self.n_outputs)
        return (
            flat[:end_W].reshape(self.n_features, self.rank),
            flat[end_W:end_V].reshape(self.rank, self.n_outputs),
            b,
        )


class JointObjective:
    """The joint loss of one data set: value, gradient and Hessian, by automatic differentiation.

    Parameters
    ----------
    X : ndarray of shape (n, F)
        Features.
    Y : ndarray of shape (n, C)
        The class: one column of 0 and 1 for two classes, one column per class for more.
    sample_weight : ndarray of shape (n,)
        Weights s of the rows.
    rank : int
        The number L of columns of the projection.
    alpha : float
        Penalty α on both factors.
    fit_intercept : bool
        Whether there is an intercept.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        sample_weight: np.ndarray,
        *,
        rank: int,
        alpha: float,
        fit_intercept: bool,
    ) -> None:
        self.X, self.Y, self.sample_weight, self.alpha = X, Y, sample_weight, alpha
        self.layout = Layout(X.shape[1], rank, Y.shape[1], fit_intercept)
        self._products = FunctionProducts(
            _loss_function(Y.shape[1] == 1, fit_intercept),
            self.layout.size,
            X,
            Y,
            sample_weight,
            np.float64(alpha),
            np.float64(rank),
        )

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.layout.size

    @property
    def factor_length(self) -> float:
        """1/√‖x‖: factors of this length have a product that moves the outputs by about one.

        Features of nothing but zeros move none, and have the length 1.
        """
        weight = self.sample_weight
        mean_square = weight @ np.sum(self.X**2, axis=1) / weight.sum()
        return float(mean_square**-0.25) if mean_square > 0 else 1.0

    def gradient_tolerance(self, tol: float) -> float:
        """Compute the norm of the gradient up to which a point counts as stationary.

        It is `tol` times the sum of the weights, and with a penalty at most a thousandth of the
        penalty's own gradient at factors of length 1/√‖x‖: a larger one hides the penalty.
        """
        of_rows = float(tol * self.sample_weight.sum())
        return min(of_rows, 1e-3 * self.alpha * self.factor_length) if self.alpha else of_rows

    def value_and_gradient(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the loss and its gradient."""
        return self._products.value_and_gradient(flat)

    def hessian_vector_product(self, flat: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Compute the Hessian times a vector."""
        return self._products.hessian_vector_product(flat, vector)

    def hessian(self, flat: np.ndarray) -> np.ndarray:
        """Compute the whole Hessian."""
        return self._products.hessian(flat)

    def probabilities(self, flat: np.ndarray) -> np.ndarray:
        """Compute the probabilities of the rows, of shape (n, C)."""
        W, V, b = self.layout.unpack(flat)
        return output_probabilities(self.X @ W @ V + b)

    def separates(self, flat: np.ndarray) -> bool:
        """Tell whether no row is nearer to another class than to its own, and not all are ties."""
        W, V, b = self.layout.unpack(flat)
        logits, used = self.X @ W @ V + b, self.sample_weight > 0
        if self.layout.n_outputs == 1:
            margins = ((2 * self.Y - 1) * logits)[used]
        else:
            own = (self.Y * logits).sum(axis=1, keepdims=True)
            margins = (own - logits)[used]
        return bool(margins.min() >= 0 and margins.max() > 0)

    def product_gradient(self, flat: np.ndarray) -> np.ndarray:
        """Compute G = Xᵀ diag(s) (P − Y), of shape (F, C).

        It is the gradient of the loss without the penalty with respect to the product W V. The
        gradient with respect to W is G Vᵀ + αW, and Wᵀ G + αV with respect to V.
        """
        return self.X.T @ (self.sample_weight[:, None] * (self.probabilities(flat) - self.Y))


def output_probabilities(logits: np.ndarray) -> np.ndarray:
    """Turn outputs of shape (n, C) into probabilities: the sigmoid for C = 1, else the softmax."""
    return expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1)


@cache
def _loss_function(two_classes: bool, fit_intercept: bool) -> Callable:
    """Build the loss for TensorFlow; one function for all sizes, so that it is compiled once."""

    def loss(flat, X, Y, sample_weight, alpha, rank):
        import tensorflow as tf

        n_features, n_outputs, rank = tf.shape(X)[1], tf.shape(Y)[1], tf.cast(rank, tf.int32)
        sizes = [n_features * rank, rank * n_outputs, n_outputs if fit_intercept else 0]
        W, V, b = tf.split(flat, sizes)
        projected = tf.matmul(X, tf.reshape(W, [n_features, rank]))
        logits = tf.matmul(projected, tf.reshape(V, [rank, n_outputs]))
        if fit_intercept:
            logits += b
        if two_classes:
            normaliser = tf.nn.softplus(logits)[:, 0]
        else:
            normaliser = tf.reduce_logsumexp(logits, axis=1)
        per_row = normaliser - tf.reduce_sum(Y * logits, axis=1)
        penalty = 0.5 * alpha * (tf.reduce_sum(W**2) + tf.reduce_sum(V**2))
        return tf.reduce_sum(sample_weight * per_row) + penalty

    return loss
