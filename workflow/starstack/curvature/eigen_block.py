"""The curvature of one layer, diagonal in a product of two orthonormal bases.

With Q_A (n_in, r) and Q_G (n_out, n_out), the block of the precision that belongs to [W; b] is

    (Q_A ⊗ Q_G) diag(E) (Q_A ⊗ Q_G)ᵀ + δ I,

and its inverse is exact for any δ [1]_: KFAC has E = λ μᵀ, EKFAC [2]_ has the second moments of the
gradients in these bases, and the diagonal has the identity for both bases. What Q_A does not span
has the precision δ.

References
----------
.. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate
   curvature", ICML 2015, section 4.2 and appendix B.
.. [2] T. George, C. Laurent, X. Bouthillier, N. Ballas, P. Vincent, "Fast approximate natural
   gradient descent in a Kronecker-factored eigenbasis", NeurIPS 2018.
"""

from dataclasses import dataclass

import numpy as np

from starstack.autodiff.layer_factors import WeightLayer
from starstack.errors import InputError


@dataclass(frozen=True, eq=False)
class EigenBlock:
    """Precision of one layer's weights.

    Attributes
    ----------
    layer : WeightLayer
        Which layer.
    input_vectors : ndarray of shape (n_in, r) or None
        Q_A; None for the identity.
    output_vectors : ndarray of shape (n_out, n_out) or None
        Q_G; None for the identity.
    curvature : ndarray of float64, shape (r, n_out)
        E, without δ.
    prior_precision : float
        δ.
    """

    layer: WeightLayer
    input_vectors: np.ndarray | None
    output_vectors: np.ndarray | None
    curvature: np.ndarray
    prior_precision: float

    def __post_init__(self) -> None:
        smallest = float(self.curvature.min(initial=np.inf))
        if self.prior_precision == 0 and (self.n_unseen or smallest <= 0):
            raise InputError(
                f"layer {self.layer.name!r}: the data say nothing of some of its weights, and the "
                "prior precision is 0; give a positive one"
            )

    @property
    def n_unseen(self) -> int:
        """Dimension of the inputs' space that Q_A does not span."""
        return self.layer.n_in - len(self.curvature)

    def solve(self, v: np.ndarray) -> np.ndarray:
        """Apply the inverse to v of shape (n_in, n_out, m)."""
        inner = v
        if self.input_vectors is not None:
            inner = np.einsum("ir,ijm->rjm", self.input_vectors, inner, optimize=True)
        if self.output_vectors is not None:
            inner = np.einsum("js,rjm->rsm", self.output_vectors, inner, optimize=True)
        scale = 1 / (self.curvature + self.prior_precision)
        if self.n_unseen:
            scale -= 1 / self.prior_precision
        inner = inner * scale[:, :, None]
        if self.output_vectors is not None:
            inner = np.einsum("js,rsm->rjm", self.output_vectors, inner, optimize=True)
        if self.input_vectors is not None:
            inner = np.einsum("ir,rjm->ijm", self.input_vectors, inner, optimize=True)
        return inner + v / self.prior_precision if self.n_unseen else inner

    def log_determinant(self) -> float:
        """Return the log-determinant of the precision."""
        seen = np.log(self.curvature + self.prior_precision).sum()
        if not self.n_unseen:
            return float(seen)
        return float(seen + self.n_unseen * self.layer.n_out * np.log(self.prior_precision))
