"""Covariance of the outputs from the weights, layer by layer, without a parameter Jacobian.

The Jacobian of output c by the weights of a dense layer is a gᶜᵀ (`starstack.autodiff.
layer_factors`). In the bases of an `EigenBlock` its variance under the posterior is a sum of
products of squares,

    V_cc′ = Σ_ij (Q_Aᵀa)_i² (Q_Gᵀgᶜ)_j (Q_Gᵀgᶜ′)_j / (E_ij + δ)
          + ‖a − Q_A Q_Aᵀa‖² gᶜ·gᶜ′ / δ,

the second line for what Q_A does not span. It takes 2 n_in r + 2 r n_out + 2 k n_out² operations a
row, 2 n_in r more for the second line, and memory for (batch, n_in + r + k n_out) numbers. A layer
whose weights are used at several positions has the Jacobian Σ_t a_t gᶜ_tᵀ, which is formed in these
bases, a row at a time.

The norm of the second line is that of the difference itself. The difference of two norms would be
wrong by the rounding of ‖a‖², which a small δ makes larger than all else; here it is its square.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.layer_factors import FactorFunction
from starstack.curvature.eigen_block import EigenBlock

if TYPE_CHECKING:
    import tensorflow as tf


class EigenPredictive:
    """The predictive covariance of a network whose layers' precisions are `EigenBlock`.

    Compiled once for all values of σ and δ.

    Parameters
    ----------
    factors : FactorFunction
        Of the network, for the layers of the blocks and in their order.
    """

    def __init__(self, factors: FactorFunction) -> None:
        import tensorflow as tf

        self._factors = factors
        # TensorFlow warns of many traces of one method, though each is of another object's.
        own = partial(self._trace)
        self._compiled = tf.function(own, autograph=False, reduce_retracing=True)
        self._bases: dict[int, tuple[np.ndarray, tf.Tensor]] = {}

    def __call__(self, blocks: Sequence[EigenBlock], x: Any, batch_size: int = 256) -> np.ndarray:
        """Return what each layer adds to the covariance of x, float64 of (layers, n, k, k)."""
        tensors = self._tensors(blocks)
        found = [
            self._compiled(_batch(x, start, batch_size, self._factors.dtype), tensors).numpy()
            for start in range(0, len(x), batch_size)
        ]
        return np.concatenate(found, axis=1)[:, : len(x)]

    def _tensors(self, blocks: Sequence[EigenBlock]) -> list[dict[str, "tf.Tensor"]]:
        """Round what the blocks hold to the network's precision; bases once only."""
        import tensorflow as tf

        kept, self._bases = self._bases, {}

        def basis(vectors: np.ndarray) -> "tf.Tensor":
            # The array is kept as well, so that its address is not given to another one.
            self._bases[id(vectors)] = kept.get(id(vectors)) or (vectors, constant(vectors))
            return self._bases[id(vectors)][1]

        def constant(values: np.ndarray) -> "tf.Tensor":
            return tf.constant(np.asarray(values).astype(self._factors.dtype))

        found = []
        for block in blocks:
            parts = {"variance": constant(1 / (block.curvature + block.prior_precision))}
            if block.n_unseen:
                parts["prior_variance"] = constant(1 / block.prior_precision)
            if block.input_vectors is not None:
                parts["input_vectors"] = basis(block.input_vectors)
            if block.output_vectors is not None:
                parts["output_vectors"] = basis(block.output_vectors)
            found.append(parts)
        return found

    def _trace(self, x: "tf.Tensor", tensors: list[dict[str, "tf.Tensor"]]) -> "tf.Tensor":
        import tensorflow as tf

        _, factors = self._factors(x)
        covariances = []
        for found, parts in zip(factors, tensors, strict=True):
            several = found.activations.shape.rank == 3
            covariance = _over_positions if several else _outer_product
            covariances.append(covariance(found.activations, found.deltas, parts))
        return tf.cast(tf.stack(covariances), tf.float64)


def _batch(x: Any, start: int, batch_size: int, dtype: str) -> np.ndarray:
    """Cut out a batch; the last of several is filled up, so that rows are treated alike."""
    rows = np.asarray(x[start : start + batch_size], dtype=dtype)
    missing = batch_size - len(rows)
    if missing and len(x) > batch_size:
        rows = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
    return rows


def _rotated(
    a: "tf.Tensor", g: "tf.Tensor", parts: dict[str, "tf.Tensor"]
) -> tuple["tf.Tensor", "tf.Tensor"]:
    import tensorflow as tf

    if "input_vectors" in parts:
        a = tf.tensordot(a, parts["input_vectors"], 1)
    if "output_vectors" in parts:
        g = tf.tensordot(g, parts["output_vectors"], 1)
    return a, g


def _unseen(a: "tf.Tensor", inner: "tf.Tensor", parts: dict[str, "tf.Tensor"]) -> "tf.Tensor":
    """Return what the basis does not span of a, whose part in the basis is `inner`."""
    import tensorflow as tf

    return a - tf.tensordot(inner, parts["input_vectors"], [[-1], [1]])


def _outer_product(a: "tf.Tensor", g: "tf.Tensor", parts: dict[str, "tf.Tensor"]) -> "tf.Tensor":
    """Return the covariance (n, k, k) from a (n, n_in) and g (k, n, n_out)."""
    import tensorflow as tf

    inner, outer = _rotated(a, g, parts)
    weight = tf.matmul(tf.square(inner), parts["variance"])
    if "prior_variance" in parts:
        rest = tf.reduce_sum(tf.square(_unseen(a, inner, parts)), axis=1, keepdims=True)
        weight += rest * parts["prior_variance"]
    outer = tf.transpose(outer, [1, 0, 2])
    return tf.matmul(outer * weight[:, None, :], outer, transpose_b=True)


def _over_positions(a: "tf.Tensor", g: "tf.Tensor", parts: dict[str, "tf.Tensor"]) -> "tf.Tensor":
    """Return the covariance (n, k, k) from a (n, t, n_in) and g (k, n, t, n_out)."""
    import tensorflow as tf

    inner, outer = _rotated(a, g, parts)
    unseen = _unseen(a, inner, parts) if "prior_variance" in parts else a

    def one_row(row: tuple["tf.Tensor", ...]) -> "tf.Tensor":
        inner, outer, unseen, g = row
        jacobian = tf.einsum("ti,ktj->kij", inner, outer)
        scaled = jacobian * parts["variance"]
        found = tf.einsum("kij,lij->kl", scaled, jacobian)
        if "prior_variance" in parts:
            rest = tf.einsum("ti,ktj->kij", unseen, g)
            found += tf.einsum("kij,lij->kl", rest, rest) * parts["prior_variance"]
        return found

    by_row = (inner, tf.transpose(outer, [1, 0, 2, 3]), unseen, tf.transpose(g, [1, 0, 2, 3]))
    return tf.map_fn(one_row, by_row, fn_output_signature=a.dtype)
