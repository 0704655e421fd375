"""The two factors of each layer's Jacobian: what goes in, and what comes back from each output.

The pre-activation of a layer with the weights W (d_in, d_out) and the bias b is z_t = Wᵀa_t + b at
each position t: one position for a dense layer, one per patch of the input for a convolution. The
Jacobian of output c with respect to the layer's weights is therefore

    ∂f_c/∂[W; b] = Σ_t [a_t; 1] (∂f_c/∂z_t)ᵀ,

and never needs to be formed: a_t and ∂f_c/∂z_t say all [1]_, [2]_. One forward pass and one
backward pass per output give them for all layers at once.

References
----------
.. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate
   curvature", ICML 2015, section 3.
.. [2] R. Grosse, J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution
   layers", ICML 2016, section 3.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.inference import inference_function
from starstack.autodiff.layers import leaf_layers, trainable_layers
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class WeightLayer:
    """A layer whose Jacobian has two factors.

    Attributes
    ----------
    name : str
        As `starstack.autodiff.layers.trainable_layers` names it.
    slices : tuple of slice
        Of the kernel, and of the bias if there is one, in the flat vector of all weights. Together
        they are the matrix [W; b] of shape (n_in, n_out), row-major.
    n_in, n_out : int
        Number of inputs (of one patch for a convolution), 1 more for the bias; of outputs.
    layer : keras.layers.Layer
        The layer.
    """

    name: str
    slices: tuple[slice, ...]
    n_in: int
    n_out: int
    layer: "keras.layers.Layer"

    @property
    def has_bias(self) -> bool:
        """Whether the last row of the matrix is a bias."""
        return len(self.slices) == 2

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.n_in * self.n_out

    def gather(self, flat: np.ndarray) -> np.ndarray:
        """Take [W; b] out of flat vectors (P,) or (P, m): shape (n_in, n_out) or (…, m)."""
        parts = [flat[part] for part in self.slices]
        return np.concatenate(parts).reshape(self.n_in, self.n_out, *flat.shape[1:])

    def scatter(self, matrix: np.ndarray, flat: np.ndarray) -> None:
        """Put [W; b] into flat vectors: the inverse of `gather`."""
        values = matrix.reshape(self.size, *flat.shape[1:])
        start = 0
        for part in self.slices:
            length = part.stop - part.start
            flat[part] = values[start : start + length]
            start += length


@dataclass(frozen=True, eq=False)
class LayerFactors:
    """The factors of one layer's Jacobian for a batch of rows.

    Attributes
    ----------
    layer : WeightLayer
        Which layer.
    activations : ndarray or Tensor of shape (n, n_in) or (n, positions, n_in)
        What goes into the layer, ending in 1 if it has a bias.
    deltas : ndarray or Tensor of shape (k, n, n_out) or (k, n, positions, n_out)
        ∂(output c)/∂(pre-activation).
    """

    layer: WeightLayer
    activations: Any
    deltas: Any


class FactorFunction:
    """Computes the factors of a network's layers for batches of rows, compiled once.

    Parameters
    ----------
    model : keras.Model
        Of Dense, Conv1D, Conv2D layers, and others without trainable weights.
    logits : bool
        Take the logits for outputs where the network ends in a sigmoid or softmax.
    only : sequence of str, optional
        Names of the layers that are wanted; all by default.
    leave_out : bool
        Leave out layers with trainable weights that are none of these, instead of refusing them.

    Attributes
    ----------
    layers : tuple of WeightLayer
        In the order of the network's layers.
    dtype : str
        In which the network computes.

    Raises
    ------
    InputError
        If a layer with trainable weights is of another kind, is called more than once, or has
        weights in common with another; or if none is left.
    """

    def __init__(
        self,
        model: "keras.Model",
        *,
        logits: bool = False,
        only: Sequence[str] | None = None,
        leave_out: bool = False,
    ) -> None:
        self._infer = inference_function(model, logits=logits)
        self.layers = weight_layers(model, only=only, leave_out=leave_out)
        self.dtype: str = self.layers[0].layer.compute_dtype
        self._compiled: Any = None

    def __call__(self, x: Any) -> tuple[Any, list[LayerFactors]]:
        """Return the outputs (n, k) and the factors of each layer, as tensors.

        Parameters
        ----------
        x : array or Tensor of shape (n, *input_shape)
            Rows.
        """
        import tensorflow as tf

        if self._compiled is None:
            # The number of rows is left open: a ragged last batch does not compile anew.
            rows = tf.TensorSpec([None, *np.shape(x)[1:]], self.dtype)
            # TensorFlow warns of many traces of one method, though each is of another object's.
            own = partial(self._trace)
            self._compiled = tf.function(own, input_signature=[rows], autograph=False)
        outputs, activations, deltas = self._compiled(tf.cast(x, self.dtype))
        parts = zip(self.layers, activations, deltas, strict=True)
        return outputs, [LayerFactors(*part) for part in parts]

    def _trace(self, x: "tf.Tensor") -> tuple[Any, list, list]:
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape, _tapped(self.layers) as taps:
            outputs = self._infer(x)
            # Here, since Keras wraps what is raised inside its layers in a text of its own.
            if repeated := [name for name, found in taps.items() if found.n_calls > 1]:
                raise InputError(
                    f"layers {', '.join(repeated)}: expected to be called once in the network, but "
                    "are called more than once; take a structure that needs no factors"
                )
            # Whatever the rank of the outputs, each row has k numbers.
            outputs = tf.reshape(outputs, [tf.shape(x)[0], int(np.prod(outputs.shape[1:]))])
        reached = [taps[layer.name].pre_activation for layer in self.layers]
        by_output = [
            tape.gradient(
                outputs,
                reached,
                output_gradients=tf.one_hot(
                    tf.fill([tf.shape(x)[0]], c), outputs.shape[1], dtype=outputs.dtype
                ),
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            for c in range(outputs.shape[1])
        ]
        deltas = [
            tf.stack([_by_position(layer, g) for g in gradients])
            for layer, gradients in zip(self.layers, zip(*by_output, strict=True), strict=True)
        ]
        return outputs, [_inputs(layer, taps[layer.name]) for layer in self.layers], deltas


def factors_by_layer(
    model: "keras.Model", x: Any, *, logits: bool = False, leave_out: bool = False
) -> list[LayerFactors]:
    """Return the factors of each layer's Jacobian for some rows, as arrays.

    Parameters
    ----------
    model, logits, leave_out
        As for `FactorFunction`, which is to be kept where there is more than one batch.
    x : array of shape (n, *input_shape)
        Rows.

    Examples
    --------
    The Jacobian of a linear model is the outer product of its input and a unit vector.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> (factors,) = factors_by_layer(model, np.array([[3.0, 5.0]]))
    >>> factors.activations
    array([[3., 5., 1.]], dtype=float32)
    >>> factors.deltas[:, 0]
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    _, factors = FactorFunction(model, logits=logits, leave_out=leave_out)(x)
    return [LayerFactors(f.layer, f.activations.numpy(), f.deltas.numpy()) for f in factors]


