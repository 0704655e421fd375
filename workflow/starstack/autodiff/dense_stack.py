"""Networks of Dense layers as a chain of matrices: their Jacobians are products of few matrices.

For layers hᵢ = φᵢ(hᵢ₋₁ Wᵢ + bᵢ) the rows of the Jacobian are
J = diag(φ_L′) W_Lᵀ … diag(φ₁′) W₁ᵀ, taken from the left. The rows of all outputs and of the whole
batch stand below each other in one matrix, so that each layer is one large product: on two cores
92 to 98 % of the rate of a matrix product were measured, where one product per output reached 65 %.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starstack.autodiff.output_rows import output_rows

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# What acts on each value by itself; softmax, for one, does not.
# fmt: off
ELEMENTWISE_ACTIVATIONS = frozenset({
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "squareplus", "tanh", "tanh_shrink",
})
# fmt: on
ELEMENTWISE_LAYERS = ("ReLU", "LeakyReLU", "ELU", "PReLU", "Rescaling")
# What does nothing in inference mode.
SILENT_LAYERS = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "InputLayer",
)

Step = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class DenseStack:
    """Dense layers in a row, and the functions of single values around them.

    Attributes
    ----------
    weights : tuple of (kernel, bias)
        tf.Variable of shapes (d_in, d_out) and (d_out,), or None for no bias.
    between : tuple of tuple of callable
        What is applied before the first layer, after the first, …, before the last: one more tuple
        than weights for what follows the last layer, which need not be elementwise.
    """

    weights: "tuple[tuple[tf.Variable, tf.Variable | None], ...]"
    between: tuple[tuple[Step, ...], ...]

    @property
    def dtype(self) -> str:
        """The one type of all kernels, in which rows must come."""
        return self.weights[0][0].dtype.name

    def output_rows(self, x: "tf.Tensor") -> "tf.Tensor":
        """Return ∂output/∂(x W₁ + b₁), shape (n, k, d_1), for use inside a ``tf.function``."""
        return self._rows(x)[0]

    def jacobian(self, x: "tf.Tensor", factor: "tf.Tensor | None" = None) -> "tf.Tensor":
        """Return ∂output/∂x, shape (n, k, p), for use inside a ``tf.function``.

        Parameters
        ----------
        x : tensor of shape (n, p)
            Rows.
        factor : tensor of shape (k,), optional
            Multiplies the rows of each output while they are still short.
        """
        rows, slope = self._rows(x, factor)
        rows = _times_transposed(rows, self.weights[0][0])
        return rows if slope is None else rows * slope[:, None]

    def _rows(
        self, x: "tf.Tensor", factor: "tf.Tensor | None" = None
    ) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Return the rows before the first kernel, and the slope of what stands before it."""
        import tensorflow as tf

        before = []  # what the functions in front of each kernel were applied to
        for steps, (kernel, bias) in zip(self.between, self.weights, strict=False):
            before.append(x)
            x = _apply(steps, x) @ kernel
            if bias is not None:
                x += bias
        rows = _tail_jacobian(self.between[-1], x)
        if factor is not None:
            rows *= factor[:, None]
        for (kernel, _), steps, z in zip(
            self.weights[:0:-1], self.between[-2:0:-1], before[:0:-1], strict=True
        ):
            rows = _times_transposed(rows, kernel)
            # As soon as it could, TensorFlow would differentiate these beside a product, whose
            # threads share the work evenly and wait for the one that is held up.
            with tf.control_dependencies([rows]):
                slope = _slope(steps, z)
            if slope is not None:
                rows *= slope[:, None]
        return rows, _slope(self.between[0], before[0])


