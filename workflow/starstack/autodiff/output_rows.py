"""Rows of the Jacobian of any function, one vector-Jacobian product per output."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from starstack.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


def output_rows(function: "Callable[[tf.Tensor], tf.Tensor]", x: "tf.Tensor") -> "tf.Tensor":
    """Differentiate each output of a function of rows, for use inside a ``tf.function``.

    Parameters
    ----------
    function : callable
        From a tensor of shape (n, …) to one of shape (n, …) whose row i depends on row i alone, as
        networks in inference mode do: then the gradient of a sum over rows is that of each row.
    x : tensor of shape (n, *shape)
        Where to differentiate.

    Returns
    -------
    tensor of shape (n, k, *shape)
        The k outputs of a row in row-major order.

    Raises
    ------
    InputError
        If no output has a derivative, as behind an embedding or a cast to whole numbers: zeros
        would say that the outputs do not change with the inputs.
    """
    import tensorflow as tf

    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = function(x)
        # Divided under the tape, so that one forward pass serves all products.
        outputs = tf.unstack(tf.reshape(y, [x.shape[0], -1]), axis=1)
    rows = [tape.gradient(output, x) for output in outputs]
    if all(row is None for row in rows):
        raise InputError(
            "no output has a derivative by the inputs; expected none behind an Embedding or a cast "
            "to whole numbers: differentiate the part of the model after it"
        )
    return tf.stack([tf.zeros_like(x) if row is None else row for row in rows], axis=1)