def weight_layers(
    model: "keras.Model", *, only: Sequence[str] | None = None, leave_out: bool = False
) -> tuple[WeightLayer, ...]:
    """List the layers whose Jacobian has two factors; see `FactorFunction`."""
    if not isinstance(leave_out, bool):
        raise InputError(
            f"leave_out: expected True or False, got {leave_out!r}; to hold certain layers fixed, "
            "set their `trainable` to False"
        )
    flat, by_id = FlatParameters(model), {}
    for layer in leaf_layers(model):
        for variable in layer.trainable_variables:
            by_id.setdefault(id(variable), layer)
    variables = model.trainable_variables
    layers, found, refused = trainable_layers(model), [], {}
    if unknown := [name for name in only or () if name not in layers]:
        raise InputError(
            f"layers of {model.name!r}: expected some of {', '.join(layers)}, got "
            f"{', '.join(unknown)}"
        )
    for name, indices in layers.items():
        if only is not None and name not in only:
            continue
        layer = by_id.get(id(variables[indices[0]]))
        reason = _reason_against(layer, [variables[index] for index in indices])
        if reason:
            refused[name] = reason
            continue
        kernel, n_out = layer.kernel, layer.kernel.shape[-1]
        n_in = int(np.prod(kernel.shape[:-1])) + bool(layer.use_bias)
        slices = tuple(flat.slices[index] for index in indices)
        found.append(WeightLayer(name, slices, n_in, int(n_out), layer))
    if refused and not leave_out:
        reasons = "; ".join(f"{name} {reason}" for name, reason in refused.items())
        raise InputError(
            f"layers of {model.name!r}: expected Dense, Conv1D and Conv2D, but {reasons}; hold "
            "these layers fixed by leave_out=True, or take a structure that needs no factors"
        )
    if not found:
        raise InputError(
            f"layers of {model.name!r}: expected at least one Dense, Conv1D or Conv2D layer with "
            "trainable weights, found none; take a structure that needs no factors"
        )
    return tuple(found)


