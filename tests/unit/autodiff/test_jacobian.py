"""Input Jacobians against closed forms, products of masked matrices, and finite differences."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_array

from starstack.autodiff.jacobian import InputJacobian, input_jacobian
from starstack.autodiff.propagation import propagated_covariance
from starstack.errors import InputError

keras = pytest.importorskip("keras")

RNG = np.random.default_rng(0)


def network(layers, shape=(6,), dtype="float64"):
    """Build a model in double precision, with biases that are not zero."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input(shape, dtype=dtype), *layers()])
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        value = variable.numpy()
        variable.assign(value + 0.1 * rng.standard_normal(value.shape))
    return model


def dense_layers(activation, last="linear", k=3):
    def layers():
        Dense = keras.layers.Dense
        return [Dense(9, activation), Dense(8, activation), Dense(k, last)]

    return layers


def central_differences(model, x, step=1e-5):
    """Differentiate by moving one input of one row at a time."""
    flat = x.reshape(len(x), -1)
    columns = []
    for column in range(flat.shape[1]):
        moved = np.zeros_like(flat)
        moved[:, column] = step
        up, down = (
            np.asarray(model((flat + sign * moved).reshape(x.shape), training=False))
            for sign in (1, -1)
        )
        columns.append((up - down) / (2 * step))
    return np.stack(columns, axis=2)


def worst(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_a_linear_model_has_its_transposed_kernel():
    model = network(lambda: [keras.layers.Dense(4)])
    x = RNG.standard_normal((5, 6))
    found = input_jacobian(model, x)
    kernel = model.layers[0].kernel.numpy()
    assert np.array_equal(found, np.broadcast_to(kernel.T, (5, 4, 6)))


def test_a_relu_stack_is_the_product_of_its_masked_matrices():
    model = network(dense_layers("relu"))
    x = RNG.standard_normal((20, 6))
    weights = [(layer.kernel.numpy(), layer.bias.numpy()) for layer in model.layers]
    for method in ("products", "per_output"):
        found = InputJacobian(model, method=method, batch_size=7)(x)
        for row, jacobian in zip(x, found, strict=True):
            product, h = np.eye(6), row
            for kernel, bias in weights[:-1]:
                z = h @ kernel + bias
                product = product @ kernel * (z > 0)
                h = np.maximum(z, 0)
            assert np.allclose(jacobian, (product @ weights[-1][0]).T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("activation", "last"),
    [("tanh", "softmax"), ("silu", "linear"), ("elu", "sigmoid"), ("gelu", "softmax")],
)
def test_smooth_stacks_agree_with_central_differences(activation, last):
    model = network(dense_layers(activation, last))
    x = RNG.standard_normal((4, 6))
    function = InputJacobian(model, batch_size=4)
    assert function.stack is not None
    assert worst(function(x), central_differences(model, x)) < 1e-8


def normalised():
    layers = keras.layers
    return [
        layers.Rescaling(0.5, offset=0.1),
        layers.BatchNormalization(),
        layers.Dense(7),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Dropout(0.5),
        layers.GaussianNoise(1.0),
        layers.Dense(5, "tanh"),
        layers.Dense(2),
    ]


def test_what_stands_between_dense_layers_counts():
    model = network(normalised)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(RNG.uniform(0.5, 2, layer.moving_variance.shape))
            layer.moving_mean.assign(RNG.standard_normal(layer.moving_mean.shape))
    x = RNG.standard_normal((4, 6))
    function = InputJacobian(model, batch_size=4)
    assert function.stack is not None
    assert worst(function(x), central_differences(model, x)) < 1e-8


def convolutions():
    layers = keras.layers
    return [
        layers.Conv1D(3, 3, activation="tanh"),
        layers.AveragePooling1D(2),
        layers.Flatten(),
        layers.Dense(4, "tanh"),
        layers.Dense(2),
    ]


def recurrent():
    return [keras.layers.GRU(5), keras.layers.Dense(3, "softmax")]


def layer_normalised():
    layers = keras.layers
    return [layers.Dense(7), layers.LayerNormalization(), layers.Dense(3, "tanh"), layers.Dense(2)]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [(convolutions, (12, 1)), (recurrent, (4, 3)), (layer_normalised, (6,))],
    ids=["convolutions", "gru", "layer normalisation"],
)
def test_other_networks_agree_with_central_differences(layers, shape):
    model = network(layers, shape)
    x = RNG.standard_normal((3, *shape))
    function = InputJacobian(model, batch_size=2)
    found = function(x)
    assert function.stack is None
    assert found.shape == (3, model.output_shape[-1], np.prod(shape))
    assert worst(found, central_differences(model, x)) < 1e-7
    # Rows may also come flattened, in row-major order.
    assert np.array_equal(function(x.reshape(3, -1)), found)


