"""All trainable weights of a Keras model as one vector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class FlatParameters:
    """The trainable weights of a model as one vector, in the order of ``trainable_variables``.

    Parameters
    ----------
    model : keras.Model
        A built model with at least one trainable weight.

    Attributes
    ----------
    variables : list of tf.Variable
        What Keras's variables wrap. TensorFlow's differentiation refuses Keras's own
        (tensorflow#79523).
    names : tuple of str
        Their paths, such as ``"dense/kernel"``.
    shapes : tuple of tuple of int
        Their shapes.
    slices : tuple of slice
        Where each lies in the vector, row-major.
    size : int
        Length of the vector, P.
    dtype : numpy dtype
        float32 or float64, the wider one where a model has both.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> flat = FlatParameters(model)
    >>> flat.size, flat.shapes
    (3, ((2, 1), (1,)))
    >>> flat.write([1.0, 2.0, 0.5])
    >>> flat.read()
    array([1. , 2. , 0.5])
    >>> [part.tolist() for part in flat.unpack([1.0, 2.0, 0.5])]
    [[[1.0], [2.0]], [0.5]]
    """

    def __init__(self, model: "keras.Model") -> None:
        if not model.built:
            raise InputError(
                f"model '{model.name}' has no weights yet; call it once or give it a keras.Input"
            )
        wrapped = model.trainable_variables
        if not wrapped:
            raise InputError(f"model '{model.name}' has no trainable weights to differentiate by")
        self.variables: list[tf.Variable] = [variable.value for variable in wrapped]
        self.names = tuple(variable.path for variable in wrapped)
        self.shapes = tuple(tuple(map(int, variable.shape)) for variable in wrapped)
        ends = np.cumsum([0, *(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)])
        self.slices = tuple(slice(int(start), int(end)) for start, end in pairwise(ends))
        self.size = int(ends[-1])
        self.dtypes = tuple(variable.dtype.as_numpy_dtype for variable in self.variables)
        self.dtype = np.result_type(*self.dtypes)

    def pack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Put one array per weight into one vector of float64, shape (P,)."""
        arrays = [np.asarray(array) for array in arrays]
        if [array.shape for array in arrays] != list(self.shapes):
            raise InputError(
                f"weights have shapes {[array.shape for array in arrays]}; expected "
                f"{list(self.shapes)}, those of the model's trainable variables"
            )
        flat = np.empty(self.size)
        for part, array in zip(self.slices, arrays, strict=True):
            flat[part] = array.reshape(-1)
        return flat

    def unpack(self, flat: np.ndarray) -> list[np.ndarray]:
        """Divide a vector of shape (P,) into one array per weight; they share its memory."""
        flat = self.check(flat)
        return [
            flat[part].reshape(shape) for part, shape in zip(self.slices, self.shapes, strict=True)
        ]

    def read(self) -> np.ndarray:
        """Return the model's weights, float64 of shape (P,)."""
        return self.pack([variable.numpy() for variable in self.variables])

    def write(self, flat: np.ndarray) -> None:
        """Give the model these weights, rounded to the type of each."""
        for variable, part in zip(self.variables, self.unpack(flat), strict=True):
            variable.assign(part.astype(variable.dtype.as_numpy_dtype))

    @contextmanager
    def at(self, flat: np.ndarray | None) -> Iterator[None]:
        """Give the model these weights for a while; its own come back whatever happens."""
        if flat is None:
            yield
            return
        flat, own = self.check(flat), [variable.numpy() for variable in self.variables]
        try:
            self.write(flat)
            yield
        finally:
            for variable, values in zip(self.variables, own, strict=True):
                variable.assign(values)

    def check(self, flat: np.ndarray, what: str = "vector") -> np.ndarray:
        """Return the vector as float64 of shape (P,), or refuse it."""
        flat = np.asarray(flat)
        if flat.shape != (self.size,) or flat.dtype.kind not in "biuf":
            raise InputError(
                f"{what} has shape {flat.shape} and type {flat.dtype}; expected ({self.size},) "
                "numbers, one per trainable weight (FlatParameters.pack makes one of a list)"
            )
        return flat.astype(np.float64, copy=False)
