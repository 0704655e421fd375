"""Tokens beyond the vocabulary of an Embedding: XLA takes the last one instead, without a word."""

import re
from typing import TYPE_CHECKING

import numpy as np

from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

# What TensorFlow says of them on a CPU; on a GPU it gives zeros.
_BEYOND = re.compile(r"= (-?\d+) is not in \[0, (\d+)\)")


def has_vocabulary(model: "keras.Model") -> bool:
    """Tell whether a model looks up tokens in an Embedding, at whatever depth."""
    import keras

    layers = model._flatten_layers(include_self=False, recursive=True)
    return any(isinstance(layer, keras.layers.Embedding) for layer in layers)


def check_tokens(model: "keras.Model", x: np.ndarray, first: int = 0) -> None:
    """Refuse rows with tokens that an Embedding does not have.

    The model runs once, as only that shows what reaches its Embeddings. What else it may refuse
    in the rows is for other checks to say.

    Parameters
    ----------
    model : keras.Model
        A model that `has_vocabulary`.
    x : ndarray of shape (n, …)
        Rows as the model takes them.
    first : int
        The position of the first of them in the data, for the message.

    Raises
    ------
    InputError
        Naming the first such row, its token, and the size of the vocabulary.
    """
    if _beyond(model, x) is None:
        return
    for row in range(len(x)):
        # A model may be built for batches of one size.
        found = _beyond(model, np.repeat(x[row : row + 1], len(x), axis=0))
        if found is not None:
            token, size = found
            raise InputError(
                f"row {first + row} has the token {token}; the model's Embedding takes 0 to "
                f"{int(size) - 1}: give it a larger input_dim, or map such tokens to one it has"
            )


def _beyond(model: "keras.Model", x: np.ndarray) -> tuple[str, ...] | None:
    """Return a token beyond a vocabulary, and the size of that."""
    import tensorflow as tf

    try:
        with tf.device("CPU"):
            model(x, training=False)
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        found = _BEYOND.search(str(error))
        return found and found.groups()
    return None
