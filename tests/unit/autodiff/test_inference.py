"""Inference mode: dropout off, moving statistics fixed, and what stays random refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.inference import (
    check_model,
    check_no_mask,
    coarsest_type,
    has_logits,
    inference_function,
    input_dtype,
    warn_of_tf32,
)
from starstack.autodiff.jacobian import input_jacobian
from starstack.autodiff.products import Products
from starstack.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4)).astype(np.float32)


def sequence(*layers, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *layers])


class Noisy(keras.layers.Layer):
    """Random whatever the mode, by a generator that belongs to it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal((4,), seed=self.generator)


class Hidden(keras.layers.Layer):
    """Random whatever the mode, from outside of Keras."""

    def call(self, x):
        return x + np.random.default_rng().normal()


class Counter(keras.layers.Layer):
    """Remembers how often it was called."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return x * 1.0


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dropout(0.5),
        keras.layers.BatchNormalization(),
        keras.layers.GaussianNoise(1.0),
        keras.layers.SpatialDropout1D(0.5),
    ],
    ids=lambda layer: layer.name,
)
def test_random_layers_run_in_inference_mode(layer):
    shape = (4, 2) if "1d" in layer.name else (4,)
    model = sequence(layer, keras.layers.Dense(2), shape=shape)
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    infer = inference_function(model)
    np.testing.assert_array_equal(infer(x), infer(x))
    np.testing.assert_array_equal(infer(x), model(x, training=False))


@pytest.mark.parametrize("kind", [Noisy, Hidden, Counter])
def test_what_stays_random_or_remembers_is_refused_by_name(kind):
    model = sequence(keras.layers.Dense(4), kind(name="culprit"), keras.layers.Dense(1))
    with pytest.raises(InputError, match="layer 'culprit'"):
        check_model(model)


def test_the_check_leaves_the_state_as_it_was():
    model = sequence(Counter(name="counter"), keras.layers.Dense(1))
    before = float(model.layers[0].count.numpy())
    with pytest.raises(InputError):
        check_model(model)
    assert float(model.layers[0].count.numpy()) == before


def test_stateful_recurrent_layers_are_refused():
    model = keras.Sequential(
        [keras.Input(batch_shape=(2, 5, 3)), keras.layers.GRU(2, stateful=True, name="memory")]
    )
    with pytest.raises(InputError, match=r"layer 'memory' .* is stateful"):
        check_model(model)


def test_half_precision_is_refused():
    model = sequence(keras.layers.Dense(2, dtype="mixed_bfloat16", name="coarse"))
    with pytest.raises(InputError, match=r"layer 'coarse' .* bfloat16"):
        check_model(model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("last", [False, True])
def test_half_precision_of_layers_without_weights_is_refused(dtype, last):
    coarse = keras.layers.Activation("tanh", dtype=dtype, name="coarse")
    dense = keras.layers.Dense(2)
    model = sequence(*([dense, coarse] if last else [coarse, dense]))
    with pytest.raises(InputError, match=rf"layer 'coarse' \(Activation\) computes in {dtype}"):
        check_model(model)


def test_an_input_of_half_precision_is_refused_and_whole_numbers_are_not():
    tokens = keras.Sequential(
        [keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 2), keras.layers.Flatten()]
    )
    check_model(tokens)
    half = keras.Sequential([keras.Input((2,), dtype="float16"), keras.layers.Dense(1)])
    with pytest.raises(InputError, match=r"\(InputLayer\) computes in float16"):
        check_model(half)


class Heads(keras.Model):
    """Gives its outputs in a container that it is told."""

    def __init__(self, pack):
        super().__init__()
        self.one, self.two, self.pack = keras.layers.Dense(1), keras.layers.Dense(1), pack

    def call(self, x):
        return self.pack(self.one(x), self.two(x))


CONTAINERS = {
    "tuple": (lambda a, b: (a, b), "has 2 outputs; expected one"),
    "dict": (lambda a, b: {"a": a, "b": b}, "has 2 outputs; expected one"),
    "list": (lambda a, b: [a + b], "gives its output in a list; expected the output itself"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_several_outputs_of_a_subclassed_model_are_refused(container, n):
    pack, message = CONTAINERS[container]
    model = Heads(pack)
    model(X)
    with pytest.raises(InputError, match=message):
        input_jacobian(model, X[:n])
    with pytest.raises(InputError, match=message):
        Products(model, "mse", (X[:n], X[:n, :1]))


def test_what_the_machine_cannot_run_is_told_in_one_line(monkeypatch):
    model = sequence(keras.layers.Dense(2))
    reason = (
        "\x1b[1m{{function_node x}} The op only supports NHWC. [Op:Conv2D] name: \x1b[0m\n\nMore"
    )

    def refuse(*args, **kwargs):
        raise tf.errors.UnimplementedError(None, None, f"Exception encountered in it.\n\n{reason}")

    monkeypatch.setattr(type(model), "call", refuse)
    with pytest.raises(
        InputError, match=r"cannot run on this machine: The op only supports NHWC\.$"
    ):
        check_model(model)


def test_several_inputs_or_outputs_are_refused():
    one, two = keras.Input((2,)), keras.Input((2,))
    both = keras.layers.Add()([one, two])
    with pytest.raises(InputError, match="2 inputs"):
        check_model(keras.Model([one, two], keras.layers.Dense(1)(both)))
    for other_width in (2, 3):  # before the data, which make no table
        data = [np.ones((4, 2)), np.ones((4, other_width))], np.ones(4)
        with pytest.raises(InputError, match="2 inputs"):
            Products(keras.Model([one, two], keras.layers.Dense(1)(both)), "mse", data)
    heads = [keras.layers.Dense(1)(one), keras.layers.Dense(1)(one)]
    with pytest.raises(InputError, match="2 outputs"):
        check_model(keras.Model(one, heads))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_logits_are_what_goes_into_the_last_activation(activation, as_layer):
    dense = keras.layers.Dense(3, None if as_layer else activation)
    layers = [dense, keras.layers.Activation(activation)] if as_layer else [dense]
    model = sequence(*layers)
    kernel, bias = model.get_weights()
    assert has_logits(model, X)
    np.testing.assert_allclose(
        inference_function(model, logits=True)(X), X @ kernel + bias, rtol=1e-5, atol=1e-6
    )


def test_a_linear_model_has_no_other_logits():
    model = sequence(keras.layers.Dense(3))
    assert not has_logits(model, X)
    np.testing.assert_array_equal(inference_function(model, logits=True)(X), model(X))


def test_a_float32_input_of_a_float64_model_is_reported(caplog):
    model = sequence(keras.layers.Dense(3, dtype="float64"))
    assert input_dtype(model, np.dtype("float64")) == np.float32
    assert "rounds the data" in caplog.text


@pytest.mark.parametrize("on", [True, False])
def test_tf32_on_a_gpu_is_reported(on, monkeypatch, caplog):
    import tensorflow as tf

    config = tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(config.experimental, "tensor_float_32_execution_enabled", lambda: on)
    warn_of_tf32()
    assert ("TF32" in caplog.text) == on


class Standardized(keras.layers.Layer):
    """Batch normalisation by the statistics of whatever batch comes."""

    def call(self, x):
        mean = keras.ops.mean(x, axis=0, keepdims=True)
        return (x - mean) / keras.ops.sqrt(keras.ops.var(x, axis=0, keepdims=True) + 1e-3)


class DividedByRows(keras.layers.Layer):
    """Depends on how many rows there are, and not on which."""

    def call(self, x):
        return x / keras.ops.cast(keras.ops.shape(x)[0], x.dtype)


MIXING = {
    "unit norm": lambda: keras.layers.UnitNormalization(axis=0, name="culprit"),
    "softmax": lambda: keras.layers.Softmax(axis=0, name="culprit"),
    "centred": lambda: keras.layers.Lambda(
        lambda x: x - keras.ops.mean(x, 0, keepdims=True), name="culprit"
    ),
    "standardized": lambda: Standardized(name="culprit"),
    "divided": lambda: DividedByRows(name="culprit"),
}


@pytest.mark.parametrize("x", [None, X, X[:1], np.repeat(X[:1], 3, axis=0)])
@pytest.mark.parametrize("kind", MIXING)
def test_what_mixes_rows_is_refused_by_name(kind, x):
    model = sequence(keras.layers.Dense(5), MIXING[kind](), keras.layers.Dense(2))
    with pytest.raises(InputError, match=r"mixes the rows of a batch.* layer 'culprit'"):
        check_model(model, x)


def test_rows_of_a_fixed_batch_are_mixed_too():
    layers = [keras.layers.Softmax(axis=0, name="culprit"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input(batch_shape=(3, 4)), *layers])
    with pytest.raises(InputError, match="layer 'culprit'"):
        check_model(model)
    check_model(keras.Sequential([keras.Input(batch_shape=(3, 4)), keras.layers.Dense(2)]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_does_not_look_like_mixing(dtype):
    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(300, "relu", dtype=dtype) for _ in range(6)]
    wide = keras.Sequential([keras.Input((500,), dtype=dtype), *dense])
    check_model(wide, 1e3 * RNG.normal(size=(2, 500)).astype(dtype))
    tokens = keras.layers.Embedding(2, 3, mask_zero=True, dtype=dtype)
    check_model(keras.Sequential([keras.Input((6,)), tokens, keras.layers.GRU(4, dtype=dtype)]))
    check_model(wide, np.full((2, 500), np.nan, dtype=dtype))


def test_rows_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"does not take rows of shape \(3,\).* shape \(4,\)"):
        check_model(sequence(keras.layers.Dense(2)), X[:, :3])


class Line(keras.Model):
    """Does not tell the shape of its inputs."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


