"""EKFAC: the eigenbases of KFAC with the exact second moments of the gradients in them.

    P ≈ (Q_A ⊗ Q_G) diag(E) (Q_A ⊗ Q_G)ᵀ + δ I,    E = Σ_m Σ_n (Q_Aᵀ a_n)² ((Q_Gᵀ g_mn)²)ᵀ,

which of all diagonals in these bases is the nearest to the Gauss–Newton block in Frobenius norm
[1]_. It takes a second pass over the same rows. The basis Q_G is that of the noise given at the
fit; another σ later joins the moments of the outputs anew and leaves the basis. Where σ of some
outputs changed by another factor than that of others, KFAC, whose basis follows, may be the nearer
one: moments in another basis would take a pass over the rows, and a warning says so.

References
----------
.. [1] T. George, C. Laurent, X. Bouthillier, N. Ballas, P. Vincent, "Fast approximate natural
   gradient descent in a Kronecker-factored eigenbasis", NeurIPS 2018, theorem 2.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.eigen_block import EigenBlock
from starstack.curvature.factor_pass import factor_batches
from starstack.curvature.factored import FactoredPosterior
from starstack.curvature.kfac import accumulate_kronecker
from starstack.curvature.likelihood import Likelihood, LikelihoodSums
from starstack.curvature.posterior import with_record
from starstack.curvature.squares import SquareSums

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)
# Largest difference of log σ from that of the fit, between outputs, that changes no basis: 1 %.
SAME_BASIS = 0.01


@dataclass(frozen=True, eq=False)
class EigenMoments:
    """One layer's bases, and the moments in them.

    Attributes
    ----------
    input_vectors : ndarray of shape (n_in, r)
        Q_A.
    output_vectors : ndarray of shape (n_out, n_out)
        Q_G.
    moments : ndarray of float64, shape (m, r, n_out)
        E of each output at σ = 1, or of all at once.
    """

    input_vectors: np.ndarray
    output_vectors: np.ndarray
    moments: np.ndarray


class EigenvaluePosterior(FactoredPosterior):
    """Posterior in the structure of EKFAC.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    eigen : mapping of str to EigenMoments
        By layer.
    basis_noise : ndarray of shape (k,), optional
        σ behind the bases of the outputs; that of the posterior by default.
    """

    structure = "ekfac"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Likelihood,
        *,
        eigen: Mapping[str, EigenMoments],
        basis_noise: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self.eigen = dict(eigen)
        self.basis_noise = self.noise if basis_noise is None else basis_noise

    def with_hyperparameters(
        self, noise: Any = None, prior_precision: float | Mapping[str, float] | None = None
    ) -> "EigenvaluePosterior":
        """Return the posterior for another σ or δ, in the same bases; see `Posterior`."""
        other = super().with_hyperparameters(noise, prior_precision)
        if noise is not None and np.ptp(np.log(other.noise / self.basis_noise)) > SAME_BASIS:
            logger.warning(
                "ekfac: expected σ in the proportions of the fit (%s), got %s; the bases stay as "
                "they were: fit again with this noise, or take kfac, whose bases follow",
                np.array2string(self.basis_noise, precision=3),
                np.array2string(other.noise, precision=3),
            )
        return other

    def make_block(self, layer: WeightLayer) -> EigenBlock:
        """Return the precision of one layer's weights for the present σ and δ."""
        found = self.eigen[layer.name]
        curvature = np.tensordot(self.precision_scales(), found.moments, 1)
        return EigenBlock(
            layer,
            found.input_vectors,
            found.output_vectors,
            curvature,
            self.prior_of(layer.name),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return bases and moments by the number of the layer; see `Posterior`."""
        noise = {} if self.basis_noise is None else {"basis_noise": self.basis_noise}
        return noise | {
            f"{number}/{name}": getattr(self.eigen[layer], name)
            for number, layer in enumerate(self.covered)
            for name in ("input_vectors", "output_vectors", "moments")
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "EigenvaluePosterior":
        """Make the posterior again; see `Posterior`."""
        eigen = {
            layer: EigenMoments(
                arrays[f"{number}/input_vectors"],
                arrays[f"{number}/output_vectors"],
                arrays[f"{number}/moments"],
            )
            for number, layer in enumerate(options["covered"])
        }
        return cls(model, eigen=eigen, basis_noise=arrays.get("basis_noise"), **options)


def fit_ekfac(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    noise: Any = None,
    leave_out: bool = False,
    **options: Any,
) -> EigenvaluePosterior:
    """Make the posterior in the structure of EKFAC, in two passes; arguments as for `fit_kfac`."""
    started = time.perf_counter()
    kronecker, likelihood = accumulate_kronecker(model, data, loss=loss, leave_out=leave_out)
    scales = np.ones(1)
    if likelihood.is_gaussian:
        noise = likelihood.residual_noise() if noise is None else likelihood.check_noise(noise)
        scales = 1 / noise**2
    factors = FactorFunction(model, logits=not likelihood.is_gaussian, leave_out=leave_out)
    bases = {
        name: (found.inputs.vectors, found.output_basis(scales).vectors)
        for name, found in kronecker.items()
    }
    del kronecker
    sums = [
        SquareSums(
            likelihood.is_gaussian,
            *(partial(_rotate, vectors=q.astype(factors.dtype)) for q in bases[layer.name]),
        )
        for layer in factors.layers
    ]
    again = LikelihoodSums(likelihood.family)
    for batch in factor_batches(factors, data, again, "ekfac"):
        for layer, rows in zip(sums, batch, strict=True):
            layer.add(rows)
    eigen = {
        layer.name: EigenMoments(*bases[layer.name], found.total)
        for layer, found in zip(factors.layers, sums, strict=True)
    }
    posterior = EigenvaluePosterior(
        model, likelihood, eigen=eigen, noise=noise, covered=tuple(eigen), **options
    )
    return with_record(posterior, started)


def _rotate(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return values @ vectors
