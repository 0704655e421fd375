"""Rows that a posterior is asked about, looked at before anything is compiled for them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.curvature.options import whole_number
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras


def check_rows(
    model: "keras.Model", x: Any, batch_size: int = 256, numbers: np.ndarray | None = None
) -> None:
    """Refuse rows that the network does not take.

    A function that TensorFlow compiles for rows of a wrong shape refuses the right ones after them.

    Parameters
    ----------
    model : keras.Model
        The network; of one that is subclassed no shape is known.
    x : array or h5py dataset of shape (n, *input_shape)
        The rows.
    batch_size : int
        Rows that are read at once.
    numbers : ndarray of int, shape (n,), optional
        What the rows are called; 0, 1, … by default.

    Raises
    ------
    InputError
        If the shape is another one, there is no row, a number is not finite, or no row is to be
        read at once.
    """
    whole_number(batch_size, "batch_size")
    shape, inputs = np.shape(x), getattr(model, "inputs", None)
    expected = tuple(inputs[0].shape[1:]) if inputs else shape[1:]
    fits = len(shape) == 1 + len(expected) and all(
        size in (None, own) for size, own in zip(expected, shape[1:], strict=True)
    )
    if not fits or not shape[0]:
        wanted = ", ".join(map(str, ("n", *expected)))
        raise InputError(
            f"rows: expected shape ({wanted}) of at least one row, got {shape}; give rows as the "
            "network takes them"
        )
    for start in range(0, shape[0], batch_size):
        block = x[start : start + batch_size]
        if not (finite := np.isfinite(block).reshape(len(block), -1).all(axis=1)).all():
            row = start + int(np.argmin(finite))
            raise InputError(
                "rows: expected finite numbers, got NaN or infinity in row "
                f"{row if numbers is None else numbers[row]}; correct this row or leave it out"
            )
