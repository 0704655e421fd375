import random

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.networks.heads import HEADS, head_of, make_network


def make(build="dense", options=None, *, shape=(4,), task="regression", n=1, seed=1, **more):
    return make_network(
        build, options, input_shape=shape, task=task, n_outputs=n, seed=seed, **more
    )


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@pytest.mark.parametrize(
    ("task", "n", "name", "width", "hidden"),
    [
        ("regression", 1, "regression", 1, 64),
        ("regression", 3, "regression", 3, 64),
        ("classification", 2, "binary", 1, 32),
        ("classification", 5, "multiclass", 5, 128),
    ],
)
def test_the_head_follows_from_the_task(task, n, name, width, hidden):
    assert head_of(task, n) is HEADS[name]
    model = make(task=task, n=n)
    assert model.output_shape == (None, width)
    assert model.layers[-1].activation.__name__ == HEADS[name].activation
    assert model.layers[1].units == hidden


def test_probabilities_by_hand():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    model = make(options={"units": []}, task="classification", n=3)
    kernel, bias = model.get_weights()
    powers = np.exp(x @ kernel + bias)
    output = HEADS["multiclass"].decode(np.asarray(model(x)))
    np.testing.assert_allclose(output, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(output.sum(axis=1), 1.0, rtol=1e-15)
    model = make(options={"units": []}, task="classification", n=2)
    kernel, bias = model.get_weights()
    second = 1 / (1 + np.exp(-(x @ kernel + bias)))
    output = HEADS["binary"].decode(np.asarray(model(x)))
    np.testing.assert_allclose(output, np.hstack([1 - second, second]), rtol=1e-5)


def test_losses_are_those_of_the_definition():
    import keras

    y = np.array([[0], [2]])
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    losses = {name: getattr(keras.losses, head.loss)() for name, head in HEADS.items()}
    assert float(losses["multiclass"](y, p)) == pytest.approx(-np.log([0.5, 0.8]).mean())
    two = np.array([[0], [1]]), np.array([[0.3], [0.6]])
    assert float(losses["binary"](*two)) == pytest.approx(-np.log([0.7, 0.6]).mean())
    assert float(losses["regression"](np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]]))) == 2.5
    assert all(hasattr(keras.metrics, head.metric) for head in HEADS.values())


def test_the_weights_are_a_function_of_the_seed_and_nothing_global_is_touched():
    import keras

    options = {"units": [5], "dropout": 0.5}
    first = weights(make(options=options))
    keras.utils.set_random_seed(7)
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    again = weights(make(options=options))
    assert random.getstate() == python
    assert (np.random.get_state()[1] == numpy).all()
    np.testing.assert_array_equal(first, again)
    assert (first != weights(make(options=options, seed=2))).any()


def test_names_of_layers_do_not_count_what_was_built_before():
    import keras

    expected = [layer.name for layer in make(options={"units": [5, 3], "dropout": 0.1}).layers]
    assert expected[0] == "input_layer" and "dense" in expected and "dense_2" in expected
    assert [x.name for x in make(options={"units": [5, 3], "dropout": 0.1}).layers] == expected

    def named(input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Dense(3)(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, name="middle")(x))

    assert [x.name for x in make(named).layers] == ["input_layer", "dense", "middle", "dense_1"]


def test_a_sequential_body_drops_out_in_training():
    import keras

    def body(input_shape):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dropout(0.5)])

    model, x = make(body, n=3), np.ones((20, 4), dtype=np.float32)
    assert (np.asarray(model(x, training=True)) != np.asarray(model(x))).any()


@pytest.mark.parametrize(
    ("dtype", "inner", "outer"),
    [("float64", "float64", "float64"), ("mixed_bfloat16", "bfloat16", "float32")],
)
def test_precision(dtype, inner, outer):
    import keras

    model = make(dtype=dtype)
    assert model.layers[1].compute_dtype == inner
    assert model.output.dtype == outer
    assert model.input.dtype == outer
    assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"


def two_inputs(input_shape):
    import keras

    inputs = keras.Input(input_shape), keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Add()(inputs))


@pytest.mark.parametrize(
    "error", [AttributeError, KeyError, IndexError, RuntimeError, TypeError, ZeroDivisionError]
)
def test_an_error_of_the_builder_is_named(error):
    def broken(input_shape):
        raise error("units\nof it")

    with pytest.raises(
        InputError, match=rf"network broken: .*\(4,\).*raised {error.__name__}"
    ) as e:
        make(broken)
    assert isinstance(e.value.__cause__, error) and "\n" not in str(e.value)


def test_what_cannot_be_built():
    import keras

    with pytest.raises(InputError, match="expected at least 2 classes, got 1"):
        make(task="classification", n=1)
    with pytest.raises(InputError, match=r"network cnn_2d: expected rows of 2 dimension.*\(4,\)"):
        make("cnn_2d")
    with pytest.raises(InputError, match=r"network dense: cannot be built.*: rleu"):
        make(options={"activation": "rleu"})
    with pytest.raises(InputError, match=r"expected a functional keras.Model .* got Dense"):
        make(lambda input_shape: keras.layers.Dense(3))
    with pytest.raises(InputError, match=r"one input and one output .* got 2 and 1"):
        make(two_inputs)
    with pytest.raises(InputError, match=r"got Sequential without inputs; start it with"):
        make(lambda input_shape: keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(InputError, match=r"expected a functional keras.Model .* got NoneType"):
        make(lambda input_shape: None)
    with pytest.raises(InputError, match=r"expected a row of features.*got \(8, 8\)"):
        make(lambda s: keras.Sequential([keras.Input(s), keras.layers.ReLU()]), shape=(8, 8))
