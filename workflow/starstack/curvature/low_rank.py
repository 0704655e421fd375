r"""The largest eigenpairs of the Gauss–Newton matrix, with the prior in all other directions.

For each term of the likelihood (each output c for normal noise, of scale s_c = 1/σ_c²) Lanczos
gives the top pairs of its curvature, Σ_n J_ncᵀ J_nc ≈ U_c Θ_c U_cᵀ. With all of them side by side,
W = (√s_c U_c Θ_c^½)_c of r columns, the precision is Δ + W Wᵀ and Woodbury's identity needs an
(r, r) matrix only::

    P⁻¹ v      = Δ⁻¹ v − Δ⁻¹ W B⁻¹ Wᵀ Δ⁻¹ v,      B = I + Wᵀ Δ⁻¹ W
    log det P  = log det Δ + log det B

Curvature that is left out leaves the prior's variance in its directions: the predictive variance
falls towards that of the exact matrix as the rank grows, and never below it.
"""

import logging
import time
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_solve, cholesky

from starstack.autodiff.operators import GaussNewtonOperator
from starstack.curvature.diagnosis import diagnose, likelihood_products, products_of
from starstack.curvature.lanczos import MEMORY_LIMIT, largest_eigenpairs
from starstack.curvature.likelihood import measure_likelihood
from starstack.curvature.likelihood_losses import term_losses, term_scales
from starstack.curvature.posterior import Posterior
from starstack.curvature.row_jacobian import RowJacobian
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.curvature.likelihood import Likelihood

logger = logging.getLogger(__name__)

# Residuals of the eigenpairs that rounding of the products allows, by the type of the weights.
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
# Columns that go through the rows' Jacobian at a time, so that one layer's part is no second copy.
_COLUMNS = 16


