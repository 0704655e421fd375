"""The noise σ from residuals, and the prior precision δ from rows that were held out.

The predictive distribution of a held-out row is normal with the covariance V + C + diag(s²): V from
the weights, C what is known of the row (such as the noise of its inputs, propagated), and s a
scatter that all rows share, of the largest likelihood for each δ that is tried. With one σ for all
rows in the place of C and s, V followed the noise of the rows where it could, and predicted errors
came out 1.2 times too large. For classes it is the probit approximation of
`starstack.curvature.probit`. σ, in the precision of the weights, is fixed first: chosen together
with δ by the marginal likelihood it takes up the errors of the approximation as well [1]_.

References
----------
.. [1] E. Daxberger, A. Kristiadi, A. Immer, R. Eschenhagen, M. Bauer, P. Hennig, "Laplace redux –
   effortless Bayesian deep learning", NeurIPS 2021, section 3.3 (tuning of the prior).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches, as_batches
from starstack.curvature.covariance_faults import covariance_fault
from starstack.curvature.likelihood import log_probability, measure_likelihood
from starstack.curvature.options import whole_number
from starstack.curvature.posterior import Posterior
from starstack.curvature.probit import probit_logits
from starstack.curvature.rows import check_rows
from starstack.curvature.scatter import fit_scatter, normal_log_density
from starstack.curvature.targets import finite_targets, values_by_row
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

GRID = tuple(float(value) for value in np.logspace(-4, 8, 25))
CRITERIA = ("held_out", "marginal_likelihood")
# Of the mean square residual, added to every variance: an error of zero has no density.
SMALLEST = 1e-9
# A known standard deviation below this part of the residuals may be nothing but rounding.
NOTHING = 1e-3


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
    scatter : tuple of float or None
        s of each output at the chosen δ, in the units of the network; None for classes and where
        no rows were held out.
    n_rows : int
        Held-out rows.
    """

    posterior: Posterior
    prior_precision: float | dict[str, float]
    score: float
    at_edge: tuple[float, ...]
    tried: tuple[tuple[float, float], ...]
    scatter: tuple[float, ...] | None = None
    n_rows: int = 0


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of one posterior: log p(y | x) of each row, and s² where there is one."""

    rows: np.ndarray
    variances: np.ndarray | None = None


def residual_noise(model: "keras.Model", data: Batches | tuple) -> np.ndarray:
    """Return the root mean square residual of each output, shape (k,).

    Of rows that were held out: of the rows that a network was fitted to, it is too small. It
    contains all of the error, that of the weights included.

    Parameters
    ----------
    model : keras.Model
        A regression network.
    data : Batches or tuple
        Rows with targets, in the network's units: also (X, y) or (X, y, sample_weight).
    """
    return measure_likelihood(model, as_batches(data), "mse").residual_noise()


def held_out_scores(
    posterior: Posterior, data: Batches | tuple, *, known: np.ndarray | None = None
) -> np.ndarray:
    """Return log p(y | x) of each row under the posterior's predictive distribution, shape (n,).

    Parameters
    ----------
    posterior : Posterior
        With its σ and δ.
    data : Batches or tuple
        Rows with targets that the network has not seen, also (X, y) or (X, y, sample_weight); those
        of weight zero are left out.
    known : ndarray of shape (n, k, k), optional
        As for `choose_prior_precision`.
    """
    return _Scorer(data, posterior, known)(posterior).rows


def choose_prior_precision(
    posterior: Posterior,
    data: Batches | tuple | None = None,
    *,
    known: np.ndarray | None = None,
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
    data : Batches or tuple, optional
        Held-out rows with targets, for ``held_out``; as for `held_out_scores`.
    known : ndarray of shape (n, k, k), optional
        Covariance of each held-out row of weight above zero beside that of the weights, in the
        units of the network's outputs squared; zero by default.
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
        If the grid is empty or not positive and rising, held-out rows are missing or have targets
        that are not finite or too many, `n_sweeps` is no whole number of at least 1, or `known` is
        not of their number or holds what cannot be a covariance.
    """
    grid = _checked_grid(grid)
    n_sweeps = whole_number(n_sweeps, "prior precision: n_sweeps")
    scorer = _Scorer(data, posterior, known) if criterion == "held_out" else None
    score = _criterion(criterion, scorer)
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
    posterior = posterior.with_hyperparameters(prior_precision=prior)
    variances = None if scorer is None else scorer(posterior).variances
    return PriorChoice(
        posterior=posterior,
        prior_precision=prior,
        score=best,
        at_edge=tuple(at_edge.values()),
        tried=tuple(tried),
        scatter=None if variances is None else tuple(np.sqrt(variances).tolist()),
        n_rows=0 if scorer is None else len(scorer.weight),
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


def _criterion(name: str, scorer: "_Scorer | None") -> Callable[[Posterior], float]:
    if name == "marginal_likelihood":
        return lambda candidate: candidate.log_marginal_likelihood()
    if scorer is None:
        raise InputError(f"criterion {name!r}: expected one of {', '.join(CRITERIA)}")
    weight = scorer.weight / scorer.weight.sum()
    return lambda candidate: float(weight @ scorer(candidate).rows)


class _Scorer:
    """Reads the rows and passes them through the network once, for all δ."""

    def __init__(
        self, data: Batches | tuple | None, posterior: Posterior, known: np.ndarray | None
    ) -> None:
        data = None if data is None else as_batches(data)
        if data is None or not data.has_targets:
            found = "none" if data is None else "rows alone"
            raise InputError(f"prior precision: expected held-out rows with targets, got {found}")
        kept = []
        for number, batch in enumerate(data):
            some = np.flatnonzero(batch.weight)
            parts = (batch.x[some], batch.y[some], batch.weight[some])
            kept.append((*parts, number * data.batch_size + some))
        self._x, self._y, self.weight, numbers = map(np.concatenate, zip(*kept, strict=True))
        self._batch_size = data.batch_size
        check_rows(posterior.model, self._x, data.batch_size, numbers)
        self._outputs = posterior.outputs(self._x, data.batch_size)
        n, k = self._outputs.shape
        self._y = finite_targets(self._y)
        least = np.zeros(k)
        if posterior.likelihood.is_gaussian:
            self._y = values_by_row(self._y, k)
            least = NOTHING * np.sqrt(np.mean((self._y - self._outputs) ** 2, axis=0))
        self._extra = np.zeros((n, k, k))
        if known is not None:
            self._extra = _checked_known(known, numbers, least)
        self._found: dict[tuple, np.ndarray] = {}

    def __call__(self, candidate: Posterior) -> _Scores:
        """Score a posterior that differs from the first one in σ and δ alone."""
        covariance = self._covariance(candidate)
        if candidate.noise is None:
            family = candidate.likelihood.family
            expected = probit_logits(family, self._outputs, covariance)
            return _Scores(log_probability(family, expected, self._y))
        residuals = self._y - self._outputs
        covariance = _positive(covariance + self._extra)
        least = SMALLEST * np.mean(residuals**2, axis=0) + np.finfo(float).tiny
        covariance = covariance + np.diag(least)
        variances = fit_scatter(residuals, covariance, self.weight)
        return _Scores(normal_log_density(residuals, covariance + np.diag(variances)), variances)

    def _covariance(self, candidate: Posterior) -> np.ndarray:
        noise = None if candidate.noise is None else candidate.noise.tobytes()
        wanted = [(layer, candidate.prior_of(layer), noise) for layer in candidate.covered]
        if not self._found.keys() >= set(wanted):
            parts = candidate.layer_covariances(self._x, self._batch_size)
            if parts is None:
                return candidate.predictive_covariance(self._x, self._batch_size)
            self._found.update({key: parts[key[0]] for key in wanted})
        return sum(self._found[key] for key in wanted)


def _positive(covariance: np.ndarray) -> np.ndarray:
    """Set to zero the negative eigenvalues that rounding leaves of a variance near zero."""
    values, vectors = np.linalg.eigh((covariance + covariance.swapaxes(1, 2)) / 2)
    if (values >= 0).all():
        return covariance
    return np.einsum("nij,nj,nkj->nik", vectors, np.maximum(values, 0.0), vectors)


def _checked_known(known: Any, numbers: np.ndarray, least: np.ndarray) -> np.ndarray:
    known, n, k = np.asarray(known), len(numbers), len(least)
    if known.shape != (n, k, k):
        raise InputError(
            f"prior precision: the known covariances have shape {known.shape}; expected "
            f"{(n, k, k)}, one matrix for each of the {n} held-out rows"
        )
    if known.dtype.kind not in "biuf" or not np.isfinite(known).all():
        raise InputError(
            "prior precision: expected known covariances of finite numbers, got NaN, infinity or "
            "no numbers; correct these rows or leave them out"
        )
    if fault := covariance_fault(known, least):
        row, words = fault
        raise InputError(
            f"prior precision: the known covariance of held-out row {numbers[row]} {words}; "
            "correct it or leave out the row"
        )
    return known


def _checked_grid(grid: Any) -> list[float]:
    try:
        values = [float(value) for value in grid]
    except (TypeError, ValueError):
        values = []
    rising = all(one < other for one, other in pairwise(values))
    if not values or not rising or not np.isfinite(values).all() or values[0] <= 0:
        raise InputError(
            f"grid of prior precisions: expected positive rising numbers, got {grid!r}; correct it"
        )
    return values
