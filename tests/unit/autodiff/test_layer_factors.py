"""Factors of layers: their outer products are the Jacobian that TensorFlow finds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.layer_factors import FactorFunction, factors_by_layer, weight_layers
from starstack.autodiff.layers import trainable_layers
from starstack.errors import InputError

layers = keras.layers


@pytest.fixture(autouse=True)
def double_precision():
    # Both: the first layer that any test makes fixes the policy, and floatx is not asked any more.
    before = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(3)
    yield
    keras.config.set_dtype_policy(before[0])
    keras.config.set_floatx(before[1])


def jacobian(model, x):
    """Return the Jacobian of the outputs by all weights, (n, k, P), by TensorFlow alone."""
    rows = []
    for row in x:
        with tf.GradientTape(persistent=True) as tape:
            outputs = tf.reshape(model(row[None], training=False), [-1])
        parts = [
            tape.jacobian(
                outputs, v.value, experimental_use_pfor=False, unconnected_gradients="zero"
            )
            for v in model.trainable_variables
        ]
        rows.append(np.concatenate([p.numpy().reshape(len(outputs), -1) for p in parts], axis=1))
    return np.stack(rows)


def from_factors(model, factors, n, k):
    found = np.zeros((FlatParameters(model).size, n * k))
    for one in factors:
        a, g = one.activations, one.deltas
        a, g = (a[:, None], g[:, :, None]) if a.ndim == 2 else (a, g)
        matrix = np.einsum("nti,kntj->ijnk", a, g).reshape(one.layer.n_in, one.layer.n_out, -1)
        one.layer.scatter(matrix, found)
    return found.T.reshape(n, k, -1)


def sequential(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


def branched():
    inputs = keras.Input((6,))
    left = layers.Dense(4, "tanh")(inputs)
    right = layers.Dense(4, "relu")(layers.Rescaling(0.5)(inputs))
    joined = layers.Concatenate()([layers.Add()([left, right]), inputs])
    return keras.Model(inputs, layers.Dense(2)(joined))


def nested():
    body = sequential((6,), layers.Dense(5, "gelu"), layers.Dropout(0.5))
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(3, "softplus")(body(inputs)))


NETWORKS = {
    "dense": lambda: sequential((6,), layers.Dense(5, "tanh"), layers.Dense(3)),
    "without bias": lambda: sequential(
        (6,), layers.Dense(5, "elu", use_bias=False), layers.Dense(3)
    ),
    "on positions": lambda: sequential(
        (4, 3), layers.Dense(5, "tanh"), layers.Flatten(), layers.Dense(2)
    ),
    "branched": branched,
    "nested": nested,
    "with batch normalisation without weights": lambda: sequential(
        (6,),
        layers.Dense(5, "tanh"),
        layers.BatchNormalization(center=False, scale=False),
        layers.Dense(2),
    ),
    "frozen layer": lambda: sequential(
        (6,), layers.Dense(5, "tanh", trainable=False), layers.Dense(4, "tanh"), layers.Dense(2)
    ),
}
for padding in ("valid", "same", "causal"):
    for steps in ({}, {"strides": 2}, {"dilation_rate": 3}):
        NETWORKS[f"Conv1D {padding} {steps}"] = lambda padding=padding, steps=steps: sequential(
            (11, 2),
            layers.Conv1D(3, 3, padding=padding, activation="tanh", **steps),
            layers.Conv1D(2, 2, use_bias=False),
            layers.Flatten(),
            layers.Dense(2),
        )
for padding in ("valid", "same"):
    for steps in ({}, {"strides": (2, 3)}, {"dilation_rate": (2, 1)}):
        NETWORKS[f"Conv2D {padding} {steps}"] = lambda padding=padding, steps=steps: sequential(
            (7, 6, 2),
            layers.Conv2D(3, (3, 2), padding=padding, activation="tanh", **steps),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_factors_are_the_jacobian(name):
    model = NETWORKS[name]()
    x = np.random.default_rng(1).standard_normal((4, *model.input_shape[1:]))
    expected = jacobian(model, x)
    found = from_factors(model, factors_by_layer(model, x), 4, expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    assert np.abs(expected).max() > 1e-3


def test_the_network_is_as_it_was():
    model = NETWORKS["dense"]()
    x = np.ones((3, 6))
    before = model(x).numpy()
    factors = FactorFunction(model)
    factors(x)
    np.testing.assert_array_equal(model(x).numpy(), before)
    assert all("call" not in vars(layer) for layer in model.layers)
    assert model.layers[0].activation is keras.activations.tanh


def test_other_batch_sizes_and_other_weights_do_not_compile_anew():
    model = NETWORKS["dense"]()
    factors = FactorFunction(model)
    for n in (5, 2, 7):
        outputs, _ = factors(np.ones((n, 6)))
        assert outputs.shape == (n, 3)
    assert factors._compiled.experimental_get_tracing_count() == 1
    model.layers[-1].bias.assign([10.0, 20.0, 30.0])
    outputs, _ = factors(np.ones((1, 6)))
    np.testing.assert_allclose(outputs, model(np.ones((1, 6))))


@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
def test_logits_are_differentiated_where_asked(link):
    model = sequential((6,), layers.Dense(4, "tanh"), layers.Dense(3, link))
    logits = sequential((6,), layers.Dense(4, "tanh"), layers.Dense(3))
    logits.set_weights(model.get_weights())
    x = np.random.default_rng(0).standard_normal((3, 6))
    for ours, theirs in zip(
        factors_by_layer(model, x, logits=True), factors_by_layer(logits, x), strict=True
    ):
        np.testing.assert_allclose(ours.deltas, theirs.deltas, rtol=1e-12)
    expected = jacobian(model, x)
    found = from_factors(model, factors_by_layer(model, x), 3, 3)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_matrices_go_into_vectors_and_back():
    model = branched()
    flat = np.random.default_rng(0).standard_normal((FlatParameters(model).size, 2))
    copy = np.zeros_like(flat)
    for layer in weight_layers(model):
        matrix = layer.gather(flat)
        assert matrix.shape == (layer.n_in, layer.n_out, 2)
        layer.scatter(matrix, copy)
    np.testing.assert_array_equal(copy, flat)


class Doubled(layers.Dense):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs)


def shared():
    inputs, layer = keras.Input((6,)), layers.Dense(6, name="twice")
    return keras.Model(inputs, layer(layer(inputs)))


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (
            lambda: sequential((5, 2), layers.LSTM(3, name="memory"), layers.Dense(1)),
            "memory is",
        ),
        (
            lambda: sequential((6,), layers.Dense(3), layers.BatchNormalization(name="bn")),
            "bn is BatchN",
        ),
        (lambda: sequential((6,), Doubled(3, name="own")), "own is Doubled"),
        (
            lambda: sequential((6, 4), layers.Conv1D(4, 2, groups=2, name="parts")),
            "parts convolves in groups",
        ),
        (
            lambda: sequential((6,), layers.Dense(3, layers.PReLU(), name="slopes")),
            "slopes has weights beside",
        ),
    ],
)
def test_layers_without_two_factors_are_named(build, names):
    with pytest.raises(InputError, match=names):
        FactorFunction(build())


def test_a_layer_called_twice_is_refused():
    with pytest.raises(InputError, match=r"twice.*more than once"):
        FactorFunction(shared())(np.ones((2, 6)))


def test_other_layers_can_be_left_out():
    model = sequential((5, 2), layers.LSTM(3, name="memory"), layers.Dense(2, name="last"))
    factors = FactorFunction(model, leave_out=True)
    assert [layer.name for layer in factors.layers] == ["last"]
    x = np.random.default_rng(0).standard_normal((3, 5, 2))
    found = from_factors(model, factors_by_layer(model, x, leave_out=True), 3, 2)
    own = factors.layers[0].slices
    expected = jacobian(model, x)
    for part in own:
        np.testing.assert_allclose(found[..., part], expected[..., part], atol=1e-12)


@pytest.mark.parametrize("given", [["memory"], "memory", 1])
def test_layers_are_not_left_out_by_name(given):
    model = sequential((5, 2), layers.LSTM(3, name="memory"), layers.Dense(2))
    with pytest.raises(InputError, match="leave_out: expected True or False, got"):
        FactorFunction(model, leave_out=given)


def test_a_network_without_such_a_layer_is_refused():
    model = sequential((5, 2), layers.LSTM(3))
    with pytest.raises(InputError, match="at least one Dense"):
        FactorFunction(model, leave_out=True)


def test_layers_that_are_not_there_are_named():
    model = NETWORKS["dense"]()
    with pytest.raises(InputError, match=r"expected some of dense.*got conv"):
        FactorFunction(model, only=["conv"])


def test_layers_are_named_and_their_weights_numbered():
    model = nested()
    found = trainable_layers(model)
    assert sorted(index for indices in found.values() for index in indices) == [0, 1, 2, 3]
    names = [layer.name for layer in model.layers[1].layers if layer.trainable_variables]
    assert list(found) == [*names, model.layers[-1].name]


def test_layers_of_one_name_have_their_paths():
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="same")], name="inner")
    model = keras.Model(inputs, layers.Dense(1, name="same")(inner(inputs)))
    assert len(trainable_layers(model)) == 2
