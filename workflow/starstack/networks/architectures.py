"""The bodies of networks: builders from an input shape to features, without the last layer.

A builder takes the shape of one row and keyword options, and returns a functional (or built
sequential) ``keras.Model``; `starstack.networks.heads` adds the layer that the task needs. The
depth of a network is the length of its list of units or filters, its width their values. Keras is
imported inside the builders, so that options can be checked without it.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from starstack.errors import InputError
from starstack.models.classes import check_allowed, nearest, one_line, unknown

if TYPE_CHECKING:
    import keras

NORMALIZATIONS = ("none", "batch", "layer")
CELLS = ("gru", "lstm")


def dense(
    input_shape: Sequence[int],
    *,
    units: Sequence[int] = (64,),
    activation: str = "relu",
    kernel_initializer: str = "he_normal",
    dropout: float = 0.0,
    normalization: str = "none",
    weight_decay: float = 0.0,
    input_noise: float = 0.0,
) -> "keras.Model":
    """Build fully connected layers.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one row; more than one dimension is flattened.
    units : sequence of int
        Width of each layer; an empty list leaves the input as it is (a linear model).
    activation : str
        Of every layer, by its name in Keras.
    kernel_initializer : str
        Of every kernel, by its name in Keras.
    dropout : float
        Share of the activations of each hidden layer that is left out in training.
    normalization : str
        ``none``, ``batch`` or ``layer``; stands between a layer and its activation.
    weight_decay : float
        L2 penalty: this times the sum of squares of every kernel is added to the loss.
    input_noise : float
        Standard deviation of Gaussian noise that is added to the (scaled) inputs in training.

    Returns
    -------
    keras.Model
        From the input to features of shape (units[-1],).
    """
    layers = _Layers(activation, kernel_initializer, dropout, normalization, weight_decay)
    inputs, x = _start(input_shape, input_noise)
    return _end(inputs, layers.dense(_flat(x), units))


def starnet(
    input_shape: Sequence[int],
    *,
    filters: Sequence[int] = (4, 16),
    kernel_size: int = 8,
    pool_size: int = 4,
    units: Sequence[int] = (256, 128),
    activation: str = "relu",
    kernel_initializer: str = "he_normal",
    dropout: float = 0.0,
    normalization: str = "none",
    weight_decay: float = 0.0,
    input_noise: float = 0.0,
) -> "keras.Model":
    """Build the one-dimensional convolutional network of StarNet [1]_.

    Convolutions along the spectrum, one max-pooling, then dense layers. The defaults are the
    published ones.

    Parameters
    ----------
    input_shape : sequence of int
        ``(pixels,)`` or ``(pixels, channels)``.
    filters : sequence of int
        Number of filters of each convolution.
    kernel_size : int
        Width of the filters in pixels.
    pool_size : int
        Pixels that the max-pooling after the last convolution joins.
    units : sequence of int
        Width of each dense layer.
    activation, kernel_initializer, dropout, normalization, weight_decay, input_noise
        As in `dense`.

    Returns
    -------
    keras.Model
        From the input to features of shape (units[-1],).

    References
    ----------
    .. [1] Fabbro, S. et al. (2018), "An application of deep learning in the analysis of stellar
       spectra", Monthly Notices of the Royal Astronomical Society 475, 2978.
    """
    import keras

    layers = _Layers(activation, kernel_initializer, dropout, normalization, weight_decay)
    inputs, x = _start(input_shape, input_noise)
    x = _with_channels(x, 1)
    for count in filters:
        x = layers.hidden(x, keras.layers.Conv1D, count, kernel_size, padding="same")
    if pool_size > 1:
        x = keras.layers.MaxPooling1D(pool_size)(x)
    return _end(inputs, layers.dense(_flat(x), units))


def cnn_2d(
    input_shape: Sequence[int],
    *,
    filters: Sequence[int] = (16, 32),
    kernel_size: int = 3,
    pool_size: int = 2,
    units: Sequence[int] = (64,),
    activation: str = "relu",
    kernel_initializer: str = "he_normal",
    dropout: float = 0.0,
    normalization: str = "none",
    weight_decay: float = 0.0,
    input_noise: float = 0.0,
) -> "keras.Model":
    """Build a convolutional network for images: convolution and max-pooling, then dense layers.

    Parameters
    ----------
    input_shape : sequence of int
        ``(rows, columns)`` or ``(rows, columns, channels)``.
    filters : sequence of int
        Number of filters of each convolution; each is followed by a max-pooling.
    kernel_size : int
        Side of the square filters in pixels.
    pool_size : int
        Side of the squares that a max-pooling joins; 1 for none.
    units : sequence of int
        Width of each dense layer.
    activation, kernel_initializer, dropout, normalization, weight_decay, input_noise
        As in `dense`.

    Returns
    -------
    keras.Model
        From the input to features of shape (units[-1],).
    """
    import keras

    layers = _Layers(activation, kernel_initializer, dropout, normalization, weight_decay)
    inputs, x = _start(input_shape, input_noise)
    x = _with_channels(x, 2)
    for count in filters:
        x = layers.hidden(x, keras.layers.Conv2D, count, kernel_size, padding="same")
        if pool_size > 1:
            x = keras.layers.MaxPooling2D(pool_size)(x)
    return _end(inputs, layers.dense(_flat(x), units))


def recurrent(
    input_shape: Sequence[int],
    *,
    cell: str = "gru",
    units: Sequence[int] = (32,),
    bidirectional: bool = False,
    unroll: bool = False,
    activation: str = "tanh",
    kernel_initializer: str = "glorot_uniform",
    dropout: float = 0.0,
    normalization: str = "none",
    weight_decay: float = 0.0,
    input_noise: float = 0.0,
) -> "keras.Model":
    """Build recurrent layers that read a row of data step by step.

    Parameters
    ----------
    input_shape : sequence of int
        ``(steps,)`` or ``(steps, values)``, such as the rows of an image.
    cell : str
        ``gru`` or ``lstm``.
    units : sequence of int
        Width of each recurrent layer; the last one's final state is the output.
    bidirectional : bool
        Read backwards too, with as many units again.
    unroll : bool
        Write the steps out one by one: quicker for a few steps, slower to start.
    activation : str
        Of the cells.
    kernel_initializer : str
        Of the kernels that take the inputs; the recurrent kernels start orthogonal.
    dropout : float
        Share of the outputs of each layer that is left out in training.
    normalization : str
        ``none``, ``batch`` or ``layer``; stands after each layer.
    weight_decay : float
        L2 penalty on all kernels, the recurrent ones too.
    input_noise : float
        As in `dense`.

    Returns
    -------
    keras.Model
        From the input to features of shape (units[-1],), or twice as many.
    """
    import keras

    layers = _Layers(None, kernel_initializer, dropout, normalization, weight_decay)
    inputs, x = _start(input_shape, input_noise)
    x = _with_channels(x, 1)
    cls = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell]
    for number, count in enumerate(units, start=1):
        layer = cls(
            count,
            activation=activation,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=layers.regularizer(),
            recurrent_regularizer=layers.regularizer(),
            return_sequences=number < len(units),
            unroll=unroll,
        )
        layer = keras.layers.Bidirectional(layer) if bidirectional else layer
        x = layers.finish(layer(x))
    return _end(inputs, x)


ARCHITECTURES: dict[str, Callable[..., "keras.Model"]] = {
    "dense": dense,
    "starnet": starnet,
    "cnn_2d": cnn_2d,
    "recurrent": recurrent,
}

_POSITIVE = Interval(Integral, 1, None, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_OPTION_CONSTRAINTS: dict[str, list] = {
    "units": ["array-like"],
    "filters": ["array-like"],
    "kernel_size": [_POSITIVE],
    "pool_size": [_POSITIVE],
    "cell": [StrOptions(set(CELLS))],
    "bidirectional": ["boolean"],
    "unroll": ["boolean"],
    "activation": [str],
    "kernel_initializer": [str],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "normalization": [StrOptions(set(NORMALIZATIONS))],
    "weight_decay": [_NOT_NEGATIVE],
    "input_noise": [_NOT_NEGATIVE],
}


def resolve_builder(
    build: str | Callable[..., "keras.Model"],
    allowed_packages: Sequence[str] = ("starstack",),
    where: str = "build",
) -> Callable[..., "keras.Model"]:
    """Find a builder by its short name, its dotted path, or as it is.

    Parameters
    ----------
    build : str or callable
        A key of `ARCHITECTURES`, the dotted path of a function, or a function.
    allowed_packages : sequence of str
        Packages that a dotted path may lead to.
    where : str
        Opens every message.

    Raises
    ------
    InputError
        If there is no such builder, or its package is not allowed.

    Examples
    --------
    >>> resolve_builder("dense").__name__
    'dense'
    """
    if callable(build):
        return build
    if isinstance(build, str) and build in ARCHITECTURES:
        return ARCHITECTURES[build]
    if not isinstance(build, str) or "." not in build:
        known = [*ARCHITECTURES, "the dotted path of a function"]
        raise InputError(f"{where}: {unknown('architecture', build, known)}")
    check_allowed(build, allowed_packages, where)
    module_name, _, name = build.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise InputError(f"{where}: {module_name} cannot be imported: {one_line(error)}") from error
    except AttributeError:
        names = vars(importlib.import_module(module_name))
        raise InputError(
            f"{where}: {module_name} has no function {name!r}{nearest(name, names)}"
        ) from None
    if not callable(found):
        raise InputError(
            f"{where}: expected a function that builds a network; {build} is a "
            f"{type(found).__name__}"
        )
    # A module hands out whatever it imported itself: the function must be the package's own.
    check_allowed(f"{found.__module__}.{name}", allowed_packages, where)
    return found


def check_build(
    build: str | Callable[..., "keras.Model"],
    build_params: Mapping[str, Any] | None,
    allowed_packages: Sequence[str] = ("starstack",),
    where: str = "build",
) -> None:
    """Check a builder and the names and values of its options, without importing Keras.

    The values of a builder of your own are its own business.

    Raises
    ------
    InputError
        If the builder cannot be found, or does not take an option or its value.
    """
    builder = resolve_builder(build, allowed_packages, where)
    given = dict(build_params or {})
    parameters = list(inspect.signature(builder).parameters.values())[1:]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters]
        for name in given:
            if name not in known:
                what = unknown(f"option of {builder.__name__}", name, known)
                raise InputError(f"{where}_params: {what}")
    if builder not in ARCHITECTURES.values():
        return
    try:
        validate_parameter_constraints(_OPTION_CONSTRAINTS, given, builder.__name__)
        for name in ("units", "filters"):
            for value in given.get(name, ()):
                validate_parameter_constraints({name: [_POSITIVE]}, {name: value}, builder.__name__)
    except ValueError as error:
        raise InputError(f"{where}_params: {one_line(error)}") from error


class _Layers:
    """What the hidden layers of one body have in common."""

    def __init__(
        self,
        activation: str | None,
        kernel_initializer: str,
        dropout: float,
        normalization: str,
        weight_decay: float,
    ) -> None:
        self.activation = activation
        self.kernel_initializer = kernel_initializer
        self.dropout = dropout
        self.normalization = normalization
        self.weight_decay = weight_decay

    def regularizer(self) -> "keras.Regularizer | None":
        import keras

        return keras.regularizers.L2(self.weight_decay) if self.weight_decay else None

    def hidden(self, x: Any, layer: type, *args: int, **options: object) -> Any:
        built = layer(
            *args,
            **options,
            # A normalisation subtracts the mean, and any bias with it.
            use_bias=self.normalization != "batch",
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.regularizer(),
        )
        return self.finish(built(x))

    def dense(self, x: Any, units: Sequence[int]) -> Any:
        import keras

        for count in units:
            x = self.hidden(x, keras.layers.Dense, count)
        return x

    def finish(self, x: Any) -> Any:
        import keras

        if self.normalization == "batch":
            x = keras.layers.BatchNormalization()(x)
        elif self.normalization == "layer":
            x = keras.layers.LayerNormalization()(x)
        if self.activation is not None:
            x = keras.layers.Activation(self.activation)(x)
        return keras.layers.Dropout(self.dropout)(x) if self.dropout else x


def _start(input_shape: Sequence[int], noise: float) -> tuple[Any, Any]:
    import keras

    inputs = keras.Input(tuple(input_shape))
    return inputs, keras.layers.GaussianNoise(noise)(inputs) if noise else inputs


def _with_channels(x: Any, dimensions: int) -> Any:
    """Give data of ``dimensions`` axes one channel; data that have channels stay."""
    import keras

    shape = tuple(x.shape[1:])
    if len(shape) == dimensions:
        return keras.layers.Reshape((*shape, 1))(x)
    if len(shape) != dimensions + 1:
        raise InputError(
            f"expected rows of {dimensions} dimension(s), with or without channels; got shape "
            f"{shape}; set input_shape"
        )
    return x


def _flat(x: Any) -> Any:
    import keras

    return keras.layers.Flatten()(x) if len(x.shape) > 2 else x


def _end(inputs: Any, features: Any) -> "keras.Model":
    import keras

    return keras.Model(inputs, features)
