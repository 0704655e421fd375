"""Three ways to minimise the joint loss, and what goes on at the points where they stop.

``gradient-descent``
    Steps along the negative gradient, halved until the loss falls by Armijo's rule and doubled
    after a success. Slow, and the one that shows what a saddle does.
``l-bfgs``
    SciPy's L-BFGS-B with exact gradients.
``trust-krylov``
    SciPy's trust-region method on the Krylov space of exact Hessian-vector products (Gould, Lucidi,
    Roma & Toint 1999, SIAM J. Optim. 9, 504). It uses negative curvature where the gradient is not
    zero; where it is, the Krylov space is empty and it stops like the others.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize

from starstack.projection.equivalence import balance
from starstack.projection.newton import STALL, newton_steps
from starstack.projection.objective import JointObjective
from starstack.projection.saddle import Curvature, escape_along, extreme_curvature

logger = logging.getLogger(__name__)

_ARMIJO = 1e-4
_SMALLEST_STEP = 1e-20
# A minimum is refined until the gradient is this share of what was asked for: at 10⁻⁶ per row, the
# default of `tol`, coefficients were wrong by 4·10⁻⁵ and columns that the penalty drives to zero
# still had a length of 10⁻³.
REFINED = 1e-6


@dataclass(eq=False)
class Trace:
    """Where a minimisation has been.

    Attributes
    ----------
    losses, gradient_norms : list of float
        One entry for the start, and one after each iteration or escape.
    saddles : list of dict
        Each saddle met: ``iteration``, ``loss``, ``gradient_norm``, ``eigenvalue``, ``step``
        (distance of the escape, 0 if there was none).
    message : str
        Why it ended.
    used_up : bool
        Whether it ended because there were no iterations left.
    gtol : float
        The norm of the gradient that was asked for.
    """

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    saddles: list[dict[str, float]] = field(default_factory=list)
    message: str = ""
    used_up: bool = False
    gtol: float = float("nan")

    def add(self, loss: float, gradient: np.ndarray) -> None:
        """Note one more point."""
        self.losses.append(float(loss))
        self.gradient_norms.append(float(np.linalg.norm(gradient)))

    @property
    def n_iter(self) -> int:
        """Iterations so far."""
        return len(self.losses) - 1


Solver = Callable[[JointObjective, np.ndarray, int, float, Trace], np.ndarray]


def gradient_descent(
    objective: JointObjective, flat: np.ndarray, max_iter: int, gtol: float, trace: Trace
) -> np.ndarray:
    """Descend along the gradient with Armijo's rule."""
    loss, gradient = objective.value_and_gradient(flat)
    step = 1.0 / max(1.0, float(np.linalg.norm(gradient)))
    for _ in range(max_iter):
        squared = gradient @ gradient
        if np.sqrt(squared) <= gtol:
            break
        while True:
            candidate = flat - step * gradient
            lower, its_gradient = objective.value_and_gradient(candidate)
            if lower <= loss - _ARMIJO * step * squared:
                break
            step /= 2
            if step < _SMALLEST_STEP:  # rounding hides any further fall
                return flat
        flat, loss, gradient = candidate, lower, its_gradient
        trace.add(loss, gradient)
        step *= 2
    return flat


def l_bfgs(
    objective: JointObjective, flat: np.ndarray, max_iter: int, gtol: float, trace: Trace
) -> np.ndarray:
    """Run SciPy's L-BFGS-B."""
    last = _Last(objective)
    return optimize.minimize(
        last.value_and_gradient,
        flat,
        jac=True,
        method="L-BFGS-B",
        callback=lambda x: last.note(x, trace),
        options={
            "maxiter": max_iter,
            "maxfun": 20 * max_iter + 20,
            # SciPy looks at the largest component, which is at least the norm over √P.
            "gtol": gtol / np.sqrt(objective.size),
            "ftol": STALL,
        },
    ).x


