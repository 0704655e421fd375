"""Hessians and Gauss–Newton matrices that can be written down, in float64 to 1e-10."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.products import Products

RNG = np.random.default_rng(0)
N, P_IN, K = 17, 4, 3
X = RNG.normal(size=(N, P_IN))
WEIGHT = RNG.uniform(0.5, 2, N)


def linear(k, activation=None):
    keras.utils.set_random_seed(1)
    layer = keras.layers.Dense(k, activation, use_bias=False, dtype="float64")
    return keras.Sequential([keras.Input((P_IN,), dtype="float64"), layer])


def both_matrices(products):
    unit = np.eye(products.parameters.size)
    return products.hessian_vector_product(unit), products.gauss_newton_vector_product(unit)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def by_input(per_row):
    """Return Σ_n x_n x_nᵀ ⊗ S_n: weights lie row by row, one row per input."""
    S = np.asarray(per_row)
    k = S.shape[-1]
    return np.einsum("ni,nj,nkl->ikjl", X, X, S).reshape(P_IN * k, P_IN * k)


@pytest.mark.parametrize("jit_compile", [None, False])
@pytest.mark.parametrize("k", [1, K])
def test_linear_regression(k, jit_compile):
    """H = G = (2/(N k)) XᵀX ⊗ I: Keras's squared error is a mean over outputs, too."""
    data = X, RNG.normal(size=(N, k))
    products = Products(linear(k), "mse", data, jit_compile=jit_compile)
    expected = 2 / (N * k) * np.kron(X.T @ X, np.eye(k))
    for found in both_matrices(products):
        assert_equal(found, expected)


def test_weighted_linear_regression():
    products = Products(linear(1), "mse", (X, RNG.normal(size=N), WEIGHT), jit_compile=False)
    for found in both_matrices(products):
        assert_equal(found, 2 / N * X.T @ (WEIGHT[:, None] * X))


def test_logistic_regression():
    """H = G = XᵀDX / N, D = diag(p (1 − p)), though the model returns probabilities."""
    model, y = linear(1, "sigmoid"), RNG.integers(0, 2, N)
    p = 1 / (1 + np.exp(-X @ model.get_weights()[0]))
    products = Products(model, "binary_crossentropy", (X, y), jit_compile=False)
    for found in both_matrices(products):
        assert_equal(found, X.T @ (p * (1 - p) * X) / N)
    expected = X.T @ (p[:, 0] - y) / N
    assert_equal(products.gradient(), expected)


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_softmax_regression(loss):
    """H = G = Σ_n x xᵀ ⊗ (diag(p) − p pᵀ) / N."""
    model, codes = linear(K, "softmax"), RNG.integers(0, K, N)
    z = X @ model.get_weights()[0]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = codes if "sparse" in loss else np.eye(K)[codes]
    S = [np.diag(row) - np.outer(row, row) for row in p]
    for found in both_matrices(Products(model, loss, (X, y), jit_compile=False)):
        assert_equal(found, by_input(S) / N)


def test_probabilities_that_round_to_one_keep_their_curvature():
    model = linear(1, "sigmoid")
    x = np.eye(P_IN)[:1]
    model.set_weights([np.full((P_IN, 1), 40.0)])
    products = Products(model, "binary_crossentropy", (x, np.ones(1)), jit_compile=False)
    H = both_matrices(products)[0]
    assert H[0, 0] == pytest.approx(np.exp(-40.0), rel=1e-9)


class Point(keras.layers.Layer):
    """The weights themselves, for any input: with a loss of them, any function of a vector."""

    def __init__(self, start, residuals=lambda w: w):
        super().__init__(dtype="float64")
        self.start, self.residuals = np.asarray(start, dtype=float), residuals

    def build(self, shape):
        self.w = self.add_weight(shape=self.start.shape, initializer="zeros")
        self.w.assign(self.start)

    def call(self, x):
        return 0 * x[:, :1] + self.residuals(tf.convert_to_tensor(self.w))[None]


def function_of(start, loss, residuals=lambda w: w):
    model = keras.Sequential([keras.Input((1,), dtype="float64"), Point(start, residuals)])
    return Products(model, loss, (np.ones((1, 1)), np.zeros(1)), jit_compile=False)


SPECTRA = {
    "repeated": [1.0, 1.0, 1.0, 5.0, 5.0],
    "negative": [-3.0, -1e-3, 0.0, 2.0, 7.0],
    "badly conditioned": np.logspace(-10, 0, 11),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_quadratic_bowls_have_their_prescribed_spectra(name):
    spectrum = np.sort(SPECTRA[name])
    Q = np.linalg.qr(RNG.normal(size=(len(spectrum), len(spectrum))))[0]
    A = (Q * spectrum) @ Q.T
    start = RNG.normal(size=len(spectrum))
    products = function_of(start, lambda y, w: 0.5 * tf.reduce_sum(w * tf.linalg.matvec(A, w), 1))
    H, G = both_matrices(products)
    assert_equal(H, A)
    assert_equal(G, A)
    assert_equal(products.gradient(), A @ start)
    np.testing.assert_allclose(np.linalg.eigvalsh(H), spectrum, atol=1e-13 * spectrum[-1] * 10)


@pytest.mark.parametrize("at", [(1.0, 1.0), (-1.2, 1.0), (0.0, 2.0)])
def test_rosenbrocks_function_separates_hessian_and_gauss_newton(at):
    """f = (1 − a)² + 100 (b − a²)², residuals r = (1 − a, 10 (b − a²)), G = 2 JᵀJ."""
    a, b = at
    products = function_of(
        at,
        lambda y, r: tf.reduce_sum(r**2, axis=1),
        lambda w: tf.stack([1 - w[0], 10 * (w[1] - w[0] ** 2)]),
    )
    H, G = both_matrices(products)
    J = np.array([[-1, 0], [-20 * a, 10]])
    assert_equal(H, np.array([[2 - 400 * (b - 3 * a**2), -400 * a], [-400 * a, 200]]))
    assert_equal(G, 2 * J.T @ J)
    assert products.loss() == pytest.approx((1 - a) ** 2 + 100 * (b - a**2) ** 2)
    fits = at == (1.0, 1.0)
    assert np.allclose(H, G) == fits
    assert (np.linalg.eigvalsh(H)[0] < 0) == (at == (0.0, 2.0))


def test_two_linear_layers():
    """Loss (y − u w x)²: H = [[2w²x², 2(2uw x² − yx)], …] and G = 2 JᵀJ, J = x (w, u)."""
    x, y, u, w = 1.5, 0.7, 0.4, -1.3
    layers = [keras.layers.Dense(1, use_bias=False, dtype="float64") for _ in range(2)]
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    model.set_weights([np.array([[u]]), np.array([[w]])])
    data = np.array([[x]]), np.array([[y]])
    H, G = both_matrices(Products(model, "mse", data, jit_compile=False))
    mixed = 2 * (2 * u * w * x**2 - y * x)
    assert_equal(H, np.array([[2 * (w * x) ** 2, mixed], [mixed, 2 * (u * x) ** 2]]))
    assert_equal(G, 2 * x**2 * np.array([[w * w, u * w], [u * w, u * u]]))