def _reason_against(layer: "keras.layers.Layer | None", variables: list) -> str:
    """Say why a layer's Jacobian has no two factors; "" if it has."""
    import keras

    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
    # A subclass may do anything in its call.
    if not any(isinstance(layer, kind) and type(layer).call is kind.call for kind in kinds):
        return f"is {type(layer).__name__}"
    if getattr(layer, "groups", 1) != 1:
        return "convolves in groups"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "has a low-rank or quantised kernel"
    own = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    if [id(v) for v in own] != [id(v) for v in variables]:
        return "has weights beside kernel and bias, or shares them with another layer"
    return ""


@dataclass(frozen=True)
class _Tap:
    inputs: Any
    pre_activation: Any
    n_calls: int


@contextmanager
def _tapped(layers: Sequence[WeightLayer]) -> Iterator[dict[str, _Tap]]:
    """Keep what goes into each layer, and its pre-activation, while a network is called.

    The layers are given a ``call`` of their own for the time of tracing. A copy of the network
    would need its wiring, which only functional networks tell.
    """
    taps: dict[str, _Tap] = {}

    def tap(layer: WeightLayer) -> Any:
        own = vars(layer.layer)

        def call(inputs: "tf.Tensor", **options: Any) -> "tf.Tensor":
            activation = own["activation"]
            # Past Keras's own setter, which tracks what is set.
            own["activation"] = None
            try:
                z = type(layer.layer).call(layer.layer, inputs, **options)
            finally:
                own["activation"] = activation
            earlier = taps[layer.name].n_calls if layer.name in taps else 0
            taps[layer.name] = _Tap(inputs, z, earlier + 1)
            return z if activation is None else activation(z)

        return call

    try:
        for layer in layers:
            vars(layer.layer)["call"] = tap(layer)
        yield taps
    finally:
        for layer in layers:
            vars(layer.layer).pop("call", None)


def _inputs(layer: WeightLayer, tap: _Tap) -> "tf.Tensor":
    """Return (n, n_in) or (n, positions, n_in), with a 1 for the bias."""
    import keras
    import tensorflow as tf

    is_dense = isinstance(layer.layer, keras.layers.Dense)
    values = tap.inputs if is_dense else _patches(layer.layer, tap.inputs)
    if values.shape.rank > 2:
        values = tf.reshape(values, [tf.shape(values)[0], -1, values.shape[-1]])
    if layer.has_bias:
        values = tf.concat([values, tf.ones_like(values[..., :1])], axis=-1)
    return values


def _by_position(layer: WeightLayer, gradient: "tf.Tensor") -> "tf.Tensor":
    """Return (n, n_out) or (n, positions, n_out)."""
    import tensorflow as tf

    if gradient.shape.rank == 2:
        return gradient
    if getattr(layer.layer, "data_format", None) == "channels_first":
        gradient = tf.transpose(gradient, [0, *range(2, gradient.shape.rank), 1])
    return tf.reshape(gradient, [tf.shape(gradient)[0], -1, layer.n_out])


def _patches(layer: "keras.layers.Layer", inputs: "tf.Tensor") -> "tf.Tensor":
    """Cut out what each position of a convolution sees: (n, height, width, kernel · channels).

    The entries of a patch are in the order of the kernel: rows, columns, channels.
    """
    import tensorflow as tf

    if layer.data_format == "channels_first":
        inputs = tf.transpose(inputs, [0, *range(2, inputs.shape.rank), 1])
    kernel, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    padding = layer.padding
    if padding == "causal":
        inputs = tf.pad(inputs, [[0, 0], [dilation[0] * (kernel[0] - 1), 0], [0, 0]])
        padding = "valid"
    if layer.rank == 1:
        inputs = tf.expand_dims(inputs, 1)
        kernel, strides, dilation = (1, *kernel), (1, *strides), (1, *dilation)
    return tf.image.extract_patches(
        inputs,
        sizes=[1, *kernel, 1],
        strides=[1, *strides, 1],
        rates=[1, *dilation, 1],
        padding=padding.upper(),
    )
