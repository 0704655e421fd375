r"""The exact Gauss–Newton posterior of a subset of rows, through the kernel of the outputs.

With R_n R_nᵀ = Λ_n stacked into R and K = J Δ⁻¹ Jᵀ, all over the n·k outputs of the rows,
Woodbury's identity turns the (P, P) precision Jᵀ Λ J + Δ into the (n·k, n·k) matrix
B = I + Rᵀ K R::

    P⁻¹ v        = Δ⁻¹ v − Δ⁻¹ Jᵀ R B⁻¹ Rᵀ J Δ⁻¹ v
    J' P⁻¹ J'ᵀ   = K'' − K' R B⁻¹ Rᵀ K'ᵀ,      K' = J' Δ⁻¹ Jᵀ,  K'' = J' Δ⁻¹ J'ᵀ
    log det P    = log det Δ + log det B

It is Gaussian-process regression with the kernel of the tangent (Khan, Immer, Abedi & Korzepa
2019, NeurIPS, theorem 1; Rasmussen & Williams 2006, *Gaussian Processes for Machine Learning*, §3.4
for B). The kernel is summed over layers from activations and back-propagated deltas
(`starstack.curvature.row_jacobian`): the number of weights does not matter, that of the rows does.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_solve, cholesky

from starstack.curvature.diagnosis import diagnose, likelihood_products
from starstack.curvature.likelihood import (
    begin_likelihood,
    precision_roots,
)
from starstack.curvature.posterior import Posterior
from starstack.curvature.row_jacobian import Block, RowJacobian
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.batches import Batches

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 4 * 2**30  # bytes


class FunctionSpacePosterior(Posterior):
    """Exact Gauss–Newton posterior of some rows; see the module.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    blocks : sequence of Block
        The Jacobian of the rows.
    outputs : ndarray of shape (n, k)
        Of the rows.
    weight : ndarray of shape (n,)
        Of the rows.
    """

    structure = "function_space"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Any,
        *,
        blocks: list[Block],
        outputs: np.ndarray,
        weight: np.ndarray,
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self._blocks, self._outputs, self._weight = blocks, outputs, weight
        self._jacobian = RowJacobian(model, logits=not likelihood.is_gaussian)
        # Kernels of each layer at δ = 1, for all hyperparameters alike.
        self._unit_kernels: dict[str, np.ndarray] = {}

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m)."""
        v = np.asarray(v, dtype=np.float64)
        prior = self._prior()[:, None]
        scaled = v.reshape(len(v), -1) / prior
        n, k = self._outputs.shape
        rows = sum(block.times(scaled) for block in self._blocks)
        inner = self._solve(self._into_roots(rows.reshape(n, k, -1)))
        back = np.zeros_like(scaled)
        weighted = self._out_of_roots(inner)
        for block in self._blocks:
            block.add_transposed(weighted, back)
        return (scaled - back / prior).reshape(v.shape)

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return J P⁻¹ Jᵀ of each row, (n, k, k)."""
        parts = []
        self._prior()
        for _, blocks in self._jacobian.batches(x, batch_size):
            prior = sum(block.own_kernel() / self.prior_of(block.layer) for block in blocks)
            cross = sum(
                own.kernel(block, 1 / self.prior_of(block.layer))
                for own, block in zip(self._blocks, blocks, strict=True)
            )
            n, k, m, _ = cross.shape
            reduced = self._into_roots(cross.reshape(n, k, m * k))
            gain = np.einsum(
                "amc,amd->mcd",
                reduced.reshape(-1, m, k),
                self._solve(reduced).reshape(-1, m, k),
                optimize=True,
            )
            parts.append(prior - gain)
        return np.concatenate(parts)

    def log_determinant(self) -> float:
        """Return log det P."""
        return float(np.log(self._prior()).sum() + 2 * np.log(np.diag(self._factor())).sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the factors of the rows, their outputs and weights."""
        stored = {"outputs": self._outputs, "weight": self._weight}
        for number, block in enumerate(self._blocks):
            stored[f"layer_{number}/deltas"] = block.deltas
            if block.activations is not None:
                stored[f"layer_{number}/activations"] = block.activations
        return stored

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "FunctionSpacePosterior":
        """Make the posterior again from `arrays`."""
        posterior = cls(
            model,
            blocks=[],
            outputs=arrays["outputs"],
            weight=arrays["weight"],
            **options,
        )
        posterior._blocks = [
            Block(
                layer,
                slices,
                arrays.get(f"layer_{number}/activations"),
                arrays[f"layer_{number}/deltas"],
            )
            for number, (layer, slices) in enumerate(posterior._jacobian.layers.items())
        ]
        return posterior

    def _prior(self) -> np.ndarray:
        return self.positive_prior("the kernel would be infinite")

    def _roots(self) -> np.ndarray:
        """Return R of shape (n, k, r) with Λ_n = R_n R_nᵀ, row weights included."""
        weight = np.sqrt(self._weight)[:, None, None]
        if self.noise is not None:
            return weight * np.diag(1 / self.noise)
        roots = precision_roots(self.likelihood.family, self._outputs)
        return weight * roots.transpose(1, 2, 0)

    def _into_roots(self, rows: np.ndarray) -> np.ndarray:
        """Multiply by Rᵀ: (n, k, m) to (n·r, m)."""
        found = np.einsum("nkr,nkm->nrm", self._roots(), rows, optimize=True)
        return found.reshape(-1, rows.shape[2])

    def _out_of_roots(self, inner: np.ndarray) -> np.ndarray:
        """Multiply by R: (n·r, m) to (n, k, m)."""
        roots = self._roots()
        inner = inner.reshape(len(roots), roots.shape[2], -1)
        return np.einsum("nkr,nrm->nkm", roots, inner, optimize=True)

    def _factor(self) -> np.ndarray:
        """Return the lower Cholesky factor of B."""
        if "factor" not in self._derived:
            self._prior()
            for block in self._blocks:
                if block.layer not in self._unit_kernels:
                    self._unit_kernels[block.layer] = block.kernel(block)
            kernel = sum(
                self._unit_kernels[block.layer] / self.prior_of(block.layer)
                for block in self._blocks
            )
            n, k = self._outputs.shape
            half = self._into_roots(kernel.reshape(n, k, n * k))
            whole = self._into_roots(half.T.reshape(n, k, -1))
            whole[np.diag_indices_from(whole)] += 1
            self._derived["factor"] = cholesky(whole, lower=True, overwrite_a=True)
        return self._derived["factor"]

    def _solve(self, right: np.ndarray) -> np.ndarray:
        return cho_solve((self._factor(), True), right)


