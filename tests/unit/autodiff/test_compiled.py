"""Compiled once; by XLA where it can, else without, and said so."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.compiled import Compiled
from starstack.autodiff.products import Products
from starstack.errors import InputError

X, Y = np.random.default_rng(0).normal(size=(2, 6, 8))


def dense(units, activation=None):
    return keras.layers.Dense(units, activation, dtype="float64")


def pooling():
    """Return layers whose second derivative XLA does not know in float64."""
    kinds = (keras.layers.Reshape, (8, 1)), (keras.layers.MaxPooling1D, 2)
    layers = [kind(argument, dtype="float64") for kind, argument in kinds]
    return [dense(8), *layers, keras.layers.Flatten(dtype="float64")]


def of(*layers, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,), dtype="float64"), *layers, dense(8)])
    return Products(model, "mse", (X, Y), **options)


def product(products):
    return products.hessian_vector_product(np.ones(products.parameters.size))


def test_a_dense_network_is_compiled_by_xla():
    products = of(dense(3, "tanh"))
    product(products)
    assert products._compiled["hessian_product"].jit_compile is True


def test_large_stacks_of_dense_layers_are_compiled_without_it(monkeypatch):
    monkeypatch.setattr("starstack.autodiff.products.LARGE", 98)
    # 8 units · 5 + 5, and 5 · 8 + 8: 93 weights; with 6 units 110.
    small, large = of(dense(5)), of(dense(6))
    asked = of(dense(6), jit_compile=True)
    for products, by_xla in ((small, True), (large, False), (asked, True)):
        found = product(products)
        assert products._compiled["hessian_product"].jit_compile is by_xla
        assert np.isfinite(found).all()
    np.testing.assert_allclose(product(large), product(asked), atol=1e-13)


def test_what_xla_cannot_compile_is_compiled_without_it(caplog):
    with caplog.at_level(logging.INFO):
        products = of(*pooling())
        found = product(products)
    assert products._compiled["hessian_product"].jit_compile is False
    assert products.n_traces["hessian_product"] == 1
    assert "XLA cannot compile it" in caplog.text
    expected = product(of(*pooling(), jit_compile=False))
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_xla_can_be_asked_for_and_left_out():
    with pytest.raises(tf.errors.InvalidArgumentError):
        product(of(*pooling(), jit_compile=True))
    products = of(dense(3, "tanh"), jit_compile=False)
    product(products)
    assert products._compiled["hessian_product"].jit_compile is False


def test_recurrent_layers_compile():
    def recurrent():
        reshape = keras.layers.Reshape((4, 2), dtype="float64")
        return [reshape, keras.layers.GRU(2, dtype="float64")]

    by_xla = of(*recurrent())
    found = product(by_xla)
    assert by_xla._compiled["hessian_product"].jit_compile is True
    np.testing.assert_allclose(found, product(of(*recurrent(), jit_compile=False)), atol=1e-14)


@pytest.mark.parametrize("name", ["hessian_vector_product", "gauss_newton_vector_product"])
def test_operations_without_a_second_derivative_are_refused(name):
    products = of(dense(3, "softsign"))
    with pytest.raises(InputError, match="SoftsignGrad"):
        getattr(products, name)(np.ones(products.parameters.size))


def test_one_trace_for_equal_shapes():
    square = Compiled(lambda x: x * x, "square")
    assert square.n_traces == 0
    for value in (1.0, 2.0, 3.0):
        assert square(tf.constant(value)).numpy() == value**2
    assert square.n_traces == 1