def functional():
    inputs = keras.Input((6,), dtype="float64")
    hidden = keras.layers.Dense(5, "tanh", dtype="float64")(inputs)
    joined = keras.layers.Concatenate(dtype="float64")([inputs, hidden])
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float64")(joined))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(dtype="float64")
        self.hidden = keras.layers.Dense(4, "tanh", dtype="float64")
        self.head = keras.layers.Dense(2, dtype="float64")

    def call(self, x):
        return self.head(self.hidden(x))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 6)))
    return model


@pytest.mark.parametrize("build", [functional, subclassed])
def test_branches_and_subclasses_are_differentiated_too(build):
    model = build()
    x = RNG.standard_normal((3, 6))
    assert InputJacobian(model).stack is None
    assert worst(input_jacobian(model, x), central_differences(model, x)) < 1e-8


@pytest.mark.parametrize("input_scale", [0.05, np.array([0.5, 2, 3, 1, 0.1, 7])])
@pytest.mark.parametrize("method", ["products", "per_output"])
def test_scales_turn_it_into_physical_units(method, input_scale):
    model = network(dense_layers("tanh"))
    x, mean, target_scale = RNG.standard_normal((3, 6)), 1.5, np.array([500.0, 1.0, 0.3])
    found = InputJacobian(
        model, method=method, input_scale=input_scale, target_scale=target_scale, batch_size=3
    )(x)

    def physical(raw, training):
        return np.asarray(model((raw - mean) / input_scale)) * target_scale

    expected = central_differences(physical, x * input_scale + mean, step=1e-6)
    assert worst(found, expected) < 1e-7


@pytest.mark.parametrize("layers", [dense_layers("relu"), layer_normalised])
def test_the_batch_size_does_not_matter(layers):
    model = network(layers)
    x = RNG.standard_normal((23, 6))
    whole = input_jacobian(model, x, batch_size=23)
    for batch_size in (1, 7, 256):
        assert np.allclose(input_jacobian(model, x, batch_size=batch_size), whole, rtol=1e-12)


def test_one_row_keeps_its_axis():
    model = network(dense_layers("relu"))
    x = RNG.standard_normal((2, 6))
    assert np.allclose(input_jacobian(model, x[:1]), input_jacobian(model, x)[:1])
    assert input_jacobian(model, x[:1]).shape == (1, 3, 6)


@pytest.mark.parametrize("method", ["products", "per_output"])
def test_it_is_compiled_once_and_sees_later_weights(method):
    model = network(dense_layers("relu"))
    function = InputJacobian(model, method=method, batch_size=4)
    for n in (1, 4, 11):
        function(RNG.standard_normal((n, 6)))
    assert function.n_traces == 1
    x = RNG.standard_normal((2, 6))
    before = function(x)
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    assert np.allclose(function(x), 2 * before)
    assert function.n_traces == 1


