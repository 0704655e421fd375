"""The likelihood is that of the loss as Keras itself takes it, or the network is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.batches import Batches
from starstack.curvature.diagnosis import diagnose
from starstack.curvature.loss_reading import LossReading, check_link, read_loss
from starstack.curvature.structures import STRUCTURES, laplace, load
from starstack.errors import InputError

RNG = np.random.default_rng(0)
X, CODES = RNG.standard_normal((30, 3)), RNG.integers(0, 3, 30)
SPARSE, BINARY = "sparse_categorical_crossentropy", "binary_crossentropy"


def layer(name, *arguments, **options):
    return lambda: getattr(keras.layers, name)(*arguments, **options)


def own_softmax(z):
    return keras.ops.exp(z) / keras.ops.sum(keras.ops.exp(z), -1, keepdims=True)


ENDS = {
    "logits": (3, []),
    "softmax": (3, [layer("Softmax")]),
    "activation": (3, [layer("Activation", "softmax")]),
    "dropout after": (3, [layer("Softmax"), layer("Dropout", 0.5)]),
    "reshape after": (3, [layer("Softmax"), layer("Reshape", (3,))]),
    "flatten after": (3, [layer("Softmax"), layer("Flatten")]),
    "TensorFlow's": (3, [layer("Lambda", tf.nn.softmax)]),
    "one's own": (3, [layer("Lambda", own_softmax)]),
    "sigmoid": (1, [layer("Activation", "sigmoid")]),
    "sigmoid, flatten after": (1, [layer("Activation", "sigmoid"), layer("Flatten")]),
    "logit": (1, []),
}
UNSEEN = {"reshape after", "flatten after", "TensorFlow's", "one's own", "sigmoid, flatten after"}


# Keras takes what went into the softmax, and says so.
@pytest.mark.filterwarnings("ignore:.*received `from_logits=True`:UserWarning")
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_the_likelihood_is_minus_kerass_own_loss(oracle, end, from_logits):
    k, layers = ENDS[end]
    model = oracle.network((3,), oracle.dense(4, "tanh"), oracle.dense(k), *layers)
    kind = keras.losses.SparseCategoricalCrossentropy
    y = CODES if k == 3 else CODES[:, None] % 2
    loss = (kind if k == 3 else keras.losses.BinaryCrossentropy)(from_logits=from_logits)
    no_end = end in ("logit", "logits")
    if not from_logits and (no_end or end in UNSEEN):
        with pytest.raises(InputError, match="from_logits=False, probabilities, whose logits"):
            laplace(model, (X, y), loss=loss)
        return
    found = laplace(model, (X, y), loss=loss).likelihood.log_probability
    # Of `call`: `__call__` rounds to float32, and what went into a softmax is lost by that.
    expected = -30 * np.mean(loss.call(y, model(X)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_structure_takes_probabilities_for_logits(oracle, structure):
    """A convolution with a softmax, flattened; a sigmoid, flattened."""
    model = oracle.network((6, 2), oracle.conv1d(3, 6, activation="softmax"), layer("Flatten"))
    rows = (RNG.standard_normal((30, 6, 2)), CODES)
    with pytest.raises(InputError, match=r"let it end in one \(Flatten and Reshape go before"):
        laplace(model, rows, loss=SPARSE, structure=structure)
    model = oracle.network((3,), oracle.dense(1, "sigmoid"), layer("Flatten"))
    with pytest.raises(InputError, match="its last operation is no sigmoid"):
        laplace(model, (X, CODES % 2), loss=BINARY, structure=structure)


def test_a_family_alone_takes_logits_and_refuses_what_looks_like_probabilities(oracle):
    bare, softmax = oracle.network((3,), oracle.dense(3)), layer("Lambda", own_softmax)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = laplace(bare, (X, CODES), loss=loss).likelihood
    assert laplace(bare, (X, CODES), loss="categorical").likelihood == expected
    model = oracle.network((3,), oracle.dense(3), softmax)
    with pytest.raises(InputError, match="look like probabilities"):
        laplace(model, (X, CODES), loss="categorical")


@pytest.mark.parametrize(("link", "family"), [("sigmoid", "categorical"), ("softmax", "bernoulli")])
def test_a_loss_of_the_other_link_is_refused(oracle, link, family):
    model = oracle.network((3,), oracle.dense(3, link))
    with pytest.raises(InputError, match="of its logits, got differences up to 0"):
        check_link(model, X, LossReading(family, from_logits=True))


@pytest.mark.parametrize("matrix", ["gauss_newton", "hessian"])
@pytest.mark.parametrize("kind", ["categorical", "codes", "binary"])
def test_label_smoothing_is_that_of_keras(oracle, kind, matrix):
    """Value by Keras's loss, gradient by differentiating it; Gauss–Newton is as without it."""
    end = "sigmoid" if kind == "binary" else "softmax"
    model = oracle.network((3,), oracle.dense(4, "tanh"), oracle.dense(3, end))
    name = "BinaryCrossentropy" if kind == "binary" else "CategoricalCrossentropy"
    smooth, plain = (getattr(keras.losses, name)(label_smoothing=s) for s in (0.2, 0.0))
    shares = np.eye(3)[CODES]
    data = Batches(X, CODES if kind == "codes" else shares, batch_size=8)
    options = {"structure": "exact", "prior_precision": 30.0, "matrix": matrix}
    found, usual = (laplace(model, data, loss=loss, **options) for loss in (smooth, plain))
    n_terms = 90 if kind == "binary" else 30
    expected = -n_terms * float(smooth(shares, model(X)))
    np.testing.assert_allclose(found.likelihood.log_probability, expected, rtol=1e-5)
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        total = n_terms * tf.reduce_mean(smooth.call(tf.constant(shares), model(X)))
    parts = [np.ravel(part) for part in tape.gradient(total, variables)]
    gradient = np.linalg.norm(np.concatenate(parts))
    record = diagnose(found, data)
    np.testing.assert_allclose(record.data_gradient_norm, gradient, rtol=1e-9)
    assert abs(diagnose(usual, data).data_gradient_norm / gradient - 1) > 0.01
    same = np.allclose(found.precision(), usual.precision(), rtol=1e-9, atol=1e-12)
    assert same == (matrix == "gauss_newton")


