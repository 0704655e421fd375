"""The last layer of a network, its loss and its reading, by the task; and whole networks."""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.errors import InputError
from starstack.models.classes import one_line
from starstack.networks.architectures import check_build, dense, resolve_builder

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Head:
    """How a network answers one kind of question.

    Attributes
    ----------
    activation : str
        Of the last layer.
    loss, metric : str
        What is minimised, and what may be shown beside it: classes of ``keras.losses`` and
        ``keras.metrics``.
    units : callable of int
        Width of the last layer for so many targets or classes.
    hidden_units : int
        Width of the one hidden layer of a ``dense`` body that leaves its width open.
    decode : callable of ndarray of shape (n, units)
        From the network's output to targets (n, k) or to the probabilities (n, C) of the classes.
    """

    activation: str
    loss: str
    metric: str
    units: Callable[[int], int]
    hidden_units: int
    decode: Callable[[np.ndarray], np.ndarray]


def _both_classes(output: np.ndarray) -> np.ndarray:
    second = np.asarray(output, dtype=np.float64)
    return np.hstack([1.0 - second, second])


def _normalised(output: np.ndarray) -> np.ndarray:
    """Make rows sum to one in double precision: a softmax does so in its own only."""
    output = np.asarray(output, dtype=np.float64)
    return output / output.sum(axis=1, keepdims=True)


HEADS: dict[str, Head] = {
    "regression": Head(
        activation="linear",
        loss="MeanSquaredError",
        metric="MeanAbsoluteError",
        units=lambda targets: targets,
        hidden_units=64,
        decode=np.asarray,
    ),
    "binary": Head(
        activation="sigmoid",
        loss="BinaryCrossentropy",
        metric="BinaryAccuracy",
        units=lambda classes: 1,
        hidden_units=32,
        decode=_both_classes,
    ),
    "multiclass": Head(
        activation="softmax",
        loss="SparseCategoricalCrossentropy",
        metric="SparseCategoricalAccuracy",
        units=lambda classes: classes,
        hidden_units=128,
        decode=_normalised,
    ),
}


def head_of(task: str, n_outputs: int) -> Head:
    """Choose the head for a task.

    Parameters
    ----------
    task : str
        ``regression`` or ``classification``.
    n_outputs : int
        Number of targets, or of classes. The labels of classes are the codes 0..C-1.

    Raises
    ------
    InputError
        If there are fewer than two classes, or no target.

    Examples
    --------
    >>> head_of("classification", 2).activation, head_of("classification", 3).activation
    ('sigmoid', 'softmax')
    """
    least = 1 if task == "regression" else 2
    if n_outputs < least:
        raise InputError(
            f"{task}: expected at least {least} {'target' if least == 1 else 'classes'}, got "
            f"{n_outputs}; a network has nothing to learn there"
        )
    if task == "regression":
        return HEADS["regression"]
    return HEADS["binary" if n_outputs == 2 else "multiclass"]


