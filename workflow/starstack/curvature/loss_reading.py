"""What a loss of Keras says of a network's outputs, and whether the network's end agrees with it.

A loss of probabilities that is taken of logits, or the other way round, has a value, a gradient and
a curvature too: those of another likelihood.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax

from starstack.autodiff.inference import inference_function
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

# Names of Keras, lower case and without underscores.
FAMILIES = {
    "mse": "gaussian",
    "meansquarederror": "gaussian",
    "binarycrossentropy": "bernoulli",
    "categoricalcrossentropy": "categorical",
    "sparsecategoricalcrossentropy": "categorical",
}
# Options of Keras's losses that change no likelihood, and those that are read.
KNOWN_OPTIONS = {"name", "reduction", "dtype", "from_logits", "label_smoothing"}
LINKS = {
    "bernoulli": ("sigmoid", expit),
    "categorical": ("softmax", lambda logits: softmax(logits, axis=1)),
}
# Layers that leave each number as it is at inference.
_PASSING = ("ActivityRegularization", "Dropout", "Flatten", "Identity", "Permute", "Reshape")
# Layers whose numbers are any at all without an activation.
_AFFINE = ("Conv1D", "Conv2D", "Conv3D", "Dense", "EinsumDense")
# Of probabilities in single precision.
ROUNDING = 1e-4


@dataclass(frozen=True)
class LossReading:
    """What a loss says of the outputs.

    Attributes
    ----------
    family : str
        ``gaussian``, ``bernoulli`` or ``categorical``.
    from_logits : bool or None
        Whether a cross-entropy takes outputs that no sigmoid or softmax has made for logits; None
        where a family was named, which does not say.
    label_smoothing : float
        Share s of a label that is spread evenly over its classes.
    """

    family: str
    from_logits: bool | None = None
    label_smoothing: float = 0.0


def read_loss(loss: Any) -> LossReading:
    """Read a loss of Keras.

    Parameters
    ----------
    loss : str, keras.losses.Loss or callable
        A name as Keras writes it, an instance, or a function of Keras; or the family itself.

    Raises
    ------
    InputError
        If the loss has no such likelihood, or an option that changes it in a way not known here.

    Examples
    --------
    >>> read_loss("mse").family, read_loss("SparseCategoricalCrossentropy").family
    ('gaussian', 'categorical')
    """
    import keras

    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    short = name.replace("_", "").lower()
    if isinstance(loss, str) and short in FAMILIES.values():
        return LossReading(short)
    # A loss of one's own may have the name of one of Keras's.
    own = getattr(keras.losses, name, None)
    if short not in FAMILIES or not (isinstance(loss, str) or loss is own or type(loss) is own):
        raise InputError(
            f"loss {name!r}: expected squared error or a cross-entropy of Keras "
            f"({', '.join(FAMILIES)}), whose likelihood is known; give one of these"
        )
    options = loss.get_config() if type(loss) is own else {}
    plain = type(loss)().get_config() if options else {}
    others = [
        f"{option}={value!r}"
        for option, value in options.items()
        if option not in KNOWN_OPTIONS and value != plain.get(option)
    ]
    smoothing = float(options.get("label_smoothing", 0.0))
    if not 0 <= smoothing <= 1:
        others.append(f"label_smoothing={smoothing:g}")
    if others:
        raise InputError(
            f"loss {name!r}: expected one whose likelihood is known, got it with "
            f"{', '.join(others)}; leave that out"
        )
    return LossReading(FAMILIES[short], bool(options.get("from_logits", False)), smoothing)


def check_link(model: "keras.Model", x: np.ndarray, reading: LossReading) -> None:
    """Refuse a network whose logits are not those of the probabilities that its loss is taken of.

    Keras takes what goes into a sigmoid or softmax at the very end for logits, whatever the loss
    says, and so does `starstack.autodiff.inference.inference_function`. Of other outputs the loss
    says whether they are logits or probabilities; the logits behind such probabilities cannot be
    found. Where a family alone is named, the last layer says it, and for layers of one's own and
    subclassed networks, of which nothing is known, the outputs: between 0 and 1, they may be both.

    Parameters
    ----------
    model : keras.Model
        The network.
    x : ndarray of shape (n, ...)
        Some rows to try it on.
    reading : LossReading
        Of its loss.

    Raises
    ------
    InputError
        If the outputs are probabilities without logits, or of other logits than the loss takes.
    """
    if reading.family == "gaussian":
        return
    outputs = inference_function(model)(x)
    logits, found = getattr(outputs, "_keras_logits", None), _by_row(outputs)
    link, probabilities = LINKS[reading.family]
    if logits is None:
        if reading.from_logits or (
            reading.from_logits is None
            and (_is_unbounded(model) or not _like_probabilities(found, reading.family))
        ):
            return
        believed = "look like" if reading.from_logits is None else "are, by from_logits=False,"
        raise InputError(
            f"loss: the outputs of model {model.name!r} {believed} probabilities, whose logits are "
            f"not found, as its last operation is no {link} of Keras; let it end in one (Flatten "
            "and Reshape go before it), or, if its outputs are logits, give a loss of "
            "from_logits=True"
        )
    made = probabilities(_by_row(logits))
    if not np.allclose(found, made, rtol=0, atol=ROUNDING, equal_nan=True):
        raise InputError(
            f"loss: expected the outputs of model {model.name!r} to be the {link} of its logits, "
            f"got differences up to {np.nanmax(np.abs(found - made)):.2g}; give it one {link} at "
            "its end, or a loss that belongs to the end it has"
        )


def _is_unbounded(model: "keras.Model") -> bool:
    """Whether the outputs are for sure those of a layer without an activation, and so any number.

    False where the network does not say what it computes.
    """
    import keras

    tensor = (getattr(model, "outputs", None) or [None])[0]
    while (history := getattr(tensor, "_keras_history", None)) is not None:
        made_by, name = history.operation, type(history.operation).__name__
        if type(made_by) is not getattr(keras.layers, name, None):
            outputs = (
                getattr(made_by, "outputs", None) if isinstance(made_by, keras.Model) else None
            )
            tensor = outputs[history.tensor_index] if outputs else None
            continue
        linear = getattr(made_by, "activation", None) is keras.activations.linear
        if name in _AFFINE:
            return linear
        passes = name in _PASSING or (name == "Activation" and linear)
        inputs = made_by._inbound_nodes[history.node_index].input_tensors
        tensor = inputs[0] if passes else None
    return False


def _by_row(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), -1)


def _like_probabilities(values: np.ndarray, family: str) -> bool:
    inside = bool(((values >= 0) & (values <= 1)).all())
    if family == "bernoulli":
        return inside
    return inside and np.allclose(values.sum(axis=1), 1, rtol=0, atol=ROUNDING)
