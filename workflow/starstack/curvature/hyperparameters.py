"""The noise σ from residuals, and the prior precision δ from rows that were held out.

The predictive distribution of a held-out row is normal with the covariance V + diag(σ²), V from the
weights; for classes it is MacKay's probit approximation [1]_, which shrinks the logits by their
variance. σ is fixed first: chosen together with δ by the marginal likelihood it takes up the errors
of the approximation as well [2]_.

References
----------
.. [1] D. J. C. MacKay, "The evidence framework applied to classification networks", Neural
   Computation 4 (1992) 720.
.. [2] E. Daxberger, A. Kristiadi, A. Immer, R. Eschenhagen, M. Bauer, P. Hennig, "Laplace redux –
   effortless Bayesian deep learning", NeurIPS 2021, section 3.3 (tuning of the prior).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.curvature.likelihood import log_probability, measure_likelihood
from starstack.curvature.posterior import Posterior
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

GRID = tuple(float(value) for value in np.logspace(-4, 8, 25))
CRITERIA = ("held_out", "marginal_likelihood")


@dataclass(frozen=True)
class PriorChoice:
    """The prior precision that was chosen, and what was tried.

    Attributes
    ----------
    posterior : Posterior
        With the chosen δ.
    prior_precision : float or dict of str to float
        δ.
    score : float
        Mean log-likelihood per held-out row, or the log marginal likelihood.
    at_edge : tuple of float
        Values of δ that are an end of the grid, where a better one may lie beyond; one for each
        layer that chose one.
    tried : tuple of (float, float)
        δ and score for one δ of all layers.
    """

    posterior: Posterior
    prior_precision: float | dict[str, float]
    score: float
    at_edge: tuple[float, ...]
    tried: tuple[tuple[float, float], ...]


def residual_noise(model: "keras.Model", data: Batches) -> np.ndarray:
    """Return the root mean square residual of each output, shape (k,).

    Of rows that were held out: of the rows that a network was fitted to, it is too small. It
    contains all of the error, that of the weights included.

    Parameters
    ----------
    model : keras.Model
        A regression network.
    data : Batches
        Rows with targets, in the network's units.
    """
    return measure_likelihood(model, data, "mse").residual_noise()


def held_out_scores(posterior: Posterior, data: Batches) -> np.ndarray:
    """Return log p(y | x) of each row under the posterior's predictive distribution, shape (n,).

    Parameters
    ----------
    posterior : Posterior
        With its σ and δ.
    data : Batches
        Rows with targets that the network has not seen; those of weight zero are left out.
    """
    return _scorer(data, posterior)(posterior)


def choose_prior_precision(
    posterior: Posterior,
    data: Batches | None = None,
    *,
    grid: Sequence[float] = GRID,
    per_layer: bool = False,
    criterion: str = "held_out",
    n_sweeps: int = 2,
) -> PriorChoice:
    """Choose δ by the likelihood of held-out rows, or by the marginal likelihood.

    Parameters
    ----------
    posterior : Posterior
        In any structure; σ stays as it is.
    data : Batches, optional
        Held-out rows with targets, for ``held_out``.
    grid : sequence of float
        Values to try, positive and rising. A warning is logged if the best one is an end.
    per_layer : bool
        Choose δ of each covered layer in turn, the others kept, starting from the best common one.
    criterion : str
        ``held_out`` or ``marginal_likelihood``.
    n_sweeps : int
        How often to go over the layers.

    Raises
    ------
    InputError
        If the grid is empty or not positive and rising, or held-out rows are missing.
    """
    grid = _checked_grid(grid)
    score = _criterion(criterion, posterior, data)
    tried = [
        (delta, score(posterior.with_hyperparameters(prior_precision=delta))) for delta in grid
    ]
    chosen, best = max(tried, key=lambda pair: pair[1])
    prior: float | dict[str, float] = chosen
    picked = {"all layers": chosen}
    if per_layer:
        prior = dict.fromkeys(posterior.layers, chosen)
        for _ in range(n_sweeps):
            prior, best = _sweep(posterior, prior, best, grid, score)
        picked = {layer: prior[layer] for layer in posterior.covered}
    ends = {grid[0], grid[-1]} if len(grid) > 1 else set()
    at_edge = {layer: delta for layer, delta in picked.items() if delta in ends}
    for layer, delta in at_edge.items():
        logger.warning(
            "prior precision of %s: the best of %g to %g is %g, an end of the grid; widen it",
            layer,
            grid[0],
            grid[-1],
            delta,
        )
    return PriorChoice(
        posterior=posterior.with_hyperparameters(prior_precision=prior),
        prior_precision=prior,
        score=best,
        at_edge=tuple(at_edge.values()),
        tried=tuple(tried),
    )


def _sweep(
    posterior: Posterior,
    prior: Mapping[str, float],
    best: float,
    grid: Sequence[float],
    score: Callable[[Posterior], float],
) -> tuple[dict[str, float], float]:
    """Choose δ of each layer in turn; the score never falls."""
    prior = dict(prior)
    for layer in posterior.covered:
        for delta in grid:
            trial = prior | {layer: delta}
            if delta != prior[layer]:
                reached = score(posterior.with_hyperparameters(prior_precision=trial))
                if reached > best:
                    prior, best = trial, reached
    return prior, best


def _criterion(
    name: str, posterior: Posterior, data: Batches | None
) -> Callable[[Posterior], float]:
    if name == "marginal_likelihood":
        return lambda candidate: candidate.log_marginal_likelihood()
    if name != "held_out":
        raise InputError(f"criterion {name!r}: expected one of {', '.join(CRITERIA)}")
    if data is None:
        raise InputError("prior precision: expected held-out rows with targets, got none")
    scores = _scorer(data, posterior)
    weight = np.concatenate([batch.weight for batch in data])
    weight = weight[weight != 0]
    return lambda candidate: float(weight @ scores(candidate) / weight.sum())


def _scorer(data: Batches, posterior: Posterior) -> Callable[[Posterior], np.ndarray]:
    """Read the rows and pass them through the network once, for all δ."""
    if not data.has_targets:
        raise InputError("held-out likelihood: expected rows with targets, got rows alone")
    kept = [(batch.x[batch.weight != 0], batch.y[batch.weight != 0]) for batch in data]
    x, y = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    outputs = posterior.outputs(x, data.batch_size)

    known: dict[tuple, np.ndarray] = {}

    def covariance_of(candidate: Posterior) -> np.ndarray:
        noise = None if candidate.noise is None else candidate.noise.tobytes()
        wanted = [(layer, candidate.prior_of(layer), noise) for layer in candidate.covered]
        if not known.keys() >= set(wanted):
            parts = candidate.layer_covariances(x, data.batch_size)
            if parts is None:
                return candidate.predictive_covariance(x, data.batch_size)
            known.update({key: parts[key[0]] for key in wanted})
        return sum(known[key] for key in wanted)

    def score(candidate: Posterior) -> np.ndarray:
        covariance = covariance_of(candidate)
        if candidate.noise is None:
            return _log_probability_of_classes(candidate.likelihood.family, outputs, covariance, y)
        return normal_log_density(
            y.reshape(outputs.shape) - outputs, covariance + np.diag(candidate.noise**2)
        )

    return score


def normal_log_density(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the log-density of residuals (n, k) under N(0, covariance), (n, k, k): shape (n,).

    Examples
    --------
    >>> normal_log_density(np.array([[0.0, 0.0]]), np.eye(2)[None])
    array([-1.83787707])
    """
    lower = np.linalg.cholesky(covariance)
    scaled = np.linalg.solve(lower, residuals[:, :, None])[:, :, 0]
    log_root = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    constant = 0.5 * residuals.shape[1] * np.log(2 * np.pi)
    return -0.5 * (scaled**2).sum(axis=1) - log_root - constant


def probit_logits(logits: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the logits that MacKay's approximation leaves of uncertain ones, shape (n, k).

    z_c / √(1 + π V_cc / 8): exact in expectation for a probit, and close for a sigmoid.
    """
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    return logits / np.sqrt(1 + np.pi / 8 * variance)


def _log_probability_of_classes(
    family: str, logits: np.ndarray, covariance: np.ndarray, y: np.ndarray
) -> np.ndarray:
    return log_probability(family, probit_logits(logits, covariance), y)


def _checked_grid(grid: Any) -> list[float]:
    values = [float(value) for value in grid]
    rising = all(one < other for one, other in pairwise(values))
    if not values or not rising or not np.isfinite(values).all() or values[0] <= 0:
        raise InputError(
            f"grid of prior precisions: expected positive rising numbers, got {grid!r}"
        )
    return values
