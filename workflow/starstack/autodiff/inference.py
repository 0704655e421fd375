"""A model as a pure function of its inputs: nothing random, nothing that remembers."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

logger = logging.getLogger(__name__)

EXACT_TYPES = ("float32", "float64")
# Rows of the trial that looks for what is random.
TRIAL_ROWS = 2


def inference_function(
    model: "keras.Model", *, logits: bool = False
) -> "Callable[[tf.Tensor], tf.Tensor]":
    """Return ``x -> model(x, training=False)``, after `check_model`.

    Parameters
    ----------
    model : keras.Model
        A built model of one input and one output.
    logits : bool
        Give what goes into a sigmoid or softmax at the end, where there is one. Cross-entropies
        are taken of these: Keras does so too, and probabilities that round to 0 or 1 have no
        derivatives left.

    Returns
    -------
    callable
        To be called eagerly or inside a ``tf.function``.
    """
    check_model(model)

    def infer(x: "tf.Tensor") -> "tf.Tensor":
        outputs = model(x, training=False)
        # Keras's sigmoid and softmax leave their argument on their result.
        return getattr(outputs, "_keras_logits", outputs) if logits else outputs

    return infer


def has_logits(model: "keras.Model", x: np.ndarray) -> bool:
    """Whether the model ends in a sigmoid or a softmax; x is a batch to find it out with."""
    return hasattr(model(x[:1], training=False), "_keras_logits")


def warn_of_tf32() -> None:
    """Warn where a GPU rounds the inputs of matrix products to 10 bits of mantissa."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU") and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    ):
        logger.warning(
            "matrix products on the GPU round to TF32, a relative error of 3e-4 "
            "(tensorflow#127346); tf.config.experimental.enable_tensor_float_32_execution(False) "
            "keeps float32"
        )


def input_dtype(model: "keras.Model", computed: np.dtype) -> np.dtype:
    """Return the type in which the model takes its inputs; `computed` is that of its weights."""
    symbols = _symbolic(model, "inputs")
    if symbols is None:  # a subclassed model does not say
        return computed
    declared = np.dtype(symbols[0].dtype)
    if declared == np.float32 and computed == np.float64:
        logger.warning(
            "model '%s' computes in float64 but its keras.Input is float32, which rounds the data; "
            "build it with keras.Input(..., dtype='float64')",
            model.name,
        )
    return declared


def check_model(model: "keras.Model", x: np.ndarray | None = None) -> None:
    """Refuse models that are random, stateful or too coarse in inference mode.

    Dropout, noise and batch normalisation are harmless there. A trial on ones, or on the first
    rows of ``x``, finds layers that ignore ``training=False``: a variable that changes, or outputs
    that differ between two equal calls.

    Parameters
    ----------
    model : keras.Model
        The model.
    x : ndarray of shape (n, …), optional
        Inputs for the trial; needed for subclassed models, which do not tell their input's shape.

    Raises
    ------
    InputError
        Naming the layer.
    """
    if not model.built:
        raise InputError(
            f"model '{model.name}' has no weights yet; call it once or give it a keras.Input"
        )
    inputs, outputs = _symbolic(model, "inputs"), _symbolic(model, "outputs")
    for what, symbols in (("inputs", inputs), ("outputs", outputs)):
        if symbols is not None and len(symbols) != 1:
            raise InputError(f"model '{model.name}' has {len(symbols)} {what}; expected one")
    layers = model._flatten_layers(include_self=False, recursive=True)
    for layer in layers:
        _check_layer(layer)
    if x is None and inputs is not None:
        x = _ones(inputs[0])
    if x is not None:
        _try(model, x[:TRIAL_ROWS] if inputs is None or inputs[0].shape[0] is None else x)


def _symbolic(model: "keras.Model", which: str) -> list | None:
    try:
        found = getattr(model, which)
    except (AttributeError, ValueError):  # a subclassed model has none
        return None
    if found is None:
        return None
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _check_layer(layer: "keras.Layer") -> None:
    kind = type(layer).__name__
    if getattr(layer, "stateful", False):
        raise InputError(
            f"layer '{layer.name}' ({kind}) is stateful: its output depends on what came before; "
            "build it with stateful=False"
        )
    if layer.compute_dtype not in EXACT_TYPES and layer.weights:
        raise InputError(
            f"layer '{layer.name}' ({kind}) computes in {layer.compute_dtype}, too coarse for "
            "derivatives; load the weights into a float32 or float64 model"
        )


def _ones(symbol: Any) -> np.ndarray:
    shape = tuple(1 if size is None else size for size in symbol.shape[1:])
    return np.ones((symbol.shape[0] or TRIAL_ROWS, *shape), dtype=symbol.dtype)


def _try(model: "keras.Model", x: np.ndarray) -> None:
    state = _state(model)
    before = {path: np.copy(variable.numpy()) for path, (variable, _) in state.items()}
    first, second = (np.asarray(model(x, training=False)) for _ in range(2))
    for path, (variable, layer) in state.items():
        if not np.array_equal(before[path], variable.numpy()):
            variable.assign(before[path])
            raise InputError(
                f"layer '{layer.name}' ({type(layer).__name__}) is random or changes "
                f"'{path}' even with training=False; derivatives need a fixed function"
            )
    if not np.array_equal(first, second, equal_nan=True):
        raise InputError(
            f"model '{model.name}' gives different outputs in two equal calls with "
            f"training=False; layer {_random_layer(model, x)} is random"
        )


def _state(model: "keras.Model") -> "dict[str, tuple[keras.Variable, keras.Layer]]":
    """Return what may change without training, and the innermost layer that owns it."""
    state = {}
    for layer in (model, *model._flatten_layers(include_self=False, recursive=True)):
        for variable in layer.non_trainable_variables:
            state[variable.path] = (variable, layer)
    for metric in model.metrics:
        for variable in metric.variables:
            state.pop(variable.path, None)
    return state


def _random_layer(model: "keras.Model", x: np.ndarray) -> str:
    import keras

    if _symbolic(model, "inputs") is None or not model.layers:
        return "(unknown: the model is subclassed)"
    traced = keras.Model(model.inputs[0], [layer.output for layer in model.layers])
    first, second = (traced(x, training=False) for _ in range(2))
    for layer, one, other in zip(model.layers, first, second, strict=True):
        if not np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True):
            return f"'{layer.name}' ({type(layer).__name__})"
    return "(unknown)"
