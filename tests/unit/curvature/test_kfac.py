"""KFAC where it is exact, by definition where it is not, and by way of the smaller Gram matrix."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.kfac import fit_kfac
from starstack.curvature.structures import laplace
from starstack.errors import InputError

NOISE = np.array([0.4, 1.0, 2.5])


def rows(shape, k, n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)), rng.standard_normal((n, k))


def test_exact_for_deep_linear_networks(oracle):
    """All rows have one and the same backward pass, so that the sums factorise."""
    model = oracle.network((6,), oracle.dense(5), oracle.dense(4), oracle.dense(3))
    X, y = rows((6,), 3)
    weight = np.random.default_rng(1).uniform(0.5, 2, 40)
    posterior = fit_kfac(
        model, Batches(X, y, weight, batch_size=16), noise=NOISE, prior_precision=0.3
    )
    exact = oracle.gauss_newton(model, X, 1 / NOISE**2, weight)
    exact = oracle.within_layers(model, exact) + 0.3 * np.eye(len(exact))
    oracle.assert_close(oracle.precision_of(posterior), exact, 1e-9)


def test_exact_for_one_row(oracle):
    """A product of one term is not approximated, with one output."""
    model = oracle.network((6,), oracle.dense(5, "tanh"), oracle.dense(1))
    X, y = rows((6,), 1, n=1)
    posterior = fit_kfac(model, Batches(X, y), noise=0.5, prior_precision=1.0)
    exact = oracle.within_layers(model, oracle.gauss_newton(model, X, np.array([4.0])))
    oracle.assert_close(oracle.precision_of(posterior), exact + np.eye(len(exact)))


def test_layers_of_a_tanh_network_by_definition(oracle):
    model = oracle.network((6,), oracle.dense(5, "tanh"), oracle.dense(3))
    X, y = rows((6,), 3)
    posterior = fit_kfac(model, Batches(X, y, batch_size=16), noise=NOISE, prior_precision=1.0)
    W1, b1, W2, _ = model.get_weights()
    hidden = np.tanh(X @ W1 + b1)
    g = W2.T[None] * (1 - hidden**2)[:, None, :]
    G = np.einsum("nci,ncj,c->ij", g, g, 1 / NOISE**2)
    A = np.column_stack([X, np.ones(40)])
    expected = np.kron(A.T @ A, G) / 40 + np.eye(35)
    oracle.assert_close(oracle.precision_of(posterior)[:35, :35], expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_by_definition(oracle, channels):
    """Grosse & Martens: both sums go over positions, and N T divides."""
    model = oracle.network(
        (7, channels),
        oracle.conv1d(2, 3, activation="tanh"),
        keras.layers.Flatten,
        oracle.dense(1),
    )
    X, y = rows((7, channels), 1)
    posterior = fit_kfac(model, Batches(X, y, batch_size=16), noise=0.5, prior_precision=1.0)
    kernel, bias, last, _ = model.get_weights()
    n_in = 3 * channels + 1
    patches = np.stack([X[:, t : t + 3].reshape(40, -1) for t in range(5)], axis=1)
    patches = np.concatenate([patches, np.ones((40, 5, 1))], axis=2)
    z = patches @ np.vstack([kernel.reshape(-1, 2), bias])
    g = last.reshape(5, 2) * (1 - np.tanh(z) ** 2)
    A = np.einsum("nti,ntj->ij", patches, patches)
    G = np.einsum("nti,ntj->ij", g, g) / 0.25
    expected = np.kron(A, G) / (40 * 5) + np.eye(2 * n_in)
    oracle.assert_close(oracle.precision_of(posterior)[: 2 * n_in, : 2 * n_in], expected)


@pytest.mark.parametrize("n", [10, 29, 30, 31, 60])
def test_small_gram_matrix_gives_what_the_large_one_gives(oracle, n):
    """30 inputs and the bias: the number of rows decides which is decomposed."""
    model = oracle.network((29,), oracle.dense(4, "tanh"), oracle.dense(2), scale=0.2)
    X, y = rows((29,), 2, n=n)
    noise = np.array([0.5, 2.0])
    posterior = fit_kfac(model, Batches(X, y, batch_size=7), noise=noise, prior_precision=0.7)
    vectors = posterior.kronecker[model.layers[0].name].inputs.vectors
    assert vectors.shape == (30, min(n, 30))
    A = np.column_stack([X, np.ones(n)])
    W1, b1, W2, _ = model.get_weights()
    g = W2.T[None] * (1 - np.tanh(X @ W1 + b1) ** 2)[:, None, :]
    G = np.einsum("nci,ncj,c->ij", g, g, 1 / noise**2)
    expected = np.kron(A.T @ A, G) / n + 0.7 * np.eye(120)
    oracle.assert_close(oracle.precision_of(posterior)[:120, :120], expected, 1e-9)


def test_sums_do_not_lose_small_terms_in_single_precision():
    """200,000 terms of 1 after one of 2²⁶: a running sum in single precision would stand still."""
    from starstack.curvature.gram import GramSum

    gram = GramSum(1)
    gram.add(np.full((1, 1), 2.0**13, dtype=np.float32))
    for _ in range(200):
        gram.add(np.full((1000, 1), 1.0, dtype=np.float32))
    assert gram.eigenbasis().values.tolist() == [2.0**26 + 200_000]


def test_what_kfac_has_not_is_refused_by_name(oracle):
    model, (X, y) = oracle.network((6,), oracle.dense(3)), rows((6,), 3)
    with pytest.raises(InputError, match="'kfac': has the options leave_out, got matrix"):
        laplace(model, Batches(X, y), matrix="hessian")
    with pytest.raises(InputError, match="expected Batches"):
        laplace(model, X)
    found, expected = (laplace(model, data, noise=NOISE) for data in ((X, y), Batches(X, y)))
    np.testing.assert_array_equal(found.predictive_covariance(X), expected.predictive_covariance(X))
