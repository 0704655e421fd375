"""A model as a pure function of each row: nothing random or remembered, no rows mixed."""

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

logger = logging.getLogger(__name__)

EXACT_TYPES = ("float32", "float64")
HALF_TYPES = ("float16", "bfloat16")
# Rows of the trial that looks for what is random or mixes rows.
TRIAL_ROWS = 2
# Relative differences that rounding explains between equal rows, by the type of the outputs: in
# batches of one size, and in a batch of one, whose matrix products may be others (TF32 for one and
# not for the other: 3e-4 in each layer).
MIXING_TOLERANCES = {"float32": (1e-4, 1e-2), "float64": (1e-10, 1e-6)}


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
        outputs = _outputs(model, x)
        return logits_of(outputs) if logits else outputs

    return infer


def logits_of(outputs: "tf.Tensor") -> "tf.Tensor":
    """Return the argument of the sigmoid or softmax that made outputs, or else the outputs.

    It need not be the outputs of any layer: ``lambda z: softmax(z / 2)`` takes z / 2.
    """
    # Keras's sigmoid and softmax leave their argument on their result.
    return getattr(outputs, "_keras_logits", outputs)


def has_logits(model: "keras.Model", x: np.ndarray) -> bool:
    """Whether the model ends in a sigmoid or a softmax; x is a batch to find it out with."""
    return hasattr(model(x[:1], training=False), "_keras_logits")


def check_no_mask(model: "keras.Model", x: np.ndarray) -> None:
    """Refuse a model that masks places of its outputs; x is a batch to find it out with.

    Keras leaves these out of the loss and divides by what is left in each batch, so that a row's
    share depends on the other rows.
    """
    if getattr(model(x[:1], training=False), "_keras_mask", None) is None:
        return
    masking = (
        f"layer '{layer.name}' ({type(layer).__name__})"
        for layer in model.layers
        if getattr(getattr(layer, "output", None), "_keras_mask", None) is not None
    )
    raise InputError(
        f"model '{model.name}' gives its outputs a mask, from {next(masking, 'inside it')}; "
        "expected a loss of all places: leave out the mask, or end it before the outputs"
    )


def coarsest_type(model: "keras.Model") -> str:
    """Return ``float32`` if any layer computes in it, with weights or without, else ``float64``."""
    import keras

    own = {id(symbol) for symbol in _symbolic(model, "inputs") or ()}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.InputLayer):
            # A model inside the model casts what it takes; the model's own casts the data only.
            computed = None if id(layer.output) in own else layer.dtype
        else:
            computed = None if _symbolic(layer, "inputs") else layer.compute_dtype
        if computed == "float32":
            return "float32"
    return "float64"


