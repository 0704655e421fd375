"""Proofs at the start: what they measure, and that each of them can fail."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.autodiff.operators import HessianOperator
from starstack.autodiff.products import Products
from starstack.autodiff.proofs import TOLERANCES, prove
from starstack.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(19, 4)), RNG.normal(size=(19, 2))


def network(*hidden, dtype="float64"):
    keras.utils.set_random_seed(0)
    layers = [*hidden, keras.layers.Dense(2, dtype=dtype)]
    return keras.Sequential([keras.Input((4,), dtype=dtype), *layers])


def products_of(*hidden, dtype="float64", loss="mse", batch_size=8):
    hidden = hidden or (keras.layers.Dense(5, "tanh", dtype=dtype),)
    batches = Batches(X, Y, batch_size=batch_size)
    return Products(network(*hidden, dtype=dtype), loss, batches, jit_compile=False)


def broken(products, matrix, change):
    """Return the same products, spoiled on the way."""
    multiply = getattr(products, f"{matrix}_vector_product")
    spoiled = products.over(products.batches)
    setattr(spoiled, f"{matrix}_vector_product", lambda v: change(v, multiply(v)))
    # What is proved is a copy over the first batch.
    spoiled.over = lambda data: broken(products.over(data), matrix, change)
    spoiled.without_penalties = lambda: spoiled
    return spoiled


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_right_products_pass_with_room_to_spare(matrix, dtype):
    proofs = prove(products_of(dtype=dtype), matrix)
    symmetry, difference = TOLERANCES[dtype]
    assert proofs.symmetry_error < symmetry / 50
    assert proofs.difference_error < difference / 50
    assert proofs.norm > 0 and (proofs.matrix, proofs.dtype) == (matrix, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rectified_units_do_not_disturb_the_differences(dtype):
    hidden = [keras.layers.Dense(40, "relu", dtype=dtype) for _ in range(3)]
    proofs = prove(products_of(*hidden, dtype=dtype), "hessian")
    assert proofs.difference_error < TOLERANCES[dtype][1] / 10


BREAKAGES = {
    "zero": (lambda v, Av: 0 * Av, "not zero failed"),
    "not finite": (lambda v, Av: Av * np.nan, "not finite"),
    "not symmetric": (lambda v, Av: Av + np.roll(v, 1), "proof of symmetry failed"),
    "twice too large": (lambda v, Av: 2 * Av, "finite differences failed"),
    "of another sign": (lambda v, Av: -Av, "finite differences failed"),
    "damped": (lambda v, Av: Av + 0.1 * v, "finite differences failed"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_each_proof_can_fail_and_says_which(matrix, breakage):
    change, message = BREAKAGES[breakage]
    with pytest.raises(InputError, match=message):
        prove(broken(products_of(), matrix, change), matrix)


def test_the_one_for_the_other_fails():
    """Away from a fit the Hessian of a curved network is not its Gauss–Newton matrix."""
    products = products_of()
    swapped = broken(products, "hessian", lambda v, Av: products.gauss_newton_vector_product(v))
    with pytest.raises(InputError, match="finite differences failed"):
        prove(swapped, "hessian")


def test_a_broken_operator_is_never_made():
    spoiled = broken(products_of(), "hessian", lambda v, Av: 2 * Av)
    with pytest.raises(InputError, match="finite differences failed"):
        HessianOperator(spoiled)
    assert HessianOperator(spoiled, proved=False).proofs is None


def test_tensorflows_moments_are_found_out():
    """Once this fails, TensorFlow's second derivative of the variance is right."""
    layers = (
        keras.layers.Dense(4, dtype="float64"),
        keras.layers.LayerNormalization(name="normal", dtype="float64"),
    )
    products = products_of(*layers)
    with pytest.raises(InputError, match=r"layer 'normal' .* RMSNormalization"):
        prove(products, "hessian")
    assert prove(products, "gauss_newton").difference_error < 1e-6
    scaled = (
        keras.layers.Dense(4, dtype="float64"),
        keras.layers.RMSNormalization(dtype="float64"),
    )
    assert prove(products_of(*scaled), "hessian").difference_error < 1e-6


def test_a_loss_without_curvature_is_refused():
    hidden = keras.layers.Dense(3, dtype="float64")
    with pytest.raises(InputError, match="'mean_absolute_error' has no curvature"):
        prove(products_of(hidden, loss="mae"), "gauss_newton")


def test_the_model_keeps_its_weights():
    products = products_of(dtype="float32")
    own = products.parameters.read()
    prove(products)
    np.testing.assert_array_equal(products.parameters.read(), own)


def test_penalties_belong_to_what_is_proved():
    hidden = keras.layers.Dense(
        5, "tanh", dtype="float64", kernel_regularizer=keras.regularizers.L2(0.5)
    )
    products = Products(network(hidden), "mse", (X, Y), regularization=True, jit_compile=False)
    for matrix in ("hessian", "gauss_newton"):
        assert prove(products, matrix).difference_error < 1e-6


def test_unknown_matrices_are_refused():
    with pytest.raises(InputError, match="matrix is 'fisher'"):
        prove(products_of(), "fisher")


@pytest.mark.parametrize("functional", [False, True])
def test_the_copy_in_float64_is_not_reported_as_the_users_mistake(functional, caplog):
    model = network(keras.layers.Dense(5, "tanh"), dtype="float32")
    if functional:
        model = keras.Model(model.inputs[0], model.outputs[0])
    proofs = prove(Products(model, "mse", (X, Y), jit_compile=False))
    assert proofs.difference_error < 1e-6
    assert "rounds the data" not in caplog.text
