"""Products at fixed weights: equal to the plain ones, which other tests hold to closed forms."""

import keras
import numpy as np
import pytest
from scipy.optimize import OptimizeResult

from starstack.autodiff import fixed_hessian, scipy_bridge
from starstack.autodiff.batches import Batches
from starstack.autodiff.fixed_hessian import FixedHessian
from starstack.autodiff.products import Products
from starstack.autodiff.scipy_bridge import minimize
from starstack.errors import InputError

N = 13


def dense(units, activation=None, **options):
    return keras.layers.Dense(units, activation, dtype="float64", **options)


def build(*layers, width=4):
    model = keras.Sequential([keras.Input((width,), dtype="float64"), *layers])
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def products_of(model, loss="mse", **options):
    rng = np.random.default_rng(1)
    X, k = rng.normal(size=(N, model.input_shape[1])), model.output_shape[1]
    codes = rng.integers(0, max(k, 2), N)
    kinds = {"categorical_crossentropy": np.eye(k)[codes % k], "binary_crossentropy": codes}
    kinds["sparse_categorical_crossentropy"] = codes
    y = kinds.get(loss, rng.normal(size=(N, k)))
    batches = Batches(X, y, rng.uniform(0.1, 2, N), batch_size=5)
    return Products(model, loss, batches, jit_compile=False, **options)


def direction(products, seed=2):
    return np.random.default_rng(seed).normal(size=products.parameters.size)