def fit_function_space(
    model: "keras.Model",
    data: "Batches",
    *,
    loss: Any = "mse",
    noise: Any = None,
    prior_precision: float | Mapping[str, float] = 1.0,
    scaler_digest: str = "",
    memory_limit: int = MEMORY_LIMIT,
) -> FunctionSpacePosterior:
    """Make the posterior of the rows of `data`: give a subset (``Batches(..., rows=...)``).

    Parameters
    ----------
    model, data, loss, noise, prior_precision, scaler_digest
        As for `starstack.curvature.structures.laplace`.
    memory_limit : int
        Bytes that the kernels, (layers + 3) × (rows × outputs)² × 8, and twice the rows' factors
        may take.

    Raises
    ------
    InputError
        If they do not fit in the limit, or a proof of the products fails.
    """
    started = time.perf_counter()
    sums, parts, outputs, weights = begin_likelihood(model, data, loss), [], [], []
    jacobian = RowJacobian(model, logits=sums.family != "gaussian")
    for x, y, weight in _rows_of(data):
        found, blocks = jacobian(x)
        if not parts:
            _check_size(data.n_rows, found.shape[1], blocks, memory_limit)
        sums.add(found, y, weight)
        parts.append(blocks)
        outputs.append(found)
        weights.append(weight)
        logger.info("function space: %d of %d rows", sum(map(len, outputs)), data.n_rows)
    posterior = FunctionSpacePosterior(
        model,
        sums.total(),
        blocks=[_join(same) for same in zip(*parts, strict=True)],
        outputs=np.concatenate(outputs).astype(np.float64),
        weight=np.concatenate(weights).astype(np.float64),
        noise=noise,
        prior_precision=prior_precision,
        scaler_digest=scaler_digest,
    )
    posterior.record = diagnose(posterior, likelihood_products(posterior, data), started=started)
    return posterior


def _rows_of(data: "Batches") -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, targets and weights without what only fills up the last batch."""
    if not data.has_targets:
        raise InputError(
            "function space: expected rows with targets, got rows alone; give y as well"
        )
    for batch in data:
        yield batch.x[: batch.n], batch.y[: batch.n], batch.weight[: batch.n]


def _join(blocks: tuple[Block, ...]) -> Block:
    first = blocks[0]
    activations = None
    if first.activations is not None:
        activations = np.concatenate([block.activations for block in blocks])
    deltas = np.concatenate([block.deltas for block in blocks], axis=1)
    return Block(first.layer, first.slices, activations, deltas)


def _check_size(n_rows: int, n_outputs: int, blocks: list[Block], memory_limit: int) -> None:
    size = n_rows * n_outputs
    first = sum(
        part.nbytes
        for block in blocks
        for part in (block.activations, block.deltas)
        if part is not None
    )
    jacobian = first * n_rows // blocks[0].deltas.shape[1]
    needed = (len(blocks) + 3) * size**2 * 8 + 2 * jacobian
    if needed > memory_limit:
        raise InputError(
            f"function space: {n_rows:,} rows of {n_outputs} outputs need {needed / 2**30:.3g} GiB "
            f"for {len(blocks)} kernels and the rows' factors, the limit is "
            f"{memory_limit / 2**30:.3g} GiB; take fewer rows, raise memory_limit, or take another "
            "structure"
        )