class LowRankPosterior(Posterior):
    """Posterior of top eigenpairs and prior; see the module.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    values : ndarray of shape (terms, r)
        Eigenvalues of each term, not negative.
    vectors : ndarray of shape (terms, r, P)
        Eigenvectors, as rows.
    """

    structure = "low_rank"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: "Likelihood",
        *,
        values: np.ndarray,
        vectors: np.ndarray,
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self._values, self._vectors = values, vectors
        self._jacobian = RowJacobian(model, logits=not likelihood.is_gaussian)

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m)."""
        v = np.asarray(v, dtype=np.float64)
        prior = self._prior()[:, None]
        scaled = v.reshape(len(v), -1) / prior
        inner = self._roots()[:, None] * (self._rows() @ scaled)
        back = self._rows().T @ (self._roots()[:, None] * cho_solve((self._factor(), True), inner))
        return (scaled - back / prior).reshape(v.shape)

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return J P⁻¹ Jᵀ of each row, (n, k, k)."""
        parts, rows, prior = [], self._rows(), self._prior()
        for _, blocks in self._jacobian.batches(x, batch_size):
            own = sum(block.own_kernel() / self.prior_of(block.layer) for block in blocks)
            along = np.concatenate(
                [
                    sum(block.times((rows[at : at + _COLUMNS] / prior).T) for block in blocks)
                    for at in range(0, len(rows), _COLUMNS)
                ],
                axis=2,
            )
            along = along * self._roots()
            n, k, rank = along.shape
            solved = cho_solve((self._factor(), True), along.reshape(n * k, rank).T)
            solved = solved.T.reshape(n, k, rank)
            parts.append(own - np.einsum("ncr,ndr->ncd", along, solved, optimize=True))
        return np.concatenate(parts)

    def log_determinant(self) -> float:
        """Return log det P."""
        return float(np.log(self._prior()).sum() + 2 * np.log(np.diag(self._factor())).sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the eigenpairs of each term."""
        return {"values": self._values, "vectors": self._vectors}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "LowRankPosterior":
        """Make the posterior again from `arrays`."""
        return cls(model, values=arrays["values"], vectors=arrays["vectors"], **options)

    def _prior(self) -> np.ndarray:
        return self.positive_prior("directions without curvature would have no bound")

    def _rows(self) -> np.ndarray:
        return self._vectors.reshape(-1, self._vectors.shape[2])

    def _roots(self) -> np.ndarray:
        """Return √(s θ) of each row of `_rows`."""
        scales = term_scales(self.likelihood, self.noise)
        return np.sqrt(scales[:, None] * self._values).ravel()

    def _factor(self) -> np.ndarray:
        """Return the lower Cholesky factor of B."""
        if "factor" not in self._derived:
            rows, prior, roots = self._rows(), self._prior(), self._roots()
            inner = np.empty((len(rows), len(rows)))
            for at in range(0, len(rows), _COLUMNS):
                inner[at : at + _COLUMNS] = (rows[at : at + _COLUMNS] / prior) @ rows.T
            inner *= roots[:, None] * roots
            inner[np.diag_indices_from(inner)] += 1
            self._derived["factor"] = cholesky(inner, lower=True, overwrite_a=True)
        return self._derived["factor"]


def fit_low_rank(
    model: "keras.Model",
    data: "Batches",
    *,
    loss: Any = "mse",
    noise: Any = None,
    prior_precision: float | Mapping[str, float] = 1.0,
    scaler_digest: str = "",
    rank: int = 20,
    tolerance: float | None = None,
    n_basis: int | None = None,
    seed: int = 0,
    basis_path: str | PathLike[str] | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> LowRankPosterior:
    """Make the posterior of the top eigenpairs of each term of the likelihood.

    Parameters
    ----------
    model, data, loss, noise, prior_precision, scaler_digest
        As for `starstack.curvature.structures.laplace`.
    rank : int
        Eigenpairs of each term (of each output for normal noise); P if that is fewer.
    tolerance : float, optional
        Of the residuals, relative to the largest eigenvalue; by default what the type of the
        weights allows.
    n_basis, seed, basis_path, memory_limit
        As for `starstack.curvature.lanczos.largest_eigenpairs`; the limit also holds for the
        eigenvectors of all terms.

    Raises
    ------
    InputError
        If basis or eigenvectors do not fit in the limit, Lanczos does not converge, or a proof of
        the products fails.
    """
    started = time.perf_counter()
    likelihood = measure_likelihood(model, data, loss)
    values, vectors = [], []
    for number, term in enumerate(terms := term_losses(likelihood)):
        products = products_of(model, term, data)
        size = products.parameters.size
        _check_size(len(terms) * min(rank, size), size, memory_limit)
        if tolerance is None:
            tolerance = TOLERANCES[str(products.parameters.dtype)]
        logger.info("low rank: term %d of %d", number + 1, len(terms))
        pairs = largest_eigenpairs(
            GaussNewtonOperator(products),
            min(rank, size),
            n_basis=n_basis,
            tolerance=tolerance,
            seed=seed,
            basis_path=basis_path,
            memory_limit=memory_limit,
        )
        # The matrix has no negative eigenvalue; rounding makes small ones.
        values.append(np.maximum(pairs.values, 0))
        vectors.append(np.array(pairs.vectors))
    posterior = LowRankPosterior(
        model,
        likelihood,
        values=np.stack(values),
        vectors=np.stack(vectors),
        noise=noise,
        prior_precision=prior_precision,
        scaler_digest=scaler_digest,
    )
    products = likelihood_products(posterior, data)
    posterior.record = diagnose(posterior, products, started=started, seed=seed)
    return posterior


def _check_size(n_vectors: int, size: int, memory_limit: int) -> None:
    if n_vectors * size * 8 > memory_limit:
        raise InputError(
            f"low rank: {n_vectors} eigenvectors of {size:,} weights need "
            f"{n_vectors * size * 8 / 2**30:.3g} GiB, the limit is {memory_limit / 2**30:.3g} GiB; "
            "take a smaller rank or raise memory_limit"
        )
