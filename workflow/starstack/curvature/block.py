"""The exact Gauss–Newton block of each layer, for layers that are small enough.

The block of [W; b] is Σ_n Σ_m j_mn j_mnᵀ with the rows' Jacobians j = Σ_t a_t ⊗ g_t, formed for a
few rows at a time. Blocks of the outputs are kept apart for squared error and joined with 1/σ_m²,
and their eigenvalues make the damping exact.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.factor_pass import RowFactors, factor_batches
from starstack.curvature.gram import Eigenbasis, eigenbasis
from starstack.curvature.likelihood import Likelihood, begin_likelihood
from starstack.curvature.posterior import Posterior, with_record
from starstack.curvature.squares import JACOBIAN_ENTRIES
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

MAX_BYTES = 2**31


class BlockPosterior(Posterior):
    """Posterior whose precision is exact within each layer and has nothing between layers.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    sums : mapping of str to ndarray of shape (m, n, n)
        By layer, the block for each output at σ = 1, or for all at once; n weights, in the order
        of [W; b] row by row.
    """

    structure = "block"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Likelihood,
        *,
        sums: Mapping[str, np.ndarray],
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self.sums = dict(sums)
        self._bases: dict[str, tuple[bytes, Eigenbasis]] = {}

    @property
    def factors(self) -> FactorFunction:
        """The factors of the covered layers."""
        if "factors" not in self._shared:
            logits = not self.likelihood.is_gaussian
            self._shared["factors"] = FactorFunction(self.model, logits=logits, only=self.covered)
        return self._shared["factors"]

    def basis(self, layer: str) -> Eigenbasis:
        """Return the eigenbasis of one layer's block for the present σ, without δ."""
        scales = np.ones(1) if self.noise is None else 1 / self.noise**2
        key, found = self._bases.get(layer, (b"", None))
        if key != scales.tobytes():
            found = eigenbasis(np.tensordot(scales, self.sums[layer], 1))
            self._bases[layer] = (scales.tobytes(), found)
        precision = found.values[0] + self.prior_of(layer)
        if not precision > 0:
            raise InputError(
                f"layer {layer!r}: the data say nothing of some of its weights, and the prior "
                "precision is 0; give a positive one"
            )
        return found

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m); see `Posterior`."""
        v = np.asarray(v, dtype=np.float64)
        columns = v.reshape(len(v), -1)
        found = np.zeros_like(columns)
        for layer in self.factors.layers:
            basis, own = self.basis(layer.name), layer.gather(columns)
            inner = basis.vectors.T @ own.reshape(layer.size, -1)
            inner /= (basis.values + self.prior_of(layer.name))[:, None]
            layer.scatter((basis.vectors @ inner).reshape(own.shape), found)
        return found.reshape(v.shape)

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return the covariance of the outputs, (n, k, k); see `Posterior`."""
        return sum(self._layer_covariances(x, batch_size).values())

    def _layer_covariances(self, x: Any, batch_size: int) -> dict[str, np.ndarray]:
        """Return what each layer adds to the covariance; see `Posterior`."""
        found: dict[str, list[np.ndarray]] = {layer: [] for layer in self.covered}
        for start in range(0, len(x), batch_size):
            _, factors = self.factors(np.asarray(x[start : start + batch_size]))
            for one in factors:
                a, g = np.asarray(one.activations), np.asarray(one.deltas)
                rows = RowFactors(one.layer, a, g, np.ones(len(a)))
                found[one.layer.name].append(self._of_rows(rows))
        return {layer: np.concatenate(parts) for layer, parts in found.items()}

    def _of_rows(self, rows: RowFactors) -> np.ndarray:
        basis = self.basis(rows.layer.name)
        root = basis.vectors / np.sqrt(basis.values + self.prior_of(rows.layer.name))
        n, k = len(rows.a), len(rows.g)
        step = max(1, JACOBIAN_ENTRIES // (k * rows.layer.size))
        found = np.empty((n, k, k))
        for start in range(0, n, step):
            block = slice(start, start + step)
            scaled = np.stack([_jacobian(rows, m, block) @ root for m in range(k)], axis=1)
            found[block] = scaled @ scaled.transpose(0, 2, 1)
        return found

    def log_determinant(self) -> float:
        """Return log det P of the covered weights."""
        return float(
            sum(
                np.log(self.basis(layer).values + self.prior_of(layer)).sum()
                for layer in self.covered
            )
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return blocks and bases by the number of the layer; see `Posterior`."""
        found = {}
        for number, layer in enumerate(self.covered):
            basis = self.basis(layer)
            found |= {
                f"{number}/sums": self.sums[layer],
                f"{number}/vectors": basis.vectors,
                f"{number}/values": basis.values,
            }
        return found

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "BlockPosterior":
        """Make the posterior again; see `Posterior`."""
        layers = dict(enumerate(options["covered"]))
        sums = {layer: arrays[f"{number}/sums"] for number, layer in layers.items()}
        posterior = cls(model, sums=sums, **options)
        scales = np.ones(1) if posterior.noise is None else 1 / posterior.noise**2
        for number, layer in layers.items():
            basis = Eigenbasis(arrays[f"{number}/vectors"], arrays[f"{number}/values"])
            posterior._bases[layer] = (scales.tobytes(), basis)
        return posterior


def fit_block(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    leave_out: bool = False,
    only: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
    **options: Any,
) -> BlockPosterior:
    """Make the posterior that is exact within each layer, in one pass over the data.

    Parameters
    ----------
    model, data, loss, leave_out, **options
        As for `starstack.curvature.kfac.fit_kfac`.
    only : sequence of str, optional
        Layers to make blocks of, the others being fixed; all by default.
    max_bytes : int
        Largest memory for the blocks.

    Raises
    ------
    InputError
        If the blocks are larger than that.
    """
    started = time.perf_counter()
    sums, likelihood = accumulate_blocks(
        model, data, loss=loss, leave_out=leave_out, only=only, max_bytes=max_bytes
    )
    posterior = BlockPosterior(model, likelihood, sums=sums, covered=tuple(sums), **options)
    return with_record(posterior, started)


def accumulate_blocks(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any,
    leave_out: bool = False,
    only: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[dict[str, np.ndarray], Likelihood]:
    """Pass over the data once; return the blocks of each layer and the likelihood."""
    likelihood = begin_likelihood(model, data, loss)
    apart = likelihood.family == "gaussian"
    factors = FactorFunction(model, logits=not apart, only=only, leave_out=leave_out)
    sums: dict[str, np.ndarray] = {}
    for batch in factor_batches(factors, data, likelihood, "block"):
        if not sums:
            # A subclassed network does not say beforehand how many outputs it has.
            n_sums = len(batch[0].g) if apart else 1
            _check_size(factors.layers, n_sums, max_bytes)
            sums = {w.name: np.zeros((n_sums, w.size, w.size)) for w in factors.layers}
        for rows in batch:
            step = max(1, JACOBIAN_ENTRIES // rows.layer.size)
            for m in range(len(rows.g)):
                total = sums[rows.layer.name][m if apart else 0]
                for start in range(0, len(rows.a), step):
                    jacobian = _jacobian(rows, m, slice(start, start + step))
                    total += jacobian.T @ jacobian
    return sums, likelihood.total()


def _jacobian(rows: RowFactors, m: int, block: slice) -> np.ndarray:
    """Return j_mn of some rows, shape (n, weights of the layer)."""
    jacobian = rows.per_row(rows.a[block], rows.g[m][block])
    return jacobian.reshape(len(jacobian), -1).astype(np.float64)


def _check_size(layers: Sequence[WeightLayer], n_sums: int, max_bytes: int) -> None:
    # The sums, their eigenvectors, and as much again while they are found.
    needed = 8 * (n_sums + 2) * sum(layer.size**2 for layer in layers)
    if needed > max_bytes:
        largest = max(layers, key=lambda layer: layer.size)
        raise InputError(
            f"blocks of the layers need {needed / 2**30:.3g} GiB, expected at most "
            f"{max_bytes / 2**30:.3g} (the largest, {largest.name!r}, has {largest.size} weights); "
            "take kfac, ekfac or diagonal, or raise max_bytes"
        )
