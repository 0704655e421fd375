"""Exact blocks and the exact diagonal against brute force, for layers of every kind."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.block import fit_block
from starstack.curvature.diagonal import fit_diagonal
from starstack.curvature.last_layer import fit_last_layer
from starstack.errors import InputError

NOISE = np.array([0.4, 2.5])
NETWORKS = {
    "dense": lambda o: o.network((6,), o.dense(5, "tanh"), o.dense(2)),
    "no bias": lambda o: o.network((6,), o.dense(5, "tanh", use_bias=False), o.dense(2)),
    "conv1d": lambda o: o.network(
        (9, 2),
        o.conv1d(3, 3, padding="causal", dilation_rate=2, activation="tanh"),
        o.conv1d(2, 2, strides=2),
        keras.layers.Flatten,
        o.dense(2),
    ),
    "conv2d": lambda o: o.network(
        (6, 5, 2),
        o.conv2d(3, (3, 2), strides=(1, 2), padding="same", activation="tanh"),
        keras.layers.GlobalAveragePooling2D,
        o.dense(2),
    ),
    "positions": lambda o: o.network((4, 3), o.dense(2, "tanh"), keras.layers.Flatten, o.dense(2)),
}


def rows(model, n=21):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *model.input_shape[1:])), rng.standard_normal((n, 2))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fit", [fit_block, fit_diagonal])
def test_blocks_and_diagonal_are_those_of_the_dense_matrix(oracle, fit, name):
    model = NETWORKS[name](oracle)
    X, y = rows(model)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X))
    posterior = fit(model, Batches(X, y, weight, batch_size=8), noise=NOISE, prior_precision=0.4)
    exact = oracle.within_layers(model, oracle.gauss_newton(model, X, 1 / NOISE**2, weight))
    if fit is fit_diagonal:
        exact = np.diag(np.diag(exact))
    oracle.assert_close(oracle.precision_of(posterior), exact + 0.4 * np.eye(len(exact)), 1e-9)


def test_any_layer_can_be_the_last_one(oracle):
    model = NETWORKS["dense"](oracle)
    X, y = rows(model)
    first = model.layers[0].name
    posterior = fit_last_layer(model, Batches(X, y), layer=first, noise=NOISE)
    assert posterior.covered == (first,)
    block = fit_block(model, Batches(X, y), only=[first], noise=NOISE)
    oracle.assert_close(posterior.predictive_covariance(X), block.predictive_covariance(X))


def test_large_blocks_are_refused_with_their_size(oracle):
    model = oracle.network((200,), oracle.dense(200), oracle.dense(2))
    X, y = rows(model, n=4)
    with pytest.raises(InputError, match=r"need 48.* GiB, expected at most 2 .*has 40200 weights"):
        fit_block(model, Batches(X, y))
    fit_last_layer(model, Batches(X, y))
