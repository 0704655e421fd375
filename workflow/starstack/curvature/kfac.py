"""KFAC: each layer's Gauss–Newton block as a Kronecker product of two small matrices.

With activations a_nt (the bias's 1 appended) and back-propagated vectors g_mnt
(`starstack.curvature.factor_pass`) at T positions per row,

    Σ_n J_nᵀ Λ_n J_n  ≈  (Σ_n Σ_t a_nt a_ntᵀ) ⊗ (Σ_m Σ_n Σ_t g_mnt g_mntᵀ) / (N T),

N the sum of the rows' weights [1]_; T = 1 for dense layers, and for convolutions this assumes that
positions are uncorrelated and alike [2]_. All outputs are propagated back (type 2 of [3]_), so that
nothing is sampled: the blocks are exact for a network of one dense layer, and for deep linear ones
under squared error [3]_. The sums over outputs are kept apart and joined with 1/σ_m², so that the
noise can change afterwards.

The bias is a row of [W; b] and the 1 a part of a, as Martens & Grosse have it: one product then has
the correlations of kernel and bias, and is exact for a dense layer with a bias too. Libraries that
give the bias a factor of its own (laplace-torch) leave these out, so that theirs is the same matrix
for layers without biases only.

References
----------
.. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate
   curvature", ICML 2015, section 3.
.. [2] R. Grosse, J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution
   layers", ICML 2016, section 3.1.
.. [3] A. Botev, H. Ritter, D. Barber, "Practical Gauss–Newton optimisation for deep learning", ICML
   2017; named KFLR there.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.eigen_block import EigenBlock
from starstack.curvature.factor_pass import RowFactors, factor_batches
from starstack.curvature.factored import FactoredPosterior
from starstack.curvature.gram import Eigenbasis, GramSum, eigenbasis, gram_matrix
from starstack.curvature.likelihood import Likelihood, begin_likelihood
from starstack.curvature.posterior import with_record

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class KroneckerFactors:
    """The raw sums of one layer.

    Attributes
    ----------
    inputs : Eigenbasis
        Of Σ a aᵀ.
    outputs : ndarray of float64, shape (m, n_out, n_out)
        Σ g gᵀ of each output, or of all at once for a cross-entropy.
    n_terms : float
        N T.
    """

    inputs: Eigenbasis
    outputs: np.ndarray
    n_terms: float
    _bases: dict[bytes, Eigenbasis] = field(default_factory=dict, repr=False)

    def output_basis(self, scales: np.ndarray) -> Eigenbasis:
        """Return the eigenbasis of Σ_m scale_m Σ g gᵀ; the last one is remembered."""
        key = scales.tobytes()
        if key not in self._bases:
            self._bases.clear()
            self._bases[key] = eigenbasis(np.tensordot(scales, self.outputs, 1))
        return self._bases[key]


class KroneckerPosterior(FactoredPosterior):
    """Posterior in the structure of KFAC, with exact damping.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    kronecker : mapping of str to KroneckerFactors
        By layer.
    """

    structure = "kfac"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Likelihood,
        *,
        kronecker: Mapping[str, KroneckerFactors],
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self.kronecker = dict(kronecker)

    def make_block(self, layer: WeightLayer) -> EigenBlock:
        """Return the precision of one layer's weights for the present σ and δ."""
        factors = self.kronecker[layer.name]
        outputs = factors.output_basis(self.precision_scales())
        return EigenBlock(
            layer=layer,
            input_vectors=factors.inputs.vectors,
            output_vectors=outputs.vectors,
            curvature=np.outer(factors.inputs.values, outputs.values / factors.n_terms),
            prior_precision=self.prior_of(layer.name),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the factors and their bases by layer; see `Posterior`."""
        found = {}
        for number, layer in enumerate(self.covered):
            factors = self.kronecker[layer]
            basis = factors.output_basis(self.precision_scales())
            found |= {
                f"{number}/input_vectors": factors.inputs.vectors,
                f"{number}/input_values": factors.inputs.values,
                f"{number}/output_sums": factors.outputs,
                f"{number}/output_vectors": basis.vectors,
                f"{number}/output_values": basis.values,
                f"{number}/n_terms": np.float64(factors.n_terms),
            }
        return found

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "KroneckerPosterior":
        """Make the posterior again; see `Posterior`."""
        kronecker = {}
        for number, layer in enumerate(options["covered"]):
            kronecker[layer] = KroneckerFactors(
                Eigenbasis(arrays[f"{number}/input_vectors"], arrays[f"{number}/input_values"]),
                arrays[f"{number}/output_sums"],
                float(arrays[f"{number}/n_terms"]),
            )
        posterior = cls(model, kronecker=kronecker, **options)
        key = posterior.precision_scales().tobytes()
        for number, layer in enumerate(posterior.covered):
            # The saved bases, so that a posterior gives the same bits on another machine too.
            kronecker[layer]._bases[key] = Eigenbasis(
                arrays[f"{number}/output_vectors"], arrays[f"{number}/output_values"]
            )
        return posterior


def fit_kfac(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    leave_out: bool = False,
    **options: Any,
) -> KroneckerPosterior:
    """Make the posterior in the structure of KFAC, in one pass over the data.

    Parameters
    ----------
    model : keras.Model
        Of Dense, Conv1D and Conv2D layers, and others without trainable weights.
    data : Batches
        The rows it was trained on, with targets.
    loss : str or keras.losses.Loss
        Squared error or a cross-entropy.
    leave_out : bool
        Hold the weights of other layers fixed instead of refusing them.
    **options
        ``noise``, ``prior_precision``, ``scaler_digest``, of `Posterior`.
    """
    started = time.perf_counter()
    kronecker, likelihood = accumulate_kronecker(model, data, loss=loss, leave_out=leave_out)
    posterior = KroneckerPosterior(
        model, likelihood, kronecker=kronecker, covered=tuple(kronecker), **options
    )
    return with_record(posterior, started)


def accumulate_kronecker(
    model: "keras.Model", data: Batches, *, loss: Any, leave_out: bool = False
) -> tuple[dict[str, KroneckerFactors], Likelihood]:
    """Pass over the data once; return the factors of each layer and the likelihood."""
    started = time.perf_counter()
    sums = begin_likelihood(model, data, loss)
    apart = sums.family == "gaussian"
    factors = FactorFunction(model, logits=not apart, leave_out=leave_out)
    layers = [_LayerSums(layer, apart) for layer in factors.layers]
    for batch in factor_batches(factors, data, sums, "kfac"):
        for layer, rows in zip(layers, batch, strict=True):
            layer.add(rows)
    likelihood = sums.total()
    passed = time.perf_counter()
    kronecker = {}
    # One layer after the other, and its sums let go: their bases need as much memory again.
    while layers:
        layer = layers.pop(0)
        kronecker[layer.layer.name] = layer.total(likelihood.total_weight)
    logger.info(
        "kfac: %d rows in %.1f s, eigenbases of %d layers in %.1f s",
        likelihood.n_rows,
        passed - started,
        len(kronecker),
        time.perf_counter() - passed,
    )
    return kronecker, likelihood


class _LayerSums:
    """Adds up Σ a aᵀ and Σ g gᵀ of one layer."""

    def __init__(self, layer: WeightLayer, apart: bool) -> None:
        self.layer, self._apart = layer, apart
        self._inputs = GramSum(layer.n_in)
        self._outputs: np.ndarray | float = 0.0
        self._n_positions = 1

    def add(self, rows: RowFactors) -> None:
        weight = rows.root_weight.reshape(-1, *[1] * (rows.a.ndim - 1))
        self._inputs.add((rows.a * weight).reshape(-1, self.layer.n_in))
        g = rows.g.reshape(len(rows.g), -1, self.layer.n_out)
        if not self._apart:
            g = g.reshape(1, -1, self.layer.n_out)
        self._outputs = self._outputs + gram_matrix(g)
        self._n_positions = rows.n_positions

    def total(self, total_weight: float) -> KroneckerFactors:
        return KroneckerFactors(
            self._inputs.eigenbasis(), self._outputs, total_weight * self._n_positions
        )
