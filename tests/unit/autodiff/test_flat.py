"""One vector for all weights: the order, the shapes, the way back, and what is refused."""

import keras
import numpy as np
import pytest

from starstack.autodiff.flat import FlatParameters
from starstack.errors import InputError


def network(dtype="float64"):
    layers = [keras.layers.Dense(3, dtype=dtype), keras.layers.Dense(2, dtype=dtype)]
    return keras.Sequential([keras.Input((4,), dtype=dtype), *layers])


def test_the_order_is_that_of_the_trainable_variables():
    model = network()
    flat = FlatParameters(model)
    expected = np.concatenate([v.numpy().reshape(-1) for v in model.trainable_variables])
    np.testing.assert_array_equal(flat.read(), expected)
    assert flat.size == 4 * 3 + 3 + 3 * 2 + 2
    assert flat.names[0].endswith("kernel") and flat.names[1].endswith("bias")


def test_pack_undoes_unpack_and_read_undoes_write():
    flat = FlatParameters(network())
    vector = np.random.default_rng(0).normal(size=flat.size)
    np.testing.assert_array_equal(flat.pack(flat.unpack(vector)), vector)
    flat.write(vector)
    np.testing.assert_array_equal(flat.read(), vector)


def test_weights_that_are_not_trained_are_left_out():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    model.layers[-1].trainable = False
    assert FlatParameters(model).shapes == ((4,), (4,))


def test_float32_weights_are_float64_outside():
    flat = FlatParameters(network("float32"))
    assert flat.dtype == np.float32
    flat.write(np.full(flat.size, 0.1))
    assert flat.read().dtype == np.float64
    np.testing.assert_array_equal(flat.read(), np.float32(0.1))


def test_other_weights_for_a_while():
    flat = FlatParameters(network())
    own = flat.read()
    with flat.at(own + 1):
        np.testing.assert_array_equal(flat.read(), own + 1)
    np.testing.assert_array_equal(flat.read(), own)
    with pytest.raises(KeyError), flat.at(own + 1):
        raise KeyError
    np.testing.assert_array_equal(flat.read(), own)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda flat: flat.write(np.zeros(3)), r"shape \(3,\).*expected \(23,\)"),
        (lambda flat: flat.unpack(np.array(["a"] * 23)), "type <U1"),
        (lambda flat: flat.pack([np.zeros((4, 3))]), r"weights have shapes \[\(4, 3\)\]"),
    ],
)
def test_what_does_not_fit_is_refused(use, message):
    with pytest.raises(InputError, match=message):
        use(FlatParameters(network()))


def test_models_without_weights_are_refused():
    with pytest.raises(InputError, match="no weights yet"):
        FlatParameters(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(InputError, match="no trainable weights"):
        FlatParameters(keras.Sequential([keras.Input((2,)), keras.layers.ReLU()]))