class Matrix(keras.layers.Layer):
    """Lets TensorFlow find out that shapes do not fit."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


@pytest.mark.parametrize("layer", [keras.layers.Dense, lambda width: Matrix()])
def test_rows_that_a_subclassed_model_refuses_are_refused_with_its_reason(layer):
    model = Line(layer(2))
    model(X)
    with pytest.raises(InputError, match=r"rows of shape \(3,\): .*(incompatible)") as caught:
        check_model(model, X[:, :3])
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def masked(kind):
    """Return a model whose outputs carry the mask that 'culprit' makes, and rows for it."""
    keras.utils.set_random_seed(0)
    if kind == "embedding":
        first, x = keras.layers.Embedding(5, 4, mask_zero=True, name="culprit"), [[1, 2, 0]] * 2
    else:
        first, x = keras.layers.Masking(name="culprit"), RNG.normal(size=(2, 3, 4))
    inside = keras.layers.GRU(3, return_sequences=True)
    return sequence(first, inside, keras.layers.Dense(2), shape=np.shape(x)[1:]), np.array(x)


@pytest.mark.parametrize("kind", ["embedding", "masking"])
def test_outputs_with_a_mask_are_refused_by_name(kind):
    model, x = masked(kind)
    for use in (lambda: check_no_mask(model, x), lambda: Products(model, "mse", (x, model(x)))):
        with pytest.raises(InputError, match="a mask, from layer 'culprit'"):
            use()


def test_a_mask_that_ends_inside_the_model_does_no_harm():
    tokens = keras.layers.Embedding(5, 3, mask_zero=True)
    check_no_mask(sequence(tokens, keras.layers.GRU(4), shape=(6,)), np.ones((2, 6)))


def test_a_subclassed_models_mask_is_found_too():
    model = Line(keras.layers.Masking())
    x = np.ones((2, 3, 4))
    model(x)
    with pytest.raises(InputError, match="gives its outputs a mask"):
        check_no_mask(model, x)


def test_the_coarsest_type_counts_layers_without_weights():
    exact = keras.layers.Dense(2, dtype="float64")
    inputs = keras.Input((4,), dtype="float64")
    model = keras.Sequential([inputs, exact])
    assert coarsest_type(model) == "float64"
    assert coarsest_type(keras.Model(model.inputs[0], model.outputs[0])) == "float64"
    pieces = [keras.layers.Dropout(0.2, dtype="float32"), keras.layers.Dense(1, dtype="float64")]
    assert coarsest_type(keras.Sequential([inputs, exact, *pieces])) == "float32"
