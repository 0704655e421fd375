r"""The dense curvature of a small network, inverted by its Cholesky factor.

The Gauss–Newton matrix Σ_n J_nᵀ Λ_n J_n comes from the rows' Jacobians, the Hessian from one
Hessian-vector product per weight. For normal noise one matrix per output is kept, so that σ changes
without going over the data again.

The Hessian is symmetric, and positive definite only near a minimum. Where Hessian + δ has a
negative eigenvalue its inverse is no covariance: that is an error, unless a shift of the diagonal
is asked for, which then stands in the record.
"""

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, eigvalsh, solve_triangular

from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.products import Products
from starstack.curvature.diagnosis import diagnose, likelihood_products, products_of
from starstack.curvature.likelihood import measure_likelihood, precision_roots
from starstack.curvature.likelihood_losses import term_losses, term_scales
from starstack.curvature.posterior import Posterior
from starstack.curvature.record import MATRICES
from starstack.curvature.row_jacobian import RowJacobian
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.curvature.likelihood import Likelihood

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 4 * 2**30  # bytes
# Dense matrix against the product with it, relative, by the type of the weights.
AGREEMENT = {"float32": 1e-3, "float64": 1e-9}


class ExactPosterior(Posterior):
    """Posterior of the dense Gauss–Newton matrix or Hessian; see the module.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    terms : ndarray of shape (terms, P, P)
        Curvature of each term of the likelihood at scale 1: one per output for normal noise, one
        in all otherwise.
    shift : float
        Added to the diagonal beside δ.
    """

    structure = "exact"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: "Likelihood",
        *,
        terms: np.ndarray,
        shift: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self._terms, self.shift = terms, shift
        self._jacobian = RowJacobian(model, logits=not likelihood.is_gaussian)

    def curvature(self) -> np.ndarray:
        """Return the curvature at this σ, with neither δ nor the shift, shape (P, P)."""
        return np.tensordot(term_scales(self.likelihood, self.noise), self._terms, axes=1)

    def precision(self) -> np.ndarray:
        """Return P, shape (P, P)."""
        matrix = self.curvature()
        matrix[np.diag_indices_from(matrix)] += self.prior_vector() + self.shift
        return matrix

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m)."""
        return cho_solve((self._factor(), True), np.asarray(v, dtype=np.float64))

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return J P⁻¹ Jᵀ of each row, (n, k, k)."""
        parts = []
        for _, blocks in self._jacobian.batches(x, batch_size):
            flat = self._jacobian.flat(blocks)
            n, k, size = flat.shape
            half = solve_triangular(self._factor(), flat.reshape(n * k, size).T, lower=True)
            half = half.reshape(size, n, k)
            parts.append(np.einsum("pnc,pnd->ncd", half, half, optimize=True))
        return np.concatenate(parts)

    def log_determinant(self) -> float:
        """Return log det P."""
        return float(2 * np.log(np.diag(self._factor())).sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the matrices of the terms and the shift."""
        return {"terms": self._terms, "shift": np.array(self.shift)}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "ExactPosterior":
        """Make the posterior again from `arrays`."""
        return cls(model, terms=arrays["terms"], shift=float(arrays["shift"]), **options)

    def _factor(self) -> np.ndarray:
        """Return the lower Cholesky factor of P."""
        if "factor" not in self._derived:
            matrix = self.precision()
            try:
                self._derived["factor"] = cholesky(matrix, lower=True)
            except LinAlgError:
                smallest = eigvalsh(matrix, subset_by_index=[0, 0])[0]
                raise InputError(
                    f"exact: the matrix with its prior precision is not positive definite, its "
                    f"smallest eigenvalue is {smallest:.6g}: the weights are no minimum; train "
                    "on, take matrix='gauss_newton', a larger prior precision, or ask for a shift "
                    f"above {max(-smallest, 0.0) + self.shift:.6g}"
                ) from None
        return self._derived["factor"]


def fit_exact(
    model: "keras.Model",
    data: "Batches",
    *,
    loss: Any = "mse",
    noise: Any = None,
    prior_precision: float | Mapping[str, float] = 1.0,
    scaler_digest: str = "",
    matrix: str = "gauss_newton",
    shift: float = 0.0,
    memory_limit: int = MEMORY_LIMIT,
) -> ExactPosterior:
    """Make the posterior of a dense curvature.

    Parameters
    ----------
    model, data, loss, noise, prior_precision, scaler_digest
        As for `starstack.curvature.structures.laplace`.
    matrix : str
        ``"gauss_newton"`` or ``"hessian"``.
    shift : float
        To be added to the diagonal beside δ, where a Hessian is indefinite; recorded.
    memory_limit : int
        Bytes that the matrices may take: (terms + 3) × P² × 8.

    Raises
    ------
    InputError
        If the matrices do not fit in the limit, are not positive definite, or differ from the
        products that they are checked against.
    """
    started = time.perf_counter()
    if matrix not in MATRICES:
        raise InputError(f"exact: matrix is {matrix!r}; expected one of {', '.join(MATRICES)}")
    likelihood = measure_likelihood(model, data, loss)
    n_terms = likelihood.n_outputs if likelihood.is_gaussian else 1
    _check_size(FlatParameters(model).size, n_terms, memory_limit)
    make = gauss_newton_terms if matrix == "gauss_newton" else hessian_terms
    posterior = ExactPosterior(
        model,
        likelihood,
        terms=make(model, data, likelihood),
        shift=shift,
        noise=noise,
        prior_precision=prior_precision,
        scaler_digest=scaler_digest,
    )
    products = likelihood_products(posterior, data)
    _check_product(posterior, products, matrix)
    posterior.record = diagnose(posterior, products, matrix=matrix, shift=shift, started=started)
    return posterior


def gauss_newton_terms(
    model: "keras.Model", data: "Batches", likelihood: "Likelihood"
) -> np.ndarray:
    """Sum Jᵀ Λ J over the rows, for each term of the likelihood: shape (terms, P, P).

    Parameters
    ----------
    model : keras.Model
        The network.
    data : Batches
        The rows; their targets play no part.
    likelihood : Likelihood
        Its family.
    """
    jacobian, total = RowJacobian(model, logits=not likelihood.is_gaussian), None
    for batch in data:
        rows, weights = batch.x[: batch.n], batch.weight[: batch.n].astype(np.float64)
        start = 0
        for outputs, blocks in jacobian.batches(rows, len(rows)):
            flat = jacobian.flat(blocks)
            flat *= np.sqrt(weights[start : start + len(flat)])[:, None, None]
            start += len(flat)
            if likelihood.is_gaussian:
                halves = flat.transpose(1, 0, 2)
            else:
                roots = precision_roots(likelihood.family, outputs)
                halves = np.einsum("rnk,nkp->rnp", roots, flat, optimize=True)
                halves = halves.reshape(1, -1, halves.shape[2])
            found = np.stack([half.T @ half for half in halves])
            total = found if total is None else total + found
    return total


def hessian_terms(model: "keras.Model", data: "Batches", likelihood: "Likelihood") -> np.ndarray:
    """Return the Hessian of each term of the negative log-likelihood, shape (terms, P, P)."""
    terms = []
    for number, loss in enumerate(term_losses(likelihood)):
        products = products_of(model, loss, data)
        matrix = np.empty((products.parameters.size,) * 2)
        unit = np.zeros(products.parameters.size)
        for index in range(len(unit)):
            unit[index] = 1
            matrix[index] = products.hessian_vector_product(unit)
            unit[index] = 0
            if (index + 1) % 1000 == 0:
                logger.info("exact: term %d, %d of %d products", number + 1, index + 1, len(unit))
        terms.append((matrix + matrix.T) / 2)
    return np.stack(terms)


def _check_product(posterior: ExactPosterior, products: Products, matrix: str) -> None:
    """Compare the dense matrix with the product, which goes another way."""
    v = np.random.default_rng(0).standard_normal(posterior.parameters.size)
    expected = getattr(products, f"{matrix}_vector_product")(v)
    # Before δ is added, which may be larger by more than rounding leaves of the curvature.
    found = posterior.curvature() @ v
    error = np.linalg.norm(found - expected) / max(np.linalg.norm(expected), np.finfo(float).tiny)
    limit = AGREEMENT[str(posterior.parameters.dtype)]
    if not error <= limit:
        raise InputError(
            f"exact: the dense matrix times a vector differs from the {matrix} product by "
            f"{error:.2g}, at most {limit:g} expected; a layer's derivatives are not what they seem"
        )


def _check_size(size: int, n_terms: int, memory_limit: int) -> None:
    needed = (n_terms + 3) * size**2 * 8
    if needed > memory_limit:
        raise InputError(
            f"exact: {n_terms + 3} matrices of {size:,} × {size:,} weights need "
            f"{needed / 2**30:,.3g} GiB, the limit is {memory_limit / 2**30:.3g} GiB; take another "
            "structure, such as kfac"
        )
