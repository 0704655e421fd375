"""Ensembles, dropout and predicted variances, where their answer is known."""

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.heads import make_network
from starstack.networks.options import TrainingOptions
from starstack.networks.persistence import FittedNetwork
from starstack.networks.scaling import Scaler
from starstack.uncertainty.baselines import (
    decode_variance,
    ensemble_seeds,
    mc_dropout_predictions,
    sample_moments,
    train_ensemble,
    train_variance_network,
    variance_loss,
)
from starstack.uncertainty.covariances import squared_mahalanobis


def data(n=600, task="regression"):
    """One target whose scatter grows with the first feature."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 3))
    sigma = np.exp(1.2 * X[:, 0])
    y = 100 + 30 * X[:, 1] + 10 * sigma * rng.normal(size=n)
    return Dataset(
        name="scatter",
        task=task,
        X=X.astype(np.float32),
        y=y[:, None],
        row_id=np.array([f"r{i}" for i in range(n)]),
        feature_names=("a", "b", "c"),
        target_names=("y",),
    )


def network(build_params):
    model = make_network(
        "dense", build_params, input_shape=(3,), task="regression", n_outputs=2, seed=1
    )
    return FittedNetwork(
        model, "regression", ("a", "b"), (), (3,), Scaler(0.5, 2.0), Scaler(np.ones(2), np.ones(2))
    )


def test_moments():
    draws = np.random.default_rng(1).normal(size=(7, 4, 3))
    mean, covariance = sample_moments(draws)
    np.testing.assert_allclose(mean, draws.mean(axis=0))
    np.testing.assert_allclose(covariance[2], np.cov(draws[:, 2].T))
    with pytest.raises(InputError, match="has 1 members"):
        sample_moments(draws[:1])


def test_draws_that_agree_have_no_variance():
    """The mean of fifty times the same number is another one, by rounding."""
    draws = np.tile(np.random.default_rng(2).uniform(1, 6000, (4, 3)), (50, 1, 1))
    assert (draws.mean(axis=0) != draws[0]).any()
    mean, covariance = sample_moments(draws)
    np.testing.assert_array_equal(mean, draws[0])
    assert not covariance.any()


def test_the_covariance_of_few_draws_is_inverted_to_too_much():
    """The mean of Hotelling's T², which is that of Fisher's F of k and m - k times a factor."""
    from scipy import stats

    m, k, rng = 20, 3, np.random.default_rng(3)
    _, covariance = sample_moments(rng.normal(size=(m, 20_000, k)))
    squared = squared_mahalanobis(rng.normal(size=(20_000, k)), covariance)
    expected = k * (m - 1) / (m - k - 2)
    assert stats.f(k, m - k).mean() * k * (m - 1) / (m - k) == pytest.approx(expected)
    assert squared.mean() == pytest.approx(expected, abs=4 * squared.std() / np.sqrt(20_000))


def test_dropout_of_one_linear_layer():
    """Inputs are left out with probability r: mean w·x + b, variance Σ (wᵢ xᵢ)² r / (1 - r)."""
    import keras

    inputs = keras.Input((3,))
    output = keras.layers.Dense(1)(keras.layers.Dropout(0.25)(inputs))
    model = keras.Model(inputs, output)
    weights, bias = np.array([[1.0], [-2.0], [0.5]]), np.array([0.3])
    model.layers[-1].set_weights([weights, bias])
    fitted = FittedNetwork(model, "regression", ("y",), (), (3,), Scaler(0, 1), Scaler(10.0, 4.0))
    X = np.array([1.0, 1.0, 2.0])
    # Rows draw on their own, so that many of the same are many draws.
    draws = mc_dropout_predictions(fitted, np.tile(X, (500, 1)), n_draws=10, seed=1)
    mean, covariance = sample_moments(draws.reshape(5000, 1, 1))
    variance = 16 * ((X * weights[:, 0]) ** 2).sum() / 3
    np.testing.assert_allclose(covariance, variance, rtol=0.1)
    expected = 10 + 4 * (X @ weights + bias)
    assert np.abs(mean[0] - expected) < 4 * np.sqrt(variance / 5000)


def test_dropout_depends_on_the_seed_and_leaves_no_trace():
    fitted = network({"units": [16], "dropout": 0.5})
    X = np.random.default_rng(2).normal(size=(5, 3))
    before = fitted.predict(X)
    states = [v.numpy() for layer in fitted.model.layers for v in layer.non_trainable_variables]
    first, second = (mc_dropout_predictions(fitted, X, n_draws=3, seed=s) for s in (1, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, mc_dropout_predictions(fitted, X, n_draws=3, seed=2))
    assert not np.allclose(first[0], first[1])
    after = [v.numpy() for layer in fitted.model.layers for v in layer.non_trainable_variables]
    for one, other in zip(states, after, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(fitted.predict(X), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": [4]}, "has no dropout"),
        ({"units": [4], "dropout": 0.1, "normalization": "batch"}, "BatchNormalization"),
        ({"units": [4], "dropout": 0.1, "input_noise": 0.1}, "GaussianNoise"),
    ],
)
def test_networks_without_dropout_alone(options, message):
    with pytest.raises(InputError, match=message):
        mc_dropout_predictions(network(options), np.zeros((2, 3)))


def test_loss_without_weight_is_the_likelihood():
    rng = np.random.default_rng(3)
    y, mean, log_variance = rng.normal(size=(3, 6, 2))
    output = np.concatenate([mean, log_variance], axis=1).astype(np.float32)
    likelihood = 0.5 * (log_variance + (y - mean) ** 2 / np.exp(log_variance)).mean(axis=1)
    found = np.asarray(variance_loss(0.0)(y.astype(np.float32), output))
    np.testing.assert_allclose(found, likelihood, rtol=1e-5)
    weighted = np.asarray(variance_loss(0.5)(y.astype(np.float32), output))
    by_hand = (
        0.5 * np.exp(0.5 * log_variance) * (log_variance + (y - mean) ** 2 / np.exp(log_variance))
    )
    np.testing.assert_allclose(weighted, by_hand.mean(axis=1), rtol=1e-5)
    with pytest.raises(InputError, match="beta is 2"):
        variance_loss(2.0)


def test_decoded_in_the_units_of_the_targets():
    mean, variance = decode_variance(
        np.array([[1.0, 0.0, np.log(4.0), 99.0]]),
        Scaler(np.array([5.0, 0.0]), np.array([10.0, 1.0])),
    )
    assert mean.tolist() == [[15.0, 0.0]]
    assert variance[0, 0] == pytest.approx(400) and np.isfinite(variance).all()


OPTIONS = TrainingOptions(epochs=25, batch_size=64, learning_rate=0.01, schedule="cosine")


def test_a_network_that_knows_its_own_scatter():
    found = train_variance_network(
        data(2000), np.arange(2000), OPTIONS, build="dense", build_params={"units": [16]}, seed=1
    )
    X = np.array([[-0.8, 0.0, 0.0], [0.8, 0.0, 0.0], [0.0, 0.5, 0.0]])
    mean, covariance = found.predict(X)
    truth = 10 * np.exp(1.2 * X[:, 0])
    np.testing.assert_allclose(np.sqrt(covariance[:, 0, 0]), truth, rtol=0.25)
    assert mean[2, 0] == pytest.approx(115, abs=4)


def test_members_differ_by_their_seed():
    seeds = ensemble_seeds(1, 3)
    assert len(set(seeds)) == 3 and ensemble_seeds(1, 5)[:3] == seeds
    short = TrainingOptions(epochs=1, batch_size=64)
    members = train_ensemble(data(200), np.arange(200), short, seed=1, n_members=2, build="dense")
    X = data(5).X
    draws = np.stack([member.predict(X) for member in members])
    assert not np.allclose(draws[0], draws[1])
    _, covariance = sample_moments(draws)
    np.testing.assert_allclose(covariance[:, 0, 0], (draws[0] - draws[1])[:, 0] ** 2 / 2)


def test_classes_have_no_variance_head():
    with pytest.raises(InputError, match="expected regression"):
        train_variance_network(
            data(50, task="classification"), np.arange(50), OPTIONS, build="dense", seed=1
        )