def rounds_to_tf32() -> bool:
    """Whether a GPU rounds the inputs of matrix products to 10 bits of mantissa."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU")) and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    )


def warn_of_tf32() -> None:
    """Warn where a GPU rounds to TF32."""
    if rounds_to_tf32():
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
    """Refuse models that are random, stateful, too coarse or mix rows in inference mode.

    Dropout, noise and batch normalisation are harmless there. A trial on two different rows, of
    ``x`` where it is given, finds layers that ignore ``training=False``: a variable that changes,
    or outputs that differ between two equal calls. It also finds what mixes the rows of a batch,
    such as a softmax over axis 0, where no sum over rows is right: the first row's outputs must
    not change with the other row.

    Parameters
    ----------
    model : keras.Model
        The model.
    x : ndarray of shape (n, …), optional
        Inputs for the trial; needed for subclassed models, which do not tell their input's shape.

    Raises
    ------
    InputError
        Naming the layer, or if the model does not take the rows of ``x``.
    """
    check_one_input(model)
    inputs = _symbolic(model, "inputs")
    layers = model._flatten_layers(include_self=False, recursive=True)
    for layer in layers:
        _check_layer(layer)
    if x is None and inputs is not None:
        x = _made_up(inputs[0])
    if x is not None:
        fixed_size = inputs is not None and inputs[0].shape[0] is not None
        x = x if fixed_size else _different_rows(x)
        _try(model, x)
        _check_rows_apart(model, x, fixed_size)


def check_one_input(model: "keras.Model") -> None:
    """Refuse what is no model, models without weights, or with several inputs or outputs."""
    if not hasattr(model, "built"):
        raise InputError(f"expected a Keras model, got {type(model).__name__} {model!r:.40}")
    if not model.built:
        raise InputError(
            f"model '{model.name}' has no weights yet; call it once or give it a keras.Input"
        )
    for what in ("inputs", "outputs"):
        symbols = _symbolic(model, what)
        if symbols is not None and len(symbols) != 1:
            raise InputError(f"model '{model.name}' has {len(symbols)} {what}; expected one")


def _symbolic(model: "keras.Model", which: str) -> list | None:
    try:
        found = getattr(model, which)
    except (AttributeError, ValueError):  # a subclassed model has none
        return None
    if found is None:
        return None
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _check_layer(layer: "keras.Layer") -> None:
    import keras

    kind = type(layer).__name__
    if getattr(layer, "stateful", False):
        raise InputError(
            f"layer '{layer.name}' ({kind}) is stateful: its output depends on what came before; "
            "build it with stateful=False"
        )
    # An input is of the type that was declared, whatever the policy says.
    computed = layer.dtype if isinstance(layer, keras.layers.InputLayer) else layer.compute_dtype
    if computed in HALF_TYPES or (layer.weights and computed not in EXACT_TYPES):
        raise InputError(
            f"layer '{layer.name}' ({kind}) computes in {computed}, too coarse for "
            "derivatives; load the weights into a float32 or float64 model"
        )


def _made_up(symbol: Any) -> np.ndarray:
    # From 0 to 2, so that they are whole numbers 0 and 1 to an embedding, which has at least two.
    shape = tuple(1 if size is None else size for size in symbol.shape[1:])
    rows = np.random.default_rng(0).uniform(0.1, 1.9, (symbol.shape[0] or TRIAL_ROWS, *shape))
    return rows.astype(symbol.dtype)


def _different_rows(x: np.ndarray) -> np.ndarray:
    """Return two finite rows that differ, as far as there are such."""
    finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    x = x[finite] if finite.any() else x
    others = np.flatnonzero((x != x[:1]).reshape(len(x), -1).any(axis=1))
    # The same values in another order: others might be out of range for the model.
    other = x[others[0]] if len(others) else np.roll(x[0], 1)
    return np.stack([x[0], other])


def _try(model: "keras.Model", x: np.ndarray) -> None:
    state = _state(model)
    before = {path: np.copy(variable.numpy()) for path, (variable, _) in state.items()}
    first, second = (_one_output(model, _outputs(model, x)) for _ in range(2))
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
            f"training=False; layer {_culprit(model, x, x, _differ)} is random"
        )


def _one_output(model: "keras.Model", outputs: Any) -> np.ndarray:
    """Return the outputs as an array; a subclassed model shows only here that it has several."""
    import keras

    found = keras.tree.flatten(outputs)
    if len(found) != 1:
        raise InputError(f"model '{model.name}' has {len(found)} outputs; expected one")
    if found[0] is not outputs:
        raise InputError(
            f"model '{model.name}' gives its output in a {type(outputs).__name__}; expected the "
            "output itself"
        )
    return np.asarray(outputs)


def _outputs(model: "keras.Model", x: Any) -> Any:
    """Run the model in inference mode; say so if it does not take rows of this shape."""
    import tensorflow as tf

    try:
        return model(x, training=False)
    except tf.errors.UnimplementedError as error:
        raise InputError(
            f"model '{model.name}' cannot run on this machine: {_reason(error)}"
        ) from error
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        if isinstance(error, InputError):
            raise
        inputs = _symbolic(model, "inputs")
        expected = "" if inputs is None else f"expected shape {tuple(inputs[0].shape[1:])}; "
        raise InputError(
            f"model '{model.name}' does not take rows of shape {tuple(x.shape[1:])}: {expected}"
            f"{_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Return the line of Keras's message that says what is wrong, without its colours."""
    lines = re.sub(r"\x1b\[\d+m|\{\{.*?\}\} ?| \[Op:.*", "", str(error)).splitlines()
    lines = [line for line in lines if line and not line.startswith("Exception encountered")]
    return lines[0] if lines else type(error).__name__


def _check_rows_apart(model: "keras.Model", x: np.ndarray, fixed_size: bool) -> None:
    """Refuse a model whose outputs for the first row of x change with the rows after it."""
    first = np.repeat(x[:1], len(x), axis=0)
    batches = [first] if fixed_size else [first, x[:1]]
    for other, which in zip(batches, (0, 1), strict=False):

        def differ(one: Any, two: Any, which: int = which) -> bool:
            return _first_rows_differ(one, two, which)

        if differ(model(x, training=False), model(other, training=False)):
            raise InputError(
                f"model '{model.name}' mixes the rows of a batch: its output for a row changes "
                f"with the others; layer {_culprit(model, x, other, differ)} does so. Sums over "
                "batches mean nothing then; let each layer treat every row by itself"
            )


def _first_rows_differ(one: Any, two: Any, which: int) -> bool:
    one, two = np.asarray(one), np.asarray(two)
    if one.shape[1:] != two.shape[1:] or not (one.shape and len(one) and len(two)):
        return True
    one, two = one[0], two[0]
    limit = MIXING_TOLERANCES.get(str(one.dtype), (0, 0))[which]
    scale = np.max(np.abs(one[np.isfinite(one)]), initial=0)
    return not np.allclose(one, two, rtol=0, atol=limit * float(scale), equal_nan=True)


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


def _differ(one: Any, two: Any) -> bool:
    return not np.array_equal(np.asarray(one), np.asarray(two), equal_nan=True)


def _culprit(
    model: "keras.Model", x: np.ndarray, other: np.ndarray, differ: Callable[[Any, Any], bool]
) -> str:
    """Return the first layer whose outputs differ between two batches."""
    import keras

    unknown = "(unknown: the model is subclassed)"
    if _symbolic(model, "inputs") is None or not model.layers:
        return unknown
    try:
        traced = keras.Model(model.inputs[0], [layer.output for layer in model.layers])
    except (AttributeError, ValueError):  # a layer that is called twice has no one output
        return "(unknown)"
    first, second = (traced(batch, training=False) for batch in (x, other))
    for layer, *pair in zip(model.layers, first, second, strict=True):
        flat = zip(*map(keras.tree.flatten, pair), strict=True)
        if any(differ(one, two) for one, two in flat):
            return f"'{layer.name}' ({type(layer).__name__})"
    return "(unknown)"
