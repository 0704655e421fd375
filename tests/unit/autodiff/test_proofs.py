"""Proofs at the start: what they measure, and that each of them can fail."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.autodiff.operators import HessianOperator
from starstack.autodiff.products import Products
from starstack.autodiff.proofs import TOLERANCES, prove, prove_jacobian
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
    "too large by a hundredth": (lambda v, Av: 1.01 * Av, "finite differences failed"),
    "of another sign": (lambda v, Av: -Av, "finite differences failed"),
    "damped": (lambda v, Av: Av + 0.1 * v, "finite differences failed"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_each_proof_can_fail_and_says_which(matrix, breakage, dtype):
    change, message = BREAKAGES[breakage]
    with pytest.raises(InputError, match=message):
        prove(broken(products_of(dtype=dtype), matrix, change), matrix)


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


@pytest.mark.parametrize("kind", ["activation", "layer"])
def test_a_row_at_the_kink_of_a_layer_is_hinted_at(kind):
    layers = {
        "activation": lambda: [keras.layers.Dense(5, "relu", dtype="float64", name="kinked")],
        "layer": lambda: [
            keras.layers.Dense(5, dtype="float64"),
            keras.layers.ReLU(dtype="float64", name="kinked"),
        ],
    }[kind]()
    rows = np.concatenate([np.zeros((1, 4)), X])
    data = Batches(rows, np.ones((20, 2)), batch_size=8)
    with pytest.raises(InputError, match=r"differences failed.*layer 'kinked' has no derivative"):
        prove(Products(network(*layers), "mse", data, jit_compile=False))


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


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
@pytest.mark.parametrize("why", ["no weight", "inputs of zero"])
def test_a_first_batch_that_proves_nothing_is_passed_over(why, matrix):
    x, weight = X.copy(), np.ones(19)
    if why == "no weight":
        weight[:8] = 0
    else:
        x[:8] = 0
    layers = [keras.layers.Dense(2, use_bias=False, dtype="float64")]
    model = keras.Sequential([keras.Input((4,), dtype="float64"), *layers])
    batches = Batches(x, Y, weight, batch_size=8)
    proofs = prove(Products(model, "mse", batches, jit_compile=False), matrix)
    assert proofs.norm > 0 and proofs.difference_error < 1e-6


def test_data_without_weight_prove_nothing():
    batches = Batches(X, Y, np.zeros(19), batch_size=8)
    with pytest.raises(InputError, match="all sample weights are zero"):
        prove(Products(network(), "mse", batches, jit_compile=False))


COARSE = {
    "dropout": lambda: keras.layers.Dropout(0.2, dtype="float32"),
    "dense": lambda: keras.layers.Dense(6, "tanh", dtype="float32"),
}


@pytest.mark.parametrize("kind", COARSE)
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_models_of_several_types_are_held_to_the_coarsest(matrix, kind):
    hidden = keras.layers.Dense(40, "tanh", dtype="float64"), COARSE[kind]()
    proofs = prove(products_of(*hidden), matrix)
    assert proofs.dtype == "float32" and proofs.difference_error > 1e-10


def test_a_model_without_a_copy_in_float64_is_proved_by_coarse_differences():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = network(keras.layers.Dense(5, "tanh"), dtype="float32")

        def call(self, x):
            return self.inner(x)

    model = Subclassed()
    model(X)
    proofs = prove(Products(model, "mse", (X, Y), jit_compile=False))
    assert 1e-6 < proofs.difference_error < 1e-2


class Adjoint:
    """Products with a Jacobian, spoiled on the way."""

    def __init__(self, products, forward=lambda Jv: Jv, backward=lambda Ju: Ju):
        self._products, self._forward, self._backward = products, forward, backward

    def __getattr__(self, name):
        return getattr(self._products, name)

    def jacobian_vector_product(self, x, v):
        return self._forward(self._products.jacobian_vector_product(x, v))

    def vector_jacobian_product(self, x, u):
        return self._backward(self._products.vector_jacobian_product(x, u))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_products_with_the_jacobian_are_proved(dtype):
    proofs = prove_jacobian(products_of(dtype=dtype), X)
    symmetry, difference = TOLERANCES[dtype]
    assert proofs.symmetry_error < symmetry / 50
    assert proofs.difference_error < difference / 50
    assert proofs.norm > 0 and (proofs.matrix, proofs.dtype) == ("jacobian", dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ({"forward": lambda Jv: 0 * Jv}, "not zero failed"),
        ({"backward": lambda Ju: 0 * Ju}, "proof of the adjoint failed"),
        ({"forward": lambda Jv: np.nan * Jv}, "not finite"),
        ({"backward": lambda Ju: -Ju}, "proof of the adjoint failed"),
        ({"forward": lambda Jv: 1.01 * Jv}, "proof of the adjoint failed"),
        (
            {"forward": lambda Jv: 1.01 * Jv, "backward": lambda Ju: 1.01 * Ju},
            "finite differences failed",
        ),
    ],
)
def test_each_proof_of_the_jacobian_can_fail(spoiled, message, dtype):
    with pytest.raises(InputError, match=message):
        prove_jacobian(Adjoint(products_of(dtype=dtype), **spoiled), X)
