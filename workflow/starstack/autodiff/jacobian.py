"""Derivatives of a network's outputs with respect to its inputs.

J[n, c, i] = ∂output_c/∂input_i of row n. Two ways lead there: stacks of Dense layers multiply their
matrices (`starstack.autodiff.dense_stack`), all other models take one vector-Jacobian product per
output (`starstack.autodiff.output_rows`). Measured on two cores, in Jacobians per second:

======================================  ========  ============  ===============
network                                 products  per output    batch_jacobian
======================================  ========  ============  ===============
7213-2048-1024-512-256-128-32-3         1430      940           1430
StarNet, 2400 pixels                    –         1980          770
two-dimensional convolutions, 10 classes –        13000         7400
recurrent (GRU), 10 classes             –         4000          3000
======================================  ========  ============  ===============

XLA makes the recurrent network 2.4 times faster, and the others slower (dense: 0.35 times).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from starstack.autodiff.dense_stack import dense_stack
from starstack.autodiff.inference import check_model, inference_function
from starstack.autodiff.output_rows import output_rows
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

METHODS = ("auto", "products", "per_output")


class InputJacobian:
    """The input Jacobian of a model, compiled once for batches of one shape.

    Parameters
    ----------
    model : keras.Model
        A built model; it is run in inference mode. Later changes of its weights count.
    input_scale : float or array of shape (p,), optional
        What the inputs were divided by; 1 by default.
    target_scale : float or array of shape (k,), optional
        What the outputs are to be multiplied by; 1 by default.
    batch_size : int
        Rows at once. The last ones are filled up by repetition, so that one compilation serves.
    method : str
        ``products`` of the matrices of Dense layers, ``per_output`` for any model, ``auto`` for the
        first where it can be.
    jit_compile : bool, optional
        Compile with XLA; by default only networks with recurrent layers, which gain by it.

    Raises
    ------
    InputError
        If the model is random or stateful in inference mode, takes whole numbers, or is no stack of
        Dense layers where ``products`` are asked for.
    """

    def __init__(
        self,
        model: "keras.Model",
        *,
        input_scale: np.ndarray | float | None = None,
        target_scale: np.ndarray | float | None = None,
        batch_size: int = 256,
        method: str = "auto",
        jit_compile: bool | None = None,
    ) -> None:
        import tensorflow as tf

        if method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(METHODS)}; got {method!r}")
        if int(batch_size) != batch_size or batch_size < 1:
            raise InputError(f"batch_size: expected a whole number from 1, got {batch_size!r}")
        self.model, self.batch_size = model, int(batch_size)
        self._infer = inference_function(model)
        self.stack = None if method == "per_output" else dense_stack(model)
        if method == "products" and self.stack is None:
            raise InputError(
                f"model '{model.name}' is no plain stack of Dense layers; use method='auto'"
            )
        self._input_scale, self._target_scale = input_scale, target_scale
        jit = _is_recurrent(model) if jit_compile is None else jit_compile
        # TensorFlow warns of many traces of one method, though each is of another object's.
        own = partial(self.jacobian_tensor)
        self._compiled = tf.function(own, jit_compile=jit, autograph=False)
        self._tried = False

    @property
    def n_traces(self) -> int:
        """How often TensorFlow has compiled; 1 after the first batch."""
        return self._compiled.experimental_get_tracing_count()

    @property
    def n_outputs(self) -> int:
        """Number of outputs of a model that tells its shape."""
        return int(np.prod(self.model.output_shape[1:]))

    def jacobian_tensor(self, x: "tf.Tensor") -> "tf.Tensor":
        """Return the scaled Jacobian of a batch, shape (n, k, p), inside a ``tf.function``."""
        import tensorflow as tf

        input_scale = scale_vector(self._input_scale, int(np.prod(x.shape[1:])), "input")
        common = (input_scale == input_scale[0]).all()
        common_scale = input_scale[0] if common else 1
        if self.stack is not None:
            rows = self.stack.jacobian(x, self._row_factors(self.n_outputs, common_scale, x.dtype))
        else:
            rows = output_rows(self._infer, x)
            k = rows.shape[1]
            factors = self._row_factors(k, common_scale, x.dtype)
            rows = tf.reshape(rows, [x.shape[0], k, -1]) * factors[:, None]
        return rows if common else rows * _constant(1 / input_scale, x.dtype)

    def _row_factors(self, k: int, common_scale: float, dtype: "tf.DType") -> "tf.Tensor":
        return _constant(scale_vector(self._target_scale, k, "target") / common_scale, dtype)

    def batches(
        self, x: np.ndarray, names: Sequence | None = None
    ) -> "Iterator[tuple[slice, tf.Tensor]]":
        """Yield rows of x in batches of one shape, as the model takes them.

        Parameters
        ----------
        x : ndarray of shape (n, p) or (n, *shape)
            Rows.
        names : sequence, optional
            Of the rows, for messages; their positions by default.

        Yields
        ------
        rows : slice
            Which rows of x; those of the batch that only fill it up come after them.
        batch : tensor of shape (batch_size, *shape)

        Raises
        ------
        InputError
            If a row is not finite, or the model is random or mixes rows: a subclassed model shows
            that only on rows, hence on the first batch.
        """
        import tensorflow as tf

        x = self.as_inputs(x)
        for start in range(0, len(x), self.batch_size):
            part = x[start : start + self.batch_size]
            _check_finite(part, range(start, len(x)) if names is None else names[start:])
            missing = self.batch_size - len(part)
            if missing:
                part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            if not self._tried:
                check_model(self.model, part)
                self._tried = True
            yield slice(start, min(start + self.batch_size, len(x))), tf.constant(part)

    def as_inputs(self, x: np.ndarray) -> np.ndarray:
        """Give rows the type and shape of the model's input.

        Raises
        ------
        InputError
            If there are no rows, or rows of neither the model's shape nor as many numbers in one
            axis: channels in another place would be as many numbers, too.
        """
        x = as_rows(x)
        shape, dtype = _input_shape(self.model), _input_dtype(self.model)
        if None not in shape:
            if x.shape[1:] not in (shape, (np.prod(shape),)):
                raise InputError(
                    f"x has shape {x.shape}; the model takes rows of shape {shape}, or flat ones "
                    f"of {np.prod(shape)} numbers"
                )
            x = x.reshape(len(x), *shape)
        x = x.astype(dtype, copy=False)
        # Layers of Keras cast what they take; bare kernels do not.
        return x if self.stack is None else x.astype(self.stack.dtype, copy=False)

    def of_batch(self, batch: "tf.Tensor") -> np.ndarray:
        """Differentiate at all rows of one of the `batches`; the result is not to be written to."""
        # A view of TensorFlow's memory: .numpy() would copy 22 MB per batch of 256 spectra.
        return np.asarray(memoryview(self._compiled(batch)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Differentiate at rows of x, of shape (n, p) or (n, *shape).

        Returns
        -------
        ndarray of shape (n, k, p)
            In the precision of the model.
        """
        jacobian = None
        for rows, batch in self.batches(x):
            part = self.of_batch(batch)[: rows.stop - rows.start]
            if jacobian is None:
                jacobian = np.empty((len(x), *part.shape[1:]), dtype=part.dtype)
            jacobian[rows] = part
        return jacobian


