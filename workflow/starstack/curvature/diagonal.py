"""The exact diagonal of the Gauss–Newton matrix, without a Jacobian of single rows.

For the weight from input i to output j of a dense layer it is

    Σ_n Σ_m a_ni² g_mnj²,

one product of matrices per batch and output: the same sum as EKFAC's with the identity for bases.
For convolutions the squares are of sums over positions (`starstack.curvature.squares`).
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.eigen_block import EigenBlock
from starstack.curvature.factor_pass import factor_batches
from starstack.curvature.factored import FactoredPosterior
from starstack.curvature.likelihood import Likelihood, begin_likelihood
from starstack.curvature.posterior import with_record
from starstack.curvature.squares import SquareSums

if TYPE_CHECKING:
    import keras


class DiagonalPosterior(FactoredPosterior):
    """Posterior with independent weights.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    diagonals : mapping of str to ndarray of shape (m, n_in, n_out)
        By layer, the diagonal for each output at σ = 1, or for all at once.
    """

    structure = "diagonal"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Likelihood,
        *,
        diagonals: Mapping[str, np.ndarray],
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self.diagonals = dict(diagonals)

    def make_block(self, layer: WeightLayer) -> EigenBlock:
        """Return the precision of one layer's weights for the present σ and δ."""
        curvature = np.tensordot(self.precision_scales(), self.diagonals[layer.name], 1)
        return EigenBlock(layer, None, None, curvature, self.prior_of(layer.name))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the diagonals by the number of the layer; see `Posterior`."""
        return {str(n): self.diagonals[layer] for n, layer in enumerate(self.covered)}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "DiagonalPosterior":
        """Make the posterior again; see `Posterior`."""
        diagonals = {layer: arrays[str(n)] for n, layer in enumerate(options["covered"])}
        return cls(model, diagonals=diagonals, **options)


def fit_diagonal(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    leave_out: bool = False,
    **options: Any,
) -> DiagonalPosterior:
    """Make the posterior with independent weights, in one pass; arguments as for `fit_kfac`."""
    started = time.perf_counter()
    likelihood = begin_likelihood(model, data, loss)
    apart = likelihood.family == "gaussian"
    factors = FactorFunction(model, logits=not apart, leave_out=leave_out)
    sums = [SquareSums(apart=apart) for _ in factors.layers]
    for batch in factor_batches(factors, data, likelihood, "diagonal"):
        for layer, rows in zip(sums, batch, strict=True):
            layer.add(rows)
    diagonals = {w.name: s.total for w, s in zip(factors.layers, sums, strict=True)}
    posterior = DiagonalPosterior(
        model, likelihood.total(), diagonals=diagonals, covered=tuple(diagonals), **options
    )
    return with_record(posterior, started)
