"""Products streamed over data: Keras's own loss, one trace, any batches, every kind of layer."""

import h5py
import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.autodiff.products import (
    Products,
    gauss_newton_vector_product,
    hessian_vector_product,
)
from starstack.errors import InputError

N = 23


def make_products(*arguments, **options):
    """Return products without XLA, which takes a second per function (test_compiled.py)."""
    return Products(*arguments, **({"jit_compile": False} | options))


def build(*layers, shape, dtype="float64"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def dense(last=None, k=3, dtype="float64", **options):
    keras.utils.set_random_seed(0)
    return build(
        keras.layers.Dense(5, "tanh", dtype=dtype, **options),
        keras.layers.Dense(k, last, dtype=dtype, **options),
        shape=(4,),
        dtype=dtype,
    )


def data(model, seed=0, n=N, kind="numbers"):
    rng = np.random.default_rng(seed)
    X, k = rng.normal(size=(n, *model.input_shape[1:])), model.output_shape[-1]
    codes = rng.integers(0, max(k, 2), n)
    y = {
        "numbers": lambda: rng.normal(size=(n, *model.output_shape[1:])),
        "codes": lambda: codes,
        "one_hot": lambda: np.eye(k)[codes],
        "binary": lambda: rng.integers(0, 2, (n, k)),
    }[kind]()
    return X, y, rng.uniform(0.2, 2, n)


def direction(products, seed=1):
    return np.random.default_rng(seed).normal(size=products.parameters.size)


HEADS = {
    "mse": (None, "numbers"),
    "huber": (None, "numbers"),
    "binary_crossentropy": ("sigmoid", "binary"),
    "categorical_crossentropy": ("softmax", "one_hot"),
    "sparse_categorical_crossentropy": ("softmax", "codes"),
    "poisson": ("softplus", "binary"),
}


@pytest.mark.parametrize("loss", HEADS)
def test_loss_and_gradient_are_kerass(loss):
    last, kind = HEADS[loss]
    model = dense(last, dtype="float32")
    X, y, weight = data(model, kind=kind)
    start = model.get_weights()
    products = make_products(model, loss, Batches(X, y, weight, batch_size=7))
    model.compile(keras.optimizers.SGD(1.0), loss=loss, jit_compile=False)
    evaluated = model.evaluate(X, y, sample_weight=weight, batch_size=N, verbose=0)
    assert products.loss() == pytest.approx(evaluated, rel=1e-5)
    gradient = products.gradient()
    model.fit(X, y, sample_weight=weight, batch_size=N, shuffle=False, verbose=0)
    moved = products.parameters.pack(start) - products.parameters.read()
    np.testing.assert_allclose(gradient, moved, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["hessian", "gauss_newton"])
def test_batches_order_and_files_make_no_difference(name, tmp_path):
    model = dense("softmax")
    X, y, weight = data(model, kind="codes")
    whole = make_products(model, "sparse_categorical_crossentropy", Batches(X, y, weight))
    v = direction(whole)
    expected = getattr(whole, f"{name}_vector_product")(v)
    reverse = np.arange(N)[::-1]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"], file["y"] = X, y
        for batches in (
            Batches(X, y, weight, batch_size=1),
            Batches(X, y, weight, batch_size=5),
            Batches(X, y, weight, batch_size=7, rows=reverse),
            Batches(file["X"], file["y"], weight, batch_size=6),
        ):
            products = Products(
                model, "sparse_categorical_crossentropy", batches, jit_compile=False
            )
            found = getattr(products, f"{name}_vector_product")(v)
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(products.gradient(), whole.gradient(), atol=1e-14)
            assert products.loss() == pytest.approx(whole.loss(), rel=1e-13)


def test_everything_is_traced_once():
    model = dense()
    X, y, _ = data(model)
    products = make_products(model, "mse", Batches(X, y, batch_size=5), regularization=False)
    for seed in range(3):
        v = direction(products, seed)
        products.loss(v)
        products.gradient()
        products.hessian_vector_product(v)
        products.hessian_vector_product(np.stack([v, v], axis=1))
        products.gauss_newton_vector_product(v)
        products.outputs(X[: 3 + seed] if seed else X)
        products.jacobian_vector_product(X, v)
        products.vector_jacobian_product(X, y)
        products.jacobian_vector_product(X[: 1 + seed], v)
        products.vector_jacobian_product(X[: 1 + seed], y[: 1 + seed])
    assert set(products.n_traces.values()) == {1}


def test_several_vectors_at_once():
    model = dense()
    products = make_products(model, "mse", data(model))
    V = np.random.default_rng(0).normal(size=(products.parameters.size, 3))
    for multiply in (products.hessian_vector_product, products.gauss_newton_vector_product):
        together = multiply(V)
        apart = np.stack([multiply(column) for column in V.T], axis=1)
        np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize(
    ("reduction", "factor"),
    [("mean", 1.0), ("sum", N), ("weighted_mean", "weights"), (None, 1.0)],
)
def test_reductions(reduction, factor):
    model = dense()
    X, y, weight = data(model)
    mean = make_products(model, "mse", (X, y, weight))
    other = make_products(model, "mse", (X, y, weight), reduction)
    factor = N / weight.sum() if factor == "weights" else factor
    v = direction(mean)
    assert other.loss() == pytest.approx(factor * mean.loss())
    np.testing.assert_allclose(other.gradient(), factor * mean.gradient())
    np.testing.assert_allclose(
        other.hessian_vector_product(v), factor * mean.hessian_vector_product(v)
    )


def test_weights_count_rows():
    model = dense()
    X, y, _ = data(model)
    counts = np.random.default_rng(3).integers(0, 4, N)
    weighted = make_products(model, "mse", (X, y, counts), "sum")
    repeated = make_products(
        model, "mse", (X.repeat(counts, axis=0), y.repeat(counts, axis=0)), "sum"
    )
    v = direction(weighted)
    for name in ("hessian_vector_product", "gauss_newton_vector_product"):
        np.testing.assert_allclose(getattr(weighted, name)(v), getattr(repeated, name)(v))


def conv1d(dtype):
    return build(
        keras.layers.Conv1D(3, 3, activation="relu", dtype=dtype),
        keras.layers.MaxPooling1D(2, dtype=dtype),
        keras.layers.Flatten(dtype=dtype),
        keras.layers.Dense(2, dtype=dtype),
        shape=(9, 2),
        dtype=dtype,
    )


def conv2d(dtype):
    return build(
        keras.layers.Conv2D(3, 2, activation="gelu", dtype=dtype),
        keras.layers.GlobalAveragePooling2D(dtype=dtype),
        keras.layers.Dense(2, dtype=dtype),
        shape=(5, 5, 1),
        dtype=dtype,
    )


def normalized(dtype):
    return build(
        keras.layers.Dense(4, "silu", dtype=dtype),
        keras.layers.BatchNormalization(dtype=dtype),
        keras.layers.Dropout(0.5, dtype=dtype),
        keras.layers.Dense(2, dtype=dtype),
        shape=(3,),
        dtype=dtype,
    )


def lstm(dtype):
    layers = keras.layers.LSTM(2, dtype=dtype), keras.layers.Dense(1, dtype=dtype)
    return build(*layers, shape=(3, 2), dtype=dtype)


MODELS = {f.__name__: f for f in (conv1d, conv2d, normalized, lstm)}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer_against_differences(name):
    """H v against gradients, J v and Jᵀ u against outputs, G = JᵀΛJ with Λ = 2/k."""
    keras.utils.set_random_seed(2)
    model = MODELS[name]("float64")
    X, y, weight = data(model, n=6)
    products = make_products(model, "mse", Batches(X, y, weight, batch_size=4))
    v, at, step = direction(products), products.parameters.read(), 1e-6
    difference = (products.gradient(at + step * v) - products.gradient(at - step * v)) / (2 * step)
    np.testing.assert_allclose(products.hessian_vector_product(v), difference, rtol=1e-5, atol=1e-7)
    with products.parameters.at(at + step * v):
        upper = products.outputs(X)
    with products.parameters.at(at - step * v):
        lower = products.outputs(X)
    Jv = products.jacobian_vector_product(X, v)
    np.testing.assert_allclose(Jv, (upper - lower) / (2 * step), rtol=1e-5, atol=1e-7)
    u = np.random.default_rng(4).normal(size=y.shape)
    assert products.vector_jacobian_product(X, u) @ v == pytest.approx(np.sum(u * Jv))
    expected = products.vector_jacobian_product(X, 2 / y.shape[1] * weight[:, None] * Jv) / len(X)
    found = products.gauss_newton_vector_product(v)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_float32_models_agree_with_float64_ones(loss):
    last, kind = HEADS[loss]
    exact, model = dense(last), dense(last, dtype="float32")
    model.set_weights(exact.get_weights())
    X, y, weight = data(exact, kind=kind)
    v = direction(make_products(exact, loss, (X, y)))
    for name in ("hessian_vector_product", "gauss_newton_vector_product"):
        found, expected = (
            getattr(make_products(m, loss, Batches(X, y, weight, batch_size=5)), name)(v)
            for m in (model, exact)
        )
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_codes_of_other_losses_are_checked_too():
    model, loss = dense("softmax"), keras.losses.CategoricalGeneralizedCrossEntropy()
    X, y, weight = data(model, kind="codes")
    probabilities = np.asarray(model(X))[np.arange(N), y]
    expected = np.mean(weight * (1 - probabilities**0.5) / 0.5)
    assert make_products(model, loss, (X, y, weight)).loss() == pytest.approx(expected)
    with pytest.raises(InputError, match="class codes 0 to 2"):
        make_products(model, loss, (X, y + 1, weight))


def test_a_subclassed_model():
    class Line(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.dense = keras.layers.Dense(2, use_bias=False, dtype="float64")

        def call(self, x, training=False):
            return self.dense(x)

    model, (X, y) = Line(), np.random.default_rng(0).normal(size=(2, 6, 2))
    model(X)
    products = make_products(model, "mse", (X, y))
    v = direction(products)
    expected = X.T @ X @ v.reshape(2, 2) / len(X)
    np.testing.assert_allclose(products.hessian_vector_product(v), expected.reshape(-1))


def test_other_weights_come_back_after_an_error(monkeypatch):
    model = dense()
    products = make_products(model, "mse", data(model))
    own = products.parameters.read()
    monkeypatch.setitem(products._compiled, "gradient", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        products.gradient(own + 1)
    np.testing.assert_array_equal(products.parameters.read(), own)


def test_the_one_call_forms():
    model = dense()
    batches = data(model)
    products = make_products(model, "mse", batches)
    v = direction(products)
    for one_call, expected in (
        (hessian_vector_product, products.hessian_vector_product),
        (gauss_newton_vector_product, products.gauss_newton_vector_product),
    ):
        np.testing.assert_allclose(
            one_call(model, "mse", batches, jit_compile=False)(v), expected(v), atol=1e-14
        )


@pytest.mark.parametrize(
    ("loss", "last", "spoil", "message"),
    [
        ("mse", None, lambda X, y: (X, y[:, :2]), "takes equal ones"),
        ("sparse_categorical_crossentropy", "softmax", lambda X, y: (X, y[:, 0] * 0 + 3), "0 to 2"),
        ("categorical_crossentropy", "softmax", lambda X, y: (X, y), "do not sum to one"),
        ("mse", None, lambda X, y: Batches(X), "no targets"),
        ("mse", None, lambda X, y: X, "data is a ndarray"),
    ],
)
def test_data_that_do_not_fit_are_refused(loss, last, spoil, message):
    model = dense(last)
    X, y, _ = data(model)
    with pytest.raises(InputError, match=message):
        make_products(model, loss, spoil(X, y))


def test_vectors_that_do_not_fit_are_refused():
    model = dense()
    products = make_products(model, "mse", data(model))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        products.hessian_vector_product(np.zeros(3))
    with pytest.raises(InputError, match="u has 2 rows for 3"):
        products.vector_jacobian_product(np.zeros((3, 4)), np.zeros((2, 3)))
    for shape in ((3, 1), (3, 2), (3,)):
        with pytest.raises(InputError, match="u has rows of shape"):
            products.vector_jacobian_product(np.zeros((3, 4)), np.zeros(shape))
    with pytest.raises(InputError, match=r"rows of shape \(5,\).* shape \(4,\)"):
        products.jacobian_vector_product(np.zeros((3, 5)), direction(products))
    for v in (np.zeros((products.parameters.size, 0)), ["a"] * products.parameters.size, "a"):
        with pytest.raises(InputError, match="expected"):
            products.hessian_vector_product(v)


def test_rows_of_another_width_are_refused():
    model = dense()
    X, y, _ = data(model)
    with pytest.raises(InputError, match=r"rows of shape \(3,\).* shape \(4,\)"):
        make_products(model, "mse", (X[:, :3], y))


def test_a_gradient_that_is_not_finite_is_told_from_the_loss():
    """√0 has a value and no slope."""
    root = keras.layers.Lambda(keras.ops.sqrt, dtype="float64")
    model = build(keras.layers.Dense(1, use_bias=False, dtype="float64"), root, shape=(2,))
    model.set_weights([np.ones((2, 1))])
    X = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, -1.0]])
    products = make_products(model, "mse", Batches(X, np.ones(3), batch_size=2))
    products.check_finite()
    with pytest.raises(InputError, match=r"gradient .* rows 2 to 2 \(batch 1\)"):
        products.check_finite(gradient=True)