def trust_krylov(
    objective: JointObjective, flat: np.ndarray, max_iter: int, gtol: float, trace: Trace
) -> np.ndarray:
    """Run SciPy's trust-krylov with exact Hessian-vector products, again until the loss stays.

    SciPy's subproblems end by absolute tolerances: where penalty and loss are small it stopped far
    from the minimum. So each further run is of the loss over the norm of the gradient. Its first
    region has the radius 1, so that factors are in units of 1/√‖x‖.
    """
    W, V, b = objective.layout.unpack(np.ones(objective.size))
    length = objective.factor_length
    units = objective.layout.pack(length * W, length * V, b)
    last, scale = _Last(objective), 1.0

    def note(x: np.ndarray) -> None:
        last.note(units * x, trace)
        if trace.gradient_norms[-1] <= gtol:
            raise StopIteration
        # Near the minimum the loss falls by less than its rounding error; every step is then
        # refused, and SciPy would shrink the region until it runs out of iterations.
        losses = trace.losses[start:]
        if len(losses) > 5 and losses[-6] - losses[-1] <= STALL * abs(losses[-1]):
            raise StopIteration

    def scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = last.value_and_gradient(units * x)
        return scale * loss, scale * units * gradient

    def scaled_product(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return scale * units * objective.hessian_vector_product(units * x, units * v)

    loss, gradient = objective.value_and_gradient(flat)
    first = end = trace.n_iter
    while np.linalg.norm(gradient) > gtol and end - first < max_iter:
        start, before = end, loss
        # A model that predicts no fall at all makes SciPy divide zero by zero, and refuse the step;
        # a penalty of 10⁵⁰ makes it overflow, and shorten the step.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            result = optimize.minimize(
                scaled,
                flat / units,
                jac=True,
                hessp=scaled_product,
                method="trust-krylov",
                callback=note,
                # Loose subproblems: tight ones took 3 to 9 times as many products on the digits.
                options={
                    "maxiter": max_iter - (start - first),
                    "gtol": scale * gtol * units.min(),
                    "inexact": True,
                },
            )
        flat = units * result.x
        loss, gradient = objective.value_and_gradient(flat)
        end = trace.n_iter
        if scale != 1 and before - loss <= STALL * abs(loss):
            break
        scale = 1 / np.linalg.norm(units * gradient)
    return flat


SOLVERS: dict[str, Solver] = {
    "gradient-descent": gradient_descent,
    "l-bfgs": l_bfgs,
    "trust-krylov": trust_krylov,
}


