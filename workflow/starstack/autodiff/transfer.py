"""Between one float64 vector of NumPy and one tensor per weight of TensorFlow.

For 17.6 million weights the way into TensorFlow takes 30 ms by ``tf.constant``, 10 ms into memory
that is aligned as TensorFlow wants it and kept; a gradient takes 100 ms.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from starstack.autodiff.flat import FlatParameters

# Bytes; TensorFlow reads elsewhere only after it has copied.
ALIGNMENT = 64


class Staging:
    """Memory for one vector, in the types of the weights; each `fill` overwrites the last.

    Parameters
    ----------
    parameters : FlatParameters
        The weights.
    """

    def __init__(self, parameters: "FlatParameters") -> None:
        self._parameters = parameters
        self._parts = [
            _aligned(shape, dtype)
            for shape, dtype in zip(parameters.shapes, parameters.dtypes, strict=True)
        ]

    def fill(self, flat: np.ndarray) -> "list[tf.Tensor]":
        """Return the parts of a vector as tensors that share this memory."""
        import tensorflow as tf

        for part, values in zip(self._parts, self._parameters.unpack(flat), strict=True):
            np.copyto(part, values, casting="same_kind")
        return [tf.experimental.dlpack.from_dlpack(part.__dlpack__()) for part in self._parts]


class Sum:
    """A sum of gradients in float64.

    Parameters
    ----------
    parameters : FlatParameters
        The weights.
    """

    def __init__(self, parameters: "FlatParameters") -> None:
        self._slices = parameters.slices
        self._flat = np.empty(parameters.size)
        self._is_empty = True

    def add(self, parts: "list[tf.Tensor]") -> None:
        """Add a gradient, one tensor per weight."""
        for place, part in zip(self._slices, parts, strict=True):
            into, values = self._flat[place], np.asarray(part).reshape(-1)
            if self._is_empty:  # spares a pass over zeros
                np.copyto(into, values)
            else:
                np.add(into, values, out=into)
        self._is_empty = False

    def times(self, scale: float) -> np.ndarray:
        """Return the sum times a number, shape (P,)."""
        if scale != 1:
            self._flat *= scale
        return self._flat


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