def test_single_precision_stays_single():
    model = network(dense_layers("relu"), dtype="float32")
    x = RNG.standard_normal((5, 6))
    found = input_jacobian(model, x)
    assert found.dtype == np.float32
    assert worst(InputJacobian(model, method="per_output")(x), found) < 1e-5


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        (
            {"input_scale": [1.0, 2.0]},
            np.ones((2, 6)),
            "input_scale has 2 values; expected one",
        ),
        ({"target_scale": 0.0}, np.ones((2, 6)), "target_scale has a value"),
        ({"input_scale": object()}, np.ones((2, 6)), "input_scale is of type object; expected"),
        ({}, np.ones((2, 5)), "the model takes rows of shape \\(6,\\)"),
        ({}, np.ones((0, 6)), "no rows"),
        ({"batch_size": 0}, np.ones((2, 6)), "batch_size"),
    ],
)
def test_what_does_not_fit_is_refused(options, x, message):
    with pytest.raises(InputError, match=message):
        input_jacobian(network(dense_layers("relu")), x, **options)


@pytest.mark.parametrize("x", [None, [["a", "b", "c"]], csr_array(np.ones((2, 3)))], ids=repr)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(x):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for use in (input_jacobian, lambda *given: propagated_covariance(*given, 1.0)):
        with pytest.raises(InputError, match=r"^x has shape .*numbers in a dense array[^\n]*$"):
            use(model, x)


def test_products_are_refused_for_other_networks():
    with pytest.raises(InputError, match="no plain stack of Dense layers"):
        InputJacobian(network(layer_normalised), method="products")


def test_whole_numbers_have_no_derivative():
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), keras.layers.Embedding(5, 2), keras.layers.Flatten()]
    )
    with pytest.raises(InputError, match="no derivative by whole numbers"):
        input_jacobian(model, np.ones((2, 4)))


@pytest.mark.parametrize("method", ["auto", "per_output"])
@pytest.mark.parametrize(("declared", "computed"), [("float64", "float32"), ("float32", "float64")])
def test_the_input_may_be_of_another_type_than_the_layers(declared, computed, method):
    layers = [keras.layers.Dense(3, "tanh", dtype=computed), keras.layers.Dense(2, dtype=computed)]
    model = keras.Sequential([keras.Input((4,), dtype=declared), *layers])
    first, bias, second, _ = model.get_weights()
    x = RNG.standard_normal((5, 4))
    slope = 1 - np.tanh(x @ first + bias) ** 2
    expected = np.einsum("ph,nh,hk->nkp", first, slope, second) * 7
    found = InputJacobian(model, method=method, target_scale=7.0)(x)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_layers_of_several_types_are_differentiated_one_output_at_a_time():
    layers = [keras.layers.Dense(3, dtype="float32"), keras.layers.Dense(2, dtype="float64")]
    model = keras.Sequential([keras.Input((4,), dtype="float64"), *layers])
    first, _, second, _ = model.get_weights()
    found = input_jacobian(model, np.ones((2, 4)))
    assert np.allclose(found, (first @ second).T, rtol=1e-5, atol=1e-6)


def test_images_with_their_channels_first_are_refused():
    """As many numbers, in another order."""
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = network(lambda: layers, shape=(4, 5, 3))
    x = RNG.standard_normal((2, 4, 5, 3))
    assert np.array_equal(input_jacobian(model, x), input_jacobian(model, x.reshape(2, -1)))
    with pytest.raises(
        InputError, match=r"shape \(2, 3, 4, 5\); .*\(4, 5, 3\), or flat ones of 60"
    ):
        input_jacobian(model, x.transpose(0, 3, 1, 2))


class Mixing(Subclassed):
    def call(self, x):
        outputs = super().call(x)
        return outputs - keras.ops.mean(outputs, axis=0)


@pytest.mark.parametrize("batch_size", [1, 256])
def test_subclassed_models_that_mix_rows_are_refused(batch_size):
    """Only rows can show it: the model does not tell the shape of its inputs."""
    model, x = Mixing(), RNG.standard_normal((5, 6))
    model(x)
    with pytest.raises(InputError, match="mixes the rows of a batch"):
        input_jacobian(model, x, batch_size=batch_size)
    with pytest.raises(InputError, match="mixes the rows of a batch"):
        InputJacobian(model, batch_size=batch_size)(x)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("activation", ["relu", "linear", "tanh"])
