r"""Find saddles by the smallest eigenvalue of the Hessian, and leave them along its eigenvector.

The joint loss of W and V has a saddle wherever a column of W and the row of V that goes with it
are both zero and the rest is stationary: the product does not change to first order. At W = 0,
V = 0 the Hessian is known in closed form. With G = ∂f/∂(W V), of singular values σ_i, its
eigenvalues are

.. math:: \alpha \pm \sigma_i(G) \quad (L \text{ times each}), \qquad \alpha \text{ (otherwise)},

besides those of the intercept. Zero is a saddle exactly if α < σ_1(G), the largest of them; with a
larger penalty it is the minimum. More generally all saddles of such a factored loss with equal
penalties are strict if L is large enough: the smallest eigenvalue is negative (Li, Zhu & Tang
2017, arXiv:1704.01265).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from starstack.projection.objective import JointObjective

# Residual at which the smallest Ritz value is good enough, in units of the largest eigenvalue …
ACCURACY = 1e-7
# … and of itself, so that its sign is known; but for what products with the Hessian round to.
_OWN_ACCURACY = 1e-2
ROUNDING = 1e-12
_MOST_STEPS = 400
# Ritz values of a basis of m vectors cost about as much as a product once m reaches a hundred.
_STEPS_BETWEEN_CHECKS = 10


@dataclass(frozen=True, eq=False)
class Curvature:
    """The two ends of a Hessian's spectrum.

    Attributes
    ----------
    smallest, largest : float
        Eigenvalues.
    direction : ndarray of shape (P,)
        Unit eigenvector of the smallest one.
    error : float
        Norm of H·direction − smallest·direction: an eigenvalue lies within this distance.
    n_products : int
        Hessian-vector products used.
    """

    smallest: float
    largest: float
    direction: np.ndarray
    error: float
    n_products: int

    @property
    def scale(self) -> float:
        """The largest absolute eigenvalue."""
        return max(abs(self.smallest), abs(self.largest))

    def is_negative(self, gradient_norm: float) -> bool:
        """Tell whether the smallest eigenvalue is below zero by more than errors can do.

        They are rounding, and that the gradient is not quite zero: along the gauge, whose orbits
        are curved, the second derivative is then of the size of the gradient. That `smallest` has
        an `error` does not matter: it is the curvature along `direction` itself.
        """
        return self.smallest < -ROUNDING * self.scale - 10 * gradient_norm


def extreme_curvature(
    objective: JointObjective, flat: np.ndarray, *, seed: int = 0, max_steps: int = _MOST_STEPS
) -> Curvature:
    """Compute the smallest and the largest eigenvalue of the Hessian by the Lanczos method.

    The basis is orthogonalised in full, twice, so that no eigenvalue appears more than once. The
    iteration ends when the residual of the smallest one is below `ACCURACY` times the largest
    one, of which three digits are enough, and so small that its sign is known, or when the basis
    spans the space.

    Parameters
    ----------
    objective : JointObjective
        Its Hessian-vector products are used.
    flat : ndarray of shape (P,)
        The point.
    seed : int
        Of the random first vector. It has a part along every eigenvector, with probability one.
    max_steps : int
        The most products.
    """
    steps = min(objective.size, max_steps)
    basis = np.empty((steps, objective.size))
    diagonal, off_diagonal = np.empty(steps), np.empty(steps)
    vector = np.random.default_rng(seed).normal(size=objective.size)
    vector /= np.linalg.norm(vector)
    for step in range(steps):
        basis[step] = vector
        product = objective.hessian_vector_product(flat, vector)
        diagonal[step] = vector @ product
        known = basis[: step + 1]
        for _ in range(2):  # once leaves rounding errors that grow into copies of eigenvalues
            product -= known.T @ (known @ product)
        off_diagonal[step] = np.linalg.norm(product)
        rounding = 100 * np.finfo(float).eps * np.abs(diagonal[: step + 1]).max()
        spanned = off_diagonal[step] <= rounding
        if spanned or step + 1 == steps or (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
            values, vectors = eigh_tridiagonal(diagonal[: step + 1], off_diagonal[:step])
            errors = off_diagonal[step] * np.abs(vectors[-1, [0, -1]])
            largest = np.abs(values).max()
            enough = max(_OWN_ACCURACY * abs(values[0]), ROUNDING * largest)
            enough = min(enough, ACCURACY * largest)
            if spanned or (errors[0] <= enough and errors[1] <= 1e-3 * largest):
                break
        vector = product / off_diagonal[step]
    direction = vectors[:, 0] @ known
    return Curvature(
        smallest=float(values[0]),
        largest=float(values[-1]),
        direction=direction / np.linalg.norm(direction),
        error=float(errors[0]),
        n_products=step + 1,
    )


def escape_along(
    objective: JointObjective, flat: np.ndarray, curvature: Curvature
) -> tuple[np.ndarray, float]:
    """Walk from a saddle along its direction of negative curvature, to both sides, and stay low.

    The step doubles as long as the loss falls, from where rounding does not hide the fall, up to
    the largest of 1, the norm of the point, and the length of factors that move the outputs by one:
    without a minimum it would fall for ever. At an exact saddle both sides fall alike.

    Returns
    -------
    flat : ndarray of shape (P,)
        The lowest point found.
    step : float
        Its distance from the saddle, with the sign of the side; 0 if no step was lower.
    """
    best_loss, _ = objective.value_and_gradient(flat)
    longest = max(1.0, objective.factor_length, float(np.linalg.norm(flat)))
    rounding = 1e3 * np.finfo(float).eps * abs(best_loss)
    shortest = np.sqrt(2 * rounding / abs(curvature.smallest))
    best_step = 0.0
    for side in (1.0, -1.0):
        step, last = shortest * side, np.inf
        while abs(step) <= longest:
            loss, _ = objective.value_and_gradient(flat + step * curvature.direction)
            if not loss < last:
                break
            if loss < best_loss:
                best_loss, best_step = loss, step
            step, last = 2 * step, loss
    return flat + best_step * curvature.direction, float(best_step)