def test_label_smoothing_is_kept_in_the_file(oracle, tmp_path):
    model = oracle.network((3,), oracle.dense(3, "softmax"))
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    posterior = laplace(model, (X, np.eye(3)[CODES]), loss=loss)
    posterior.save(tmp_path / "posterior.h5")
    assert load(tmp_path / "posterior.h5", model).likelihood == posterior.likelihood
    assert posterior.likelihood.label_smoothing == 0.2


@pytest.mark.parametrize(
    ("loss", "family"),
    [
        (keras.losses.mean_squared_error, "gaussian"),
        (keras.losses.MeanSquaredError, "gaussian"),
        (keras.losses.sparse_categorical_crossentropy, "categorical"),
        ("MSE", "gaussian"),
        ("bernoulli", "bernoulli"),
    ],
)
def test_losses_of_keras_are_known_by_name_class_and_function(loss, family):
    assert read_loss(loss).family == family


class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """A loss of one's own of a known name."""


def mean_squared_error(y, z):
    return (y - z) ** 4


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("hinge", "squared error or a cross-entropy"),
        (None, "squared error or a cross-entropy"),
        (BinaryCrossentropy(), "a cross-entropy of Keras"),
        (mean_squared_error, "a cross-entropy of Keras"),
        (keras.losses.BinaryFocalCrossentropy(), "'BinaryFocalCrossentropy': expected"),
        (keras.losses.CategoricalCrossentropy(axis=1), "got it with axis=1; leave that out"),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=0), "ignore_class=0"),
        (keras.losses.BinaryCrossentropy(label_smoothing=2.0), "label_smoothing=2"),
    ],
)
def test_other_losses_and_options_are_refused(loss, message):
    with pytest.raises(InputError, match=message):
        read_loss(loss)


LIKE_PROBABILITIES = {
    "dense": [],
    "dropout": [layer("Dropout", 0.5)],
    "flatten": [layer("Reshape", (1, 1)), layer("Flatten")],
    "named linear": [layer("Activation", "linear")],
}


@pytest.mark.parametrize("end", LIKE_PROBABILITIES)
def test_logits_that_happen_to_lie_between_0_and_1_are_logits(oracle, end):
    """A dense layer without an activation makes no probabilities, wherever its numbers lie."""
    model = oracle.network((3,), oracle.dense(1), *LIKE_PROBABILITIES[end])
    model.set_weights([np.full((3, 1), 1e-3), np.array([0.5])])
    y = CODES[:, None] % 2
    found = laplace(model, (X, y), loss="bernoulli").likelihood.log_probability
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    np.testing.assert_allclose(found, -30 * np.mean(loss.call(y, model(X))), rtol=1e-6)


@pytest.mark.parametrize(
    "layers",
    [
        ["sigmoid", layer("Flatten")],
        [None, layer("Lambda", tf.sigmoid)],
        [None, layer("Rescaling", 1e-3, offset=0.5)],
        ["hard_sigmoid"],
    ],
)
def test_what_may_be_probabilities_is_asked_about(oracle, layers):
    activation, *others = layers
    model = oracle.network((3,), oracle.dense(1, activation), *others)
    with pytest.raises(InputError, match=r"look like probabilities.*a loss of from_logits=True$"):
        laplace(model, (X, CODES % 2), loss="bernoulli")


def test_a_network_inside_a_network_says_what_it_ends_in(oracle):
    def inside(activation):
        inner = oracle.network((3,), oracle.dense(2), oracle.dense(1, activation))
        model = oracle.network((3,), oracle.dense(3), lambda: inner)
        model.set_weights([1e-3 * np.ones_like(w) for w in model.get_weights()])
        return model

    assert laplace(inside(None), (X, CODES % 2), structure="exact", loss="bernoulli")
    with pytest.raises(InputError, match="look like probabilities"):
        laplace(inside("hard_sigmoid"), (X, CODES % 2), structure="exact", loss="bernoulli")