def input_jacobian(
    model: "keras.Model",
    x: np.ndarray,
    *,
    input_scale: np.ndarray | float | None = None,
    target_scale: np.ndarray | float | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Differentiate the outputs of a model with respect to its inputs.

    Each call compiles; for several, make one `InputJacobian`.

    With the scales of the network, J = target_scale · ∂output/∂input · 1/input_scale is the
    derivative of the prediction in its unit with respect to the raw input in its unit: K per unit
    of flux, say.

    Parameters
    ----------
    model : keras.Model
        Any built model; it is run in inference mode.
    x : ndarray of shape (n, p) or (n, *shape)
        Rows as the model takes them, hence scaled.
    input_scale : float or array of shape (p,), optional
        What the inputs were divided by.
    target_scale : float or array of shape (k,), optional
        What the outputs are to be multiplied by.
    batch_size : int
        Rows at once.

    Returns
    -------
    ndarray of shape (n, k, p)
        In the precision of the model; inputs of several dimensions are flattened in row-major
        order, and n = 1 keeps its axis. All of it is in memory: for many rows see
        `starstack.autodiff.jacobian_stream.stream_input_jacobian`.

    Raises
    ------
    InputError
        If the model is random or stateful in inference mode or has no derivative by its inputs, or
        rows have another width, or are NaN or infinite.

    Examples
    --------
    The Jacobian of a linear model is its transposed kernel:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.set_weights([np.arange(6.0).reshape(3, 2), np.zeros(2)])
    >>> input_jacobian(model, np.ones((1, 3)), target_scale=10.0).tolist()
    [[[0.0, 20.0, 40.0], [10.0, 30.0, 50.0]]]
    """
    x = as_rows(x)
    function = InputJacobian(
        model,
        input_scale=input_scale,
        target_scale=target_scale,
        batch_size=min(batch_size, len(x)),
    )
    return function(x)


def as_rows(x: np.ndarray) -> np.ndarray:
    """Return rows as an array.

    Raises
    ------
    InputError
        If there are none, or what came are no numbers, such as None, text or a sparse matrix.
    """
    x = np.asarray(x)
    if not x.ndim or x.dtype.kind not in "biuf":
        raise InputError(
            f"x has shape {x.shape} and type {x.dtype}; expected numbers in a dense array, one row "
            "per example"
        )
    if not len(x):
        raise InputError("x has no rows; expected at least one")
    return x


def scale_vector(scale: np.ndarray | float | None, size: int, what: str) -> np.ndarray:
    """Return a scale as one number per input or output, float64 of shape (size,).

    Raises
    ------
    InputError
        If it is no number or numbers, has another length, or a value that is not finite and
        positive.
    """
    try:
        given = np.ones(1) if scale is None else np.asarray(scale, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise InputError(
            f"{what}_scale is of type {type(scale).__name__}; expected a number, or one per "
            f"{what}: the scale_ of a scaler, say"
        ) from None
    if given.size not in (1, size):
        raise InputError(
            f"{what}_scale has {given.size} values; expected one, or {size}: one per {what}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise InputError(f"{what}_scale has a value that is not finite and above 0")
    return np.broadcast_to(given, size)


def _constant(factors: np.ndarray, dtype: "tf.DType") -> "tf.Tensor":
    import tensorflow as tf

    with np.errstate(over="ignore"):
        cast = factors.astype(dtype.as_numpy_dtype)
    if not np.isfinite(cast).all():
        raise InputError(
            f"the scales make a factor of {factors.max():.1e} on a derivative, beyond "
            f"{dtype.name}; choose other units, or build the model in float64"
        )
    return tf.constant(cast)


def _check_finite(rows: np.ndarray, names: Sequence) -> None:
    """Refuse rows that are not finite: rectified units would hide them."""
    # Faster than looking at each: in a sum what is not finite stays so.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):
            return
    bad = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
    if len(bad):
        raise InputError(
            f"row '{names[bad[0]]}' is NaN or infinite in some input; expected finite numbers: "
            "fill or leave out such rows"
        )


def _input_shape(model: "keras.Model") -> tuple[int | None, ...]:
    """Return the shape of a row; unknown for subclassed models."""
    try:
        return tuple(model.inputs[0].shape[1:])
    except (AttributeError, IndexError, TypeError, ValueError):
        return (None,)


def _input_dtype(model: "keras.Model") -> str:
    try:
        dtype = model.inputs[0].dtype
    except (AttributeError, IndexError, TypeError, ValueError):
        dtype = model.compute_dtype
    if not dtype.startswith("float"):
        raise InputError(
            f"model '{model.name}' takes {dtype}; outputs have no derivative by whole numbers"
        )
    return dtype


def _is_recurrent(model: "keras.Model") -> bool:
    import keras

    layers = model._flatten_layers(include_self=False, recursive=True)
    return any(isinstance(layer, keras.layers.RNN) for layer in layers)