CASES = {
    "relu": (lambda: [dense(6, "relu"), dense(5, "relu"), dense(3)], "mse"),
    "smooth": (lambda: [dense(6, "tanh"), dense(5, "gelu"), dense(2, "softplus")], "mse"),
    "no bias": (lambda: [dense(5, "silu", use_bias=False), dense(2)], "huber"),
    "linear": (lambda: [dense(3), dense(3), dense(2)], "mse"),
    "one layer": (lambda: [dense(2)], "mse"),
    "softmax": (lambda: [dense(5, "tanh"), dense(3, "softmax")], "categorical_crossentropy"),
    "classes": (lambda: [dense(5, "elu"), dense(3, "softmax")], "sparse_categorical_crossentropy"),
    "sigmoid": (lambda: [dense(5, "tanh"), dense(1, "sigmoid")], "binary_crossentropy"),
    "softmax, squared": (lambda: [dense(5, "tanh"), dense(3, "softmax")], "mse"),
    "other layers": (
        lambda: [
            keras.layers.Rescaling(0.5, dtype="float64"),
            dense(5),
            keras.layers.Activation("tanh", dtype="float64"),
            keras.layers.Dropout(0.5, dtype="float64"),
            dense(2),
        ],
        "mse",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_they_are_the_plain_products(name):
    layers, loss = CASES[name]
    products = products_of(build(*layers()), loss)
    fixed = FixedHessian(products)
    assert fixed.keeps
    for seed in (2, 3):
        v = direction(products, seed)
        expected = products.hessian_vector_product(v)
        np.testing.assert_allclose(fixed(v), expected, rtol=1e-10, atol=1e-13)


def softmax_of_half(z):
    return keras.activations.softmax(z / 2)


def sigmoid_of_thrice(z):
    return keras.activations.sigmoid(3 * z)


def nested_head():
    inner = [keras.layers.Rescaling(0.5, dtype="float64"), keras.layers.Softmax(dtype="float64")]
    return keras.Sequential([keras.Input((3,), dtype="float64"), *inner])


CODES = "sparse_categorical_crossentropy"
HEADS = {
    "lambda": (lambda: [dense(3), keras.layers.Lambda(softmax_of_half, dtype="float64")], CODES),
    "softmax": (lambda: [dense(3, softmax_of_half)], CODES),
    "sigmoid": (lambda: [dense(1, sigmoid_of_thrice)], "binary_crossentropy"),
    "nested": (lambda: [dense(3), nested_head()], CODES),
}


@pytest.mark.parametrize("name", HEADS)
def test_logits_may_lie_inside_the_last_step(name):
    head, loss = HEADS[name]
    products = products_of(build(dense(5, "tanh"), *head()), loss)
    assert products.splits_at_logits
    at, v, step = products.parameters.read(), direction(products), 1e-6
    difference = (products.gradient(at + step * v) - products.gradient(at - step * v)) / (2 * step)
    np.testing.assert_allclose(FixedHessian(products)(v), difference, rtol=1e-6, atol=1e-8)


def test_products_that_are_not_those_of_the_loss_are_given_up(monkeypatch, caplog):
    products = products_of(build(dense(5, "tanh"), dense(2)))
    curved = fixed_hessian.output_hessian_product
    monkeypatch.setattr(
        fixed_hessian, "output_hessian_product", lambda *parts: 1.001 * curved(*parts)
    )
    fixed, v = FixedHessian(products), direction(products)
    assert not fixed.keeps
    np.testing.assert_array_equal(fixed(v), products.hessian_vector_product(v))
    assert "are not those of its loss" in caplog.text


def test_they_are_the_difference_of_gradients():
    products = products_of(build(dense(6, "tanh"), dense(5, "sigmoid"), dense(3)))
    at, v, step = products.parameters.read(), direction(products), 1e-6
    difference = (products.gradient(at + step * v) - products.gradient(at - step * v)) / (2 * step)
    np.testing.assert_allclose(FixedHessian(products)(v), difference, rtol=1e-6, atol=1e-8)


def test_weights_count_as_they_were_until_it_is_renewed():
    products = products_of(build(dense(6, "tanh"), dense(3)))
    v, fixed = direction(products), FixedHessian(products)
    before = products.hessian_vector_product(v)
    products.parameters.write(products.parameters.read() * 0.5)
    # The first product comes after the change.
    for _ in range(2):
        np.testing.assert_allclose(fixed(v), before, rtol=1e-10)
    after = products.hessian_vector_product(v)
    assert np.abs(after - before).max() > 1e-3
    fixed.renew()
    np.testing.assert_allclose(fixed(v), after, rtol=1e-10)
    assert (fixed._first.n_traces, fixed._second.n_traces) == (1, 1)


def frozen():
    layer = dense(5, "tanh")
    layer.trainable = False
    return [layer, dense(2)]


@pytest.mark.parametrize(
    "layers",
    [
        frozen,
        lambda: [dense(4, "tanh"), keras.layers.BatchNormalization(dtype="float64"), dense(2)],
        lambda: [
            keras.layers.Reshape((4, 1), dtype="float64"),
            keras.layers.Conv1D(2, 2, dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            dense(2),
        ],
    ],
)
def test_other_models_take_the_plain_products(layers):
    products = products_of(build(*layers()))
    fixed, v = FixedHessian(products), direction(products)
    assert not fixed.keeps
    np.testing.assert_array_equal(fixed(v), products.hessian_vector_product(v))


def test_penalties_and_too_many_rows_take_the_plain_products():
    penalized = dense(3, kernel_regularizer=keras.regularizers.L2(0.3))
    products = products_of(build(penalized, dense(2)), regularization=True)
    assert not FixedHessian(products).keeps
    products = products_of(build(dense(3), dense(2)))
    # Three batches of five rows: 4 + 3 inputs, and of 3 + 2 sums three numbers each.
    size = 15 * (4 + 3 + 3 * 5) * 8
    assert FixedHessian(products, memory_limit=size).keeps
    assert not FixedHessian(products, memory_limit=size - 1).keeps


def test_single_precision():
    layers = [keras.layers.Dense(6, "relu"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    products = products_of(model)
    v = direction(products)
    expected = products.hessian_vector_product(v)
    np.testing.assert_allclose(FixedHessian(products)(v), expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_vector_is_refused():
    products = products_of(build(dense(3), dense(2)))
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        FixedHessian(products)(np.zeros(2))
    with pytest.raises(InputError, match="not finite"):
        FixedHessian(products)(np.full(products.parameters.size, np.nan))


def test_no_penalty_is_no_reason_to_keep_nothing():
    """`minimize` includes penalties wherever there are some."""
    assert FixedHessian(products_of(build(dense(3), dense(2)), regularization=True)).keeps


def test_the_products_of_scipy_are_those_of_the_point_it_asks_for(monkeypatch):
    """Of a network whose Hessian changes, by the products that keep what they can."""
    model, made, checked = build(dense(4, "tanh"), dense(2)), [], []

    class Noted(FixedHessian):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    def two_points(function, start, *, hessp, **options):
        plain = products_of(model)
        for x in (start, start + 0.3, start):
            v = direction(plain, seed=4)
            value, gradient = function(x)
            found = hessp(x, v)
            with plain.parameters.at(x):
                np.testing.assert_allclose(found, plain.hessian_vector_product(v), rtol=1e-9)
            checked.append(found)
        return OptimizeResult(
            x=start, fun=value, jac=gradient, success=True, nit=0, status=0, message=""
        )

    monkeypatch.setattr(scipy_bridge, "FixedHessian", Noted)
    monkeypatch.setattr(scipy_bridge, "scipy_minimize", two_points)
    data = products_of(model).batches
    minimize(model, "mse", data, method="trust-ncg", jit_compile=False)
    assert [each.keeps for each in made] == [True]
    assert np.abs(checked[0] - checked[1]).max() > 1e-3


def test_newtons_method_moves_on_with_it():
    """A quadratic is minimised exactly, and each point has products of its own."""
    model = build(dense(2, use_bias=False))
    X = np.random.default_rng(5).normal(size=(30, 4))
    slope = np.arange(8.0).reshape(4, 2)
    result = minimize(model, "mse", (X, X @ slope), method="trust-krylov")
    np.testing.assert_allclose(model.get_weights()[0], slope, atol=1e-6)
    assert result.success