class _Last:
    """Remembers the last evaluations, so that noting an iterate costs nothing."""

    def __init__(self, objective: JointObjective) -> None:
        self._objective = objective
        self._known: list[tuple[np.ndarray, float, np.ndarray]] = []

    def value_and_gradient(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = self._objective.value_and_gradient(flat)
        self._known = [*self._known[-3:], (flat.copy(), loss, gradient)]
        return loss, gradient

    def note(self, flat: np.ndarray, trace: Trace) -> None:
        for known, loss, gradient in reversed(self._known):
            if np.array_equal(known, flat):
                trace.add(loss, gradient)
                return
        trace.add(*self._objective.value_and_gradient(flat))


def _polish(
    objective: JointObjective, flat: np.ndarray, gtol: float, max_iter: int, trace: Trace
) -> np.ndarray:
    """Take Newton steps and note them."""
    met = newton_steps(objective, flat, gtol, max_iter)
    for _, loss, gradient in met[1:]:
        trace.add(loss, gradient)
    return met[-1][0]


def _balance(objective: JointObjective, flat: np.ndarray, trace: Trace) -> np.ndarray:
    """Balance the factors if that lowers the gradient.

    Of unbalanced factors the penalty has a gradient along directions in which nothing but it has
    curvature; for a small one neither solver nor Newton steps can tell that from rounding.
    """
    balanced = balance(flat, objective.layout)
    loss, gradient = objective.value_and_gradient(balanced)
    if np.linalg.norm(gradient) >= trace.gradient_norms[-1]:
        return flat
    trace.add(loss, gradient)
    return balanced


def _end_balanced(objective: JointObjective, flat: np.ndarray, trace: Trace) -> np.ndarray:
    """Balance the factors of an end that is not stationary, as the estimator reports them.

    It takes the place of the last iterate, since it is no further iteration.
    """
    balanced = balance(flat, objective.layout)
    if trace.n_iter:
        trace.losses.pop()
        trace.gradient_norms.pop()
    trace.add(*objective.value_and_gradient(balanced))
    return balanced


def minimise(
    objective: JointObjective,
    start: np.ndarray,
    *,
    solver: str = "trust-krylov",
    escape: bool = True,
    max_iter: int = 1000,
    gtol: float,
    seed: int = 0,
) -> tuple[np.ndarray, Curvature, Trace]:
    """Run a solver, and look at the curvature of each point at which it stops.

    Newton steps then refine that point as far as rounding allows, to 10⁻⁶ of `gtol` at most.

    Parameters
    ----------
    objective : JointObjective
        What is minimised.
    start : ndarray of shape (P,)
        The first point.
    solver : str
        A key of `SOLVERS`.
    escape : bool
        Whether to leave a saddle along its direction of negative curvature and go on.
    max_iter : int
        Iterations, of all runs of the solver together.
    gtol : float
        The norm of the gradient at which a point counts as stationary.
    seed : int
        Of the Lanczos iterations.

    Returns
    -------
    flat : ndarray of shape (P,)
        The last point; its factors are balanced if it is not stationary.
    curvature : Curvature
        Of the Hessian there.
    trace : Trace
        The way to it.
    """
    flat, trace = start, Trace(gtol=gtol)
    trace.add(*objective.value_and_gradient(start))
    while True:
        flat = SOLVERS[solver](objective, flat, max_iter - trace.n_iter, gtol, trace)
        flat = _polish(objective, flat, gtol, max_iter - trace.n_iter, trace)
        if trace.gradient_norms[-1] > gtol and objective.alpha > 0 and trace.n_iter < max_iter:
            flat = _balance(objective, flat, trace)
            flat = _polish(objective, flat, gtol, max_iter - trace.n_iter, trace)
        if trace.gradient_norms[-1] > gtol:
            flat = _end_balanced(objective, flat, trace)
        stationary = np.linalg.norm(objective.value_and_gradient(flat)[1]) <= gtol
        separated = stationary and objective.alpha == 0 and objective.separates(flat)
        if stationary and not separated:
            # A gradient left over bends the gauge, which can look like a saddle.
            flat = _polish(objective, flat, REFINED * gtol, max_iter - trace.n_iter, trace)
        curvature = extreme_curvature(objective, flat, seed=seed)
        loss, gradient = objective.value_and_gradient(flat)
        norm = float(np.linalg.norm(gradient))
        if not stationary:
            # A solver that ends before its iterations do cannot see a further fall for rounding.
            trace.used_up = trace.n_iter >= max_iter
            reason = "iterations used up" if trace.used_up else "no further fall of loss"
            trace.message = f"{reason}, with a gradient of norm {norm:.1e}"
            break
        if separated:
            trace.message = "the classes are separated, and the loss falls for ever"
            break
        if not curvature.is_negative(norm):
            trace.message = "stationary, and the curvature is nowhere negative"
            if norm > REFINED * gtol:
                trace.message += f"; refined only to a gradient of norm {norm:.1e}"
            break
        saddle = {
            "iteration": trace.n_iter,
            "loss": loss,
            "gradient_norm": norm,
            "eigenvalue": curvature.smallest,
            "step": 0.0,
        }
        trace.saddles.append(saddle)
        logger.warning(
            "saddle at iteration %d: loss %.6g, gradient norm %.1e, smallest eigenvalue of the "
            "Hessian %.3g; %s",
            trace.n_iter,
            loss,
            norm,
            curvature.smallest,
            "escaping along its eigenvector" if escape else "escape is off, staying there",
        )
        trace.used_up = trace.n_iter + 2 > max_iter  # one for the escape, one to go on
        if not escape or trace.used_up:
            trace.message = "stopped at a saddle"
            break
        flat, saddle["step"] = escape_along(objective, flat, curvature)
        if saddle["step"] == 0:
            trace.message = "stopped at a saddle that no step leads down from"
            break
        trace.add(*objective.value_and_gradient(flat))
    return flat, curvature, trace