def dense_stack(model: "keras.Model") -> DenseStack | None:
    """Read a model as a stack of Dense layers.

    Dropout and noise are left out as in inference; batch normalisation is elementwise there.

    Parameters
    ----------
    model : keras.Model
        Any built model.

    Returns
    -------
    DenseStack or None
        None if the model is anything else: its layers branch, share weights, mix values otherwise
        than by Dense, compute in several types, or take rows of more than one dimension.

    Examples
    --------
    >>> import keras
    >>> layers = [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    >>> stack = dense_stack(keras.Sequential([keras.Input((3,)), *layers]))
    >>> len(stack.weights), [len(steps) for steps in stack.between]
    (2, [0, 1, 0])
    """
    import keras

    layers = _chain(model)
    if layers is None:
        return None
    weights: list[tuple] = []
    between: list[list[Step]] = [[]]
    mixed = False  # whether a step since the last Dense layer mixes the values of a row
    for layer in layers:
        if _keras_name(layer) in SILENT_LAYERS:
            continue
        if len(layer.input.shape) != 2 or len(layer.output.shape) != 2:
            return None
        if type(layer) is not keras.layers.Dense:
            between[-1].append(partial(layer, training=False))
            mixed |= not _is_elementwise(layer)
            continue
        if mixed or _is_altered(layer):
            return None
        weights.append((layer.kernel.value, layer.bias.value if layer.use_bias else None))
        linear = layer.activation is keras.activations.linear
        between.append([] if linear else [layer.activation])
        mixed = not _is_elementwise(layer)
    types = {layer.compute_dtype for layer in layers if _keras_name(layer) not in SILENT_LAYERS}
    if not weights or len(types) != 1:
        return None
    return DenseStack(tuple(weights), tuple(map(tuple, between)))


def _chain(model: "keras.Model") -> "list[keras.Layer] | None":
    """Return the layers in order if each takes what the one before it gives, and nothing else."""
    try:
        layers = list(model.layers)
        ends = [model.inputs[0], *(layer.output for layer in layers)]
        linked = all(
            _keras_name(layer) == "InputLayer" or layer.input is end
            for layer, end in zip(layers, ends, strict=False)
        )
    except (AttributeError, IndexError, TypeError, ValueError):  # subclassed, or layers shared
        return None
    return layers if linked and len(model.inputs) == 1 and model.outputs[0] is ends[-1] else None


def _keras_name(layer: "keras.Layer") -> str:
    """Name a layer of Keras's own; "" for any other, which may do anything under such a name."""
    import keras

    name = type(layer).__name__
    return name if getattr(keras.layers, name, None) is type(layer) else ""


def _is_elementwise(layer: "keras.Layer") -> bool:
    kind = _keras_name(layer)
    if kind in ("Activation", "Dense"):
        import keras

        name = getattr(layer.activation, "__name__", "")
        own = getattr(keras.activations, name, None) is layer.activation
        return own and name in ELEMENTWISE_ACTIVATIONS
    if kind == "BatchNormalization":
        return layer.axis in (-1, 1)
    return kind in ELEMENTWISE_LAYERS


def _is_altered(layer: "keras.layers.Dense") -> bool:
    """Whether the kernel is not all that multiplies, or is rounded on the way."""
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
        or layer.compute_dtype != layer.variable_dtype
    )


def _slope(steps: tuple[Step, ...], z: "tf.Tensor") -> "tf.Tensor | None":
    """Differentiate functions of single values."""
    import tensorflow as tf

    if not steps:
        return None
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        h = _apply(steps, z)
    return tape.gradient(h, z, unconnected_gradients="zero")


def _tail_jacobian(steps: tuple[Step, ...], z: "tf.Tensor") -> "tf.Tensor":
    """Differentiate what follows the last Dense layer, shape (n, k, width of that layer)."""
    import tensorflow as tf

    if not steps:
        unit = tf.eye(z.shape[1], dtype=z.dtype)
        return tf.tile(unit[None], [tf.shape(z)[0], 1, 1])
    return output_rows(lambda h: _apply(steps, h), z)


def _apply(steps: tuple[Step, ...], h: "tf.Tensor") -> "tf.Tensor":
    for step in steps:
        h = step(h)
    return h


def _times_transposed(rows: "tf.Tensor", kernel: "tf.Variable") -> "tf.Tensor":
    """Multiply rows of shape (n, k, d_out) by a transposed kernel, as one product."""
    import tensorflow as tf

    n, k, d_out = rows.shape
    product = tf.matmul(tf.reshape(rows, [n * k, d_out]), kernel, transpose_b=True)
    return tf.reshape(product, [n, k, kernel.shape[0]])