def test_rows_that_are_not_finite_are_refused(activation, value):
    """The derivative of a rectified unit at NaN is zero, and that of a linear one is its weight."""
    model, x = network(dense_layers(activation)), RNG.standard_normal((9, 6))
    x[7, 2] = value
    with pytest.raises(InputError, match="row '7' is NaN or infinite"):
        input_jacobian(model, x, batch_size=4)
    assert np.isfinite(input_jacobian(model, x[:7], batch_size=4)).all()


def test_large_inputs_whose_sum_overflows_are_finite():
    model = network(lambda: [keras.layers.Dense(4)], dtype="float32")
    found = input_jacobian(model, np.full((3, 6), 3e38))
    assert np.array_equal(found[0], model.layers[0].kernel.numpy().T)


def test_an_embedding_has_no_derivative_whatever_the_type_of_its_input():
    layers = [keras.layers.Embedding(5, 2), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    with pytest.raises(InputError, match="no output has a derivative"):
        input_jacobian(model, np.ones((2, 4)))


def test_an_output_that_is_constant_has_zeros():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, name="hidden")(inputs)
    ones = keras.layers.Lambda(lambda h: keras.ops.ones_like(h))(hidden)
    model = keras.Model(inputs, keras.layers.Concatenate()([hidden, ones]))
    found = input_jacobian(model, np.ones((2, 3)))
    assert np.array_equal(found[0, :2], model.get_layer("hidden").kernel.numpy().T)
    assert not found[:, 2:].any()


MANY = """
import keras, numpy as np
from starstack.autodiff import input_jacobian, propagated_covariance
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
for _ in range(6):
    input_jacobian(model, np.ones((1, 2)))
    propagated_covariance(model, np.ones((1, 2)), 1.0)
"""


def test_many_calls_are_no_reason_to_warn():
    """TensorFlow warns, twice in a process, of one method that is traced for many objects."""
    ran = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    assert "retracing" not in ran.stderr


def relu(x):
    return keras.ops.relu(x - keras.ops.mean(x, axis=1, keepdims=True))


class Rescaling(keras.layers.Layer):
    def call(self, x):
        return x / keras.ops.sum(x * x, axis=1, keepdims=True)


class Identity(keras.layers.Layer):
    def call(self, x):
        return 3 * x


class ReLU(keras.layers.Layer):
    def call(self, x):
        return relu(x)


class Dense(keras.layers.Dense):
    def call(self, x):
        return super().call(x) * keras.ops.sum(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "own",
    [
        Rescaling,
        Identity,
        ReLU,
        lambda: Dense(6),
        lambda: keras.layers.Dense(6, relu),
        lambda: keras.layers.Activation(relu),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_only_called_like_a_layer_of_keras_is_differentiated_as_it_is(own, place):
    def layers():
        chain = [keras.layers.Dense(6, "tanh"), keras.layers.Dense(3)]
        return [*chain[:place], own(), *chain[place:]]

    model, x = network(layers), RNG.standard_normal((4, 6))
    assert worst(input_jacobian(model, x), central_differences(model, x)) < 1e-7


def test_what_mixes_values_still_does_with_a_function_of_single_values_after_it():
    def layers():
        mixing = [keras.layers.Softmax(), keras.layers.LeakyReLU(), keras.layers.Dense(3)]
        return [keras.layers.Dense(6), *mixing]

    model, x = network(layers), RNG.standard_normal((4, 6))
    assert worst(input_jacobian(model, x), central_differences(model, x)) < 1e-7


@pytest.mark.parametrize("method", ["products", "per_output"])
@pytest.mark.parametrize("scale", [1e-40, np.r_[1e-40, np.ones(5)]])
def test_scales_beyond_single_precision_are_refused(method, scale):
    model = network(dense_layers("relu"), dtype="float32")
    with pytest.raises(InputError, match=r"a factor of 1.0e\+40 on a derivative, beyond float32"):
        InputJacobian(model, input_scale=scale, method=method)(np.ones((2, 6)))
