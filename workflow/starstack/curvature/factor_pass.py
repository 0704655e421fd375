"""One pass over the data that gives each layer's factors, weighted as the likelihood says."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.likelihood import LikelihoodSums, precision_roots
from starstack.errors import InputError

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LOGS = 15


@dataclass(frozen=True, eq=False)
class RowFactors:
    """One layer's factors for some rows of the data.

    With them, Σ_n w_n J_nᵀ Λ_n J_n of the layer is Σ_m Σ_n j_mn j_mnᵀ, j_mn = Σ_t a_nt ⊗ g_mnt. For
    squared error m counts the outputs, and j_m still lacks the factor 1/σ_m.

    Attributes
    ----------
    layer : WeightLayer
        Which layer.
    a : ndarray of shape (n, n_in) or (n, positions, n_in)
        Activations.
    g : ndarray of shape (m, n, n_out) or (m, n, positions, n_out)
        Back-propagated vectors times √w.
    root_weight : ndarray of shape (n,)
        √w, positive.
    """

    layer: WeightLayer
    a: np.ndarray
    g: np.ndarray
    root_weight: np.ndarray

    @property
    def n_positions(self) -> int:
        """How often the layer's weights are used in one row."""
        return self.a.shape[1] if self.a.ndim == 3 else 1

    def per_row(self, a: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return Σ_t a_t ⊗ g_t of each row, shape (n, width of a, width of g)."""
        if a.ndim == 2:
            return a[:, :, None] * g[:, None, :]
        return np.matmul(a.transpose(0, 2, 1), g)


def factor_batches(
    factors: FactorFunction, data: Batches, sums: LikelihoodSums, what: str
) -> Iterator[list[RowFactors]]:
    """Yield the factors of each layer, batch after batch.

    Parameters
    ----------
    factors : FactorFunction
        Of the network.
    data : Batches
        Rows with targets.
    sums : LikelihoodSums
        Takes up the likelihood of the rows.
    what : str
        The structure, for the log.
    """
    if not data.has_targets:
        raise InputError(f"{what}: expected rows with targets, got rows alone; give y as well")
    last, n_done = time.perf_counter(), 0
    for batch in data:
        outputs, found = factors(batch.x)
        outputs = np.asarray(outputs)
        if not np.isfinite(outputs).all():
            raise InputError(
                f"{what}: the network gives NaN or infinity; correct the rows or the weights"
            )
        sums.add(outputs, batch.y, batch.weight)
        # Rows of weight zero fill up the last batch.
        keep = np.flatnonzero(batch.weight)
        root_weight = np.sqrt(batch.weight[keep]).astype(outputs.dtype)
        roots = None
        if sums.family != "gaussian":
            roots = precision_roots(sums.family, outputs[keep]).astype(outputs.dtype)
        yield [
            RowFactors(
                layer=one.layer,
                a=np.asarray(one.activations)[keep],
                g=_weighted(np.asarray(one.deltas)[:, keep], roots, root_weight),
                root_weight=root_weight,
            )
            for one in found
        ]
        n_done += batch.n
        if time.perf_counter() - last > SECONDS_BETWEEN_LOGS:
            last = time.perf_counter()
            logger.info("%s: %d of %d rows", what, n_done, data.n_rows)


def _weighted(deltas: np.ndarray, roots: np.ndarray | None, root_weight: np.ndarray) -> np.ndarray:
    """Return √w Σ_c L_mc g_c; L is the identity for squared error."""
    if roots is not None:
        deltas = np.einsum("mnc,cn...->mn...", roots, deltas, optimize=True)
    return deltas * root_weight.reshape(-1, *[1] * (deltas.ndim - 2))
