r"""The Jacobian of some rows' outputs by all weights, one block per layer.

Where a layer's Jacobian has two factors (`starstack.autodiff.layer_factors`) and one position, as
in a dense layer, row n and output c have the block a_n g_ncᵀ, and what is wanted of it needs no
more than the factors::

    kernel    J(n, c) · J'(m, d) = (a_n · a'_m) (g_nc · g'_md)
    J v       a_nᵀ V g_nc
    Jᵀ u      Σ_nc u_nc a_n g_ncᵀ

A convolution has few weights and many positions: its blocks are summed over these and kept. Layers
without factors, or called more than once, take one backward pass per row and output.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.compiled import Compiled
from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.inference import inference_function
from starstack.autodiff.kernels import Kernels
from starstack.autodiff.layer_factors import FactorFunction
from starstack.autodiff.layers import trainable_layers
from starstack.autodiff.losses import resolve_loss
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

# Numbers of a formed Jacobian per output that are held at a time: 128 MiB.
_FORMED_NUMBERS = 2**24


@dataclass(frozen=True, eq=False)
class Block:
    """One layer's part of the Jacobian of n rows and k outputs.

    Attributes
    ----------
    layer : str
        Its name.
    slices : tuple of slice
        Its weights in the flat vector.
    activations : ndarray of shape (n, n_in) or None
        What goes into a layer of one position; None if the block is formed.
    deltas : ndarray of shape (k, n, n_out) or (k, n, size)
        What comes back from each output; the formed block where there are no activations.
    """

    layer: str
    slices: tuple[slice, ...]
    activations: np.ndarray | None
    deltas: np.ndarray

    def kernel(self, other: "Block", scale: float = 1.0) -> np.ndarray:
        """Return scale · J J'ᵀ between the rows of two blocks of this layer, (n, k, m, k)."""
        k, n = self.deltas.shape[:2]
        m = other.deltas.shape[1]
        back = (
            _float64(self.deltas).reshape(k * n, -1) @ _float64(other.deltas).reshape(k * m, -1).T
        )
        product = back.reshape(k, n, k, m).transpose(1, 0, 3, 2) * scale
        if self.activations is not None:
            inner = _float64(self.activations) @ _float64(other.activations).T
            product = product * inner[:, None, :, None]
        return product

    def own_kernel(self) -> np.ndarray:
        """Return J Jᵀ of each row with itself, (n, k, k)."""
        deltas = _float64(self.deltas)
        product = np.einsum("cni,dni->ncd", deltas, deltas, optimize=True)
        if self.activations is None:
            return product
        return product * (_float64(self.activations) ** 2).sum(axis=1)[:, None, None]

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """Return J v for flat vectors (P, m): shape (n, k, m)."""
        own = np.concatenate([vectors[part] for part in self.slices])
        deltas = _float64(self.deltas)
        if self.activations is None:
            return np.einsum("cns,sm->ncm", deltas, own, optimize=True)
        matrices = own.reshape(self.activations.shape[1], deltas.shape[2], -1)
        forward = np.tensordot(_float64(self.activations), matrices, axes=(1, 0))
        return np.einsum("nom,cno->ncm", forward, deltas, optimize=True)

    def add_transposed(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Add Jᵀ u, for u of shape (n, k, m), to the flat vectors `out` (P, m)."""
        deltas = _float64(self.deltas)
        if self.activations is None:
            own = np.einsum("cns,ncm->sm", deltas, rows, optimize=True)
        else:
            backward = np.einsum("cno,ncm->nom", deltas, rows, optimize=True)
            own = np.tensordot(_float64(self.activations), backward, axes=(0, 0))
        own = own.reshape(-1, out.shape[1])
        start = 0
        for part in self.slices:
            length = part.stop - part.start
            out[part] += own[start : start + length]
            start += length

    def formed(self) -> np.ndarray:
        """Return J of this layer, (n, k, size), in float64."""
        deltas = _float64(self.deltas)
        if self.activations is None:
            return deltas.transpose(1, 0, 2)
        outer = _float64(self.activations)[:, None, :, None] * deltas.transpose(1, 0, 2)[:, :, None]
        return outer.reshape(*outer.shape[:2], -1)


class RowJacobian:
    """Makes the blocks of a network for batches of rows.

    Parameters
    ----------
    model : keras.Model
        Any network; one of Dense, Conv1D and Conv2D layers is fast.
    logits : bool
        Take the logits for outputs where the network ends in a sigmoid or softmax.

    Attributes
    ----------
    layers : dict of str to tuple of slice
        Name and weights of each block.
    """

    def __init__(self, model: "keras.Model", *, logits: bool = False) -> None:
        self._flat = FlatParameters(model)
        self.layers = {
            name: tuple(self._flat.slices[index] for index in indices)
            for name, indices in trainable_layers(model).items()
        }
        kernels = Kernels(
            inference_function(model, logits=logits),
            resolve_loss("mse"),
            tuple(self._flat.variables),
        )
        # XLA gains nothing on one row.
        options = {"jit_compile": False}
        self._outputs = Compiled(kernels.outputs, "outputs", **options)
        self._backward = Compiled(kernels.transposed_product, "transposed product", **options)
        self._factors, self._traced = None, False
        try:
            self._factors = FactorFunction(model, logits=logits)
        except InputError as reason:
            logger.info("one backward pass per row and output: %s", reason)

    def __call__(self, x: Any) -> tuple[np.ndarray, list[Block]]:
        """Return the outputs (n, k) and one block per layer for some rows."""
        if not self._has_factors(x):
            return self._row_by_row(x)
        outputs, factors = self._factors(x)
        blocks = []
        for part in factors:
            activations, deltas = part.activations.numpy(), part.deltas.numpy()
            if activations.ndim == 3:
                summed = np.einsum("nti,cnto->cnio", activations, deltas, optimize=True)
                activations, deltas = None, summed.reshape(*summed.shape[:2], -1)
            blocks.append(Block(part.layer.name, part.layer.slices, activations, deltas))
        outputs = outputs.numpy()
        return outputs.reshape(len(outputs), -1), blocks

    def batches(self, x: Any, batch_size: int) -> Iterator[tuple[np.ndarray, list[Block]]]:
        """Go over rows, fewer at once where their Jacobian is formed."""
        if not self._has_factors(x):
            batch_size = min(batch_size, max(1, _FORMED_NUMBERS // self._flat.size))
        for start in range(0, len(x), batch_size):
            yield self(x[start : start + batch_size])

    def flat(self, blocks: Sequence[Block]) -> np.ndarray:
        """Join the blocks of rows into their Jacobian by the flat vector, (n, k, P)."""
        k, n = blocks[0].deltas.shape[:2]
        joined = np.zeros((n, k, self._flat.size))
        for block in blocks:
            formed, start = block.formed(), 0
            for part in block.slices:
                length = part.stop - part.start
                joined[:, :, part] = formed[:, :, start : start + length]
                start += length
        return joined

    def _has_factors(self, x: Any) -> bool:
        """Whether each layer's Jacobian has two factors, which the first row tells for sure."""
        if self._factors is not None and not self._traced:
            try:
                self._factors(x[:1])
            except InputError as reason:
                # No layer of the network says beforehand how often it is called.
                logger.info("one backward pass per row and output: %s", reason)
                self._factors = None
            self._traced = True
        return self._factors is not None

    def _row_by_row(self, x: Any) -> tuple[np.ndarray, list[Block]]:
        import tensorflow as tf

        dtype = self._flat.dtype
        outputs, rows = [], []
        for row in np.asarray(x):
            tensor = tf.constant(row[None], dtype=dtype if row.dtype.kind == "f" else None)
            z = self._outputs(tensor)
            units = np.eye(int(np.prod(z.shape)), dtype=z.dtype.as_numpy_dtype)
            outputs.append(z.numpy().reshape(-1))
            found = [self._backward(tensor, tf.reshape(unit, z.shape)) for unit in units]
            rows.append([self._flat.pack([part.numpy() for part in parts]) for parts in found])
        joined = np.array(rows).transpose(1, 0, 2)
        return np.array(outputs), [
            Block(layer, slices, None, np.concatenate([joined[:, :, s] for s in slices], axis=2))
            for layer, slices in self.layers.items()
        ]


def _float64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64, copy=False)
