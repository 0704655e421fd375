"""What the structures share that have a pair of bases for each layer."""

from abc import abstractmethod
from typing import Any

import numpy as np

from starstack.autodiff.layer_factors import FactorFunction, WeightLayer
from starstack.curvature.eigen_block import EigenBlock
from starstack.curvature.posterior import Posterior
from starstack.curvature.predictive import EigenPredictive


class FactoredPosterior(Posterior):
    """A posterior whose precision is block-diagonal over layers, each block an `EigenBlock`."""

    @abstractmethod
    def make_block(self, layer: WeightLayer) -> EigenBlock:
        """Return the precision of one layer's weights for the present σ and δ."""

    @property
    def factors(self) -> FactorFunction:
        """The factors of the covered layers."""
        if "factors" not in self._shared:
            logits = not self.likelihood.is_gaussian
            self._shared["factors"] = FactorFunction(self.model, logits=logits, only=self.covered)
        return self._shared["factors"]

    @property
    def predictive(self) -> EigenPredictive:
        """What computes the covariance of the outputs, compiled once for all σ and δ."""
        if "predictive" not in self._shared:
            self._shared["predictive"] = EigenPredictive(self.factors)
        return self._shared["predictive"]

    @property
    def blocks(self) -> list[EigenBlock]:
        """The precision of each covered layer."""
        if "blocks" not in self._derived:
            self._derived["blocks"] = [self.make_block(layer) for layer in self.factors.layers]
        return self._derived["blocks"]

    def precision_scales(self) -> np.ndarray:
        """Return 1/σ² of each stored sum: one per output, or a single 1 for cross-entropies."""
        return np.ones(1) if self.noise is None else 1 / self.noise**2

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m); see `Posterior`."""
        v = np.asarray(v, dtype=np.float64)
        columns = v.reshape(len(v), -1)
        found = np.zeros_like(columns)
        for block in self.blocks:
            block.layer.scatter(block.solve(block.layer.gather(columns)), found)
        return found.reshape(v.shape)

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return the covariance of the outputs, (n, k, k); see `Posterior`."""
        return self.predictive(self.blocks, x, batch_size).sum(axis=0)

    def _layer_covariances(self, x: Any, batch_size: int) -> dict[str, np.ndarray]:
        """Return what each layer adds to the covariance; see `Posterior`."""
        return dict(zip(self.covered, self.predictive(self.blocks, x, batch_size), strict=True))

    def log_determinant(self) -> float:
        """Return log det P of the covered weights."""
        return sum(block.log_determinant() for block in self.blocks)