def make_network(
    build: "str | Callable[..., keras.Model]",
    build_params: Mapping[str, Any] | None = None,
    *,
    input_shape: Sequence[int],
    task: str,
    n_outputs: int,
    seed: int,
    allowed_packages: Sequence[str] = ("starstack",),
    dtype: str | None = None,
) -> "keras.Model":
    """Build a whole network: a body and the head for the task, not compiled.

    Initial weights, and the random numbers that dropout and noise will draw, are a function of
    the seed alone; the random states of Python, NumPy and Keras stay as they are.

    Parameters
    ----------
    build, build_params
        See `starstack.networks.architectures.resolve_builder`. An option ``weight_decay`` counts
        for the kernel of the head as well. A ``dense`` body without ``units`` has one hidden layer,
        as wide as its `Head` says.
    input_shape : sequence of int
        Shape of one row.
    task : str
        ``regression`` or ``classification``.
    n_outputs : int
        Number of targets or classes.
    seed : int
        Any integer.
    allowed_packages : sequence of str
        Packages that the dotted path of a builder may lead to.
    dtype : str, optional
        Keras's dtype policy, such as ``float64`` or ``mixed_float16``; by default the one that is
        set. Outputs are at least float32 in any case.

    Returns
    -------
    keras.Model
        From rows of `input_shape` to the output of the head.

    Raises
    ------
    InputError
        If the builder is not found, refuses its options or returns something else.

    Examples
    --------
    >>> network = make_network(
    ...     "starnet", input_shape=(7214,), task="regression", n_outputs=3, seed=1
    ... )
    >>> network.count_params()
    7419191
    """
    import keras

    check_build(build, build_params, allowed_packages)
    builder = resolve_builder(build, allowed_packages)
    head = head_of(task, n_outputs)
    options = dict(build_params or {})
    if builder is dense:
        options = {"units": (head.hidden_units,)} | options
    decay = options.get("weight_decay")
    name = getattr(builder, "__name__", str(build))
    with _seeded(seed), precision(dtype):
        try:
            body = builder(tuple(input_shape), **options)
        except InputError as error:
            raise InputError(f"network {name}: {error}") from error
        except Exception as error:
            raise InputError(
                f"network {name}: cannot be built for rows of shape {tuple(input_shape)}: the "
                f"builder raised {type(error).__name__}: {_reason(error)}"
            ) from error
        inputs, features = _ends(body, name)
        if len(features.shape) != 2:
            raise InputError(
                f"network {name}: expected a row of features from the builder, shape (units,); "
                f"got {tuple(features.shape[1:])}; end it with a Flatten layer"
            )
        policy = keras.config.dtype_policy()
        # Half precision would round a loss or a probability to three digits.
        half = policy.compute_dtype in ("float16", "bfloat16")
        layer = keras.layers.Dense(
            head.units(n_outputs),
            activation=head.activation,
            kernel_regularizer=keras.regularizers.L2(decay) if decay else None,
            dtype="float32" if half else policy.compute_dtype,
        )
        network = keras.Model(inputs, layer(features), name="network")
    _rename_layers(network.layers)
    return network


def _ends(body: Any, name: str) -> tuple[Any, Any]:
    """Give the one input and the one output of what a builder returned."""
    import keras

    wanted = f"network {name}: expected a functional keras.Model of one input and one output from "
    if not isinstance(body, keras.Model):
        raise InputError(f"{wanted}the builder; got {type(body).__name__}")
    try:
        inputs, outputs = list(body.inputs), list(body.outputs)
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{wanted}the builder; got {type(body).__name__} without inputs; start it with "
            "keras.Input(input_shape)"
        ) from None
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{wanted}the builder; got {len(inputs)} and {len(outputs)}")
    return inputs[0], outputs[0]


def _rename_layers(layers: Sequence["keras.Layer"]) -> None:
    """Rename layers without a name of their own, by their order in the network.

    Keras numbers them by all that the process has built before, and writes the names to files.
    """
    kinds = {layer: _snake_case(type(layer).__name__) for layer in layers}
    unnamed = [x for x, kind in kinds.items() if re.fullmatch(rf"{kind}(_\d+)?", x.name)]
    taken = {layer.name for layer in layers} - {layer.name for layer in unnamed}
    for layer in unnamed:
        names = (f"{kinds[layer]}_{i}" if i else kinds[layer] for i in itertools.count())
        layer.name = next(name for name in names if name not in taken)
        taken.add(layer.name)
    for layer in layers:
        _rename_layers(getattr(layer, "layers", ()))


def _snake_case(name: str) -> str:
    """Name a kind of layer as Keras does."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed whatever is built here.

    An initialiser or a dropout layer without a seed takes one from Python's own generator when it
    is made (``keras.random.SeedGenerator``), also in a builder of a user's own.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def precision(dtype: str | None) -> Iterator[None]:
    """Build and train networks in the precision of one of Keras's dtype policies.

    Parameters
    ----------
    dtype : str or None
        Such as ``float64`` or ``mixed_float16``; None for the one that is set.
    """
    import keras

    policy, default = keras.config.dtype_policy(), keras.config.floatx()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
        # Penalties and losses follow the default type, which may not be less precise.
        keras.config.set_floatx("float64" if dtype == "float64" else "float32")
    try:
        yield
    finally:
        keras.config.set_floatx(default)
        keras.config.set_dtype_policy(policy)


def _reason(error: Exception) -> str:
    """Fold an error of Keras into one line, without its colours and its list of arguments."""
    text = re.sub(r"\x1b\[\d*m", "", one_line(error))
    text = text.partition(" Arguments received by ")[0]
    return text.removeprefix("Exception encountered when calling ")
