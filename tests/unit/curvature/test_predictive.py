"""The predictive covariance by layers: compiled once, and right where the basis is thin."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.ekfac import fit_ekfac
from starstack.curvature.kfac import fit_kfac


def wide(oracle):
    rng = np.random.default_rng(0)
    model = oracle.network((50,), oracle.dense(4, "tanh"), oracle.dense(2), scale=0.2)
    return model, rng.standard_normal((20, 50)), rng.standard_normal((20, 2))


def test_other_noise_and_priors_do_not_compile_anew(oracle):
    model, X, y = wide(oracle)
    posterior = fit_kfac(model, Batches(X, y, batch_size=8))
    for delta in (0.1, 1.0, 10.0):
        for noise in (0.5, [1.0, 2.0]):
            posterior.with_hyperparameters(noise, delta).predictive_covariance(X, 10)
    assert posterior.predictive._compiled.experimental_get_tracing_count() == 1


def test_layers_add_up(oracle):
    model, X, y = wide(oracle)
    posterior = fit_kfac(model, Batches(X, y, batch_size=8))
    parts = posterior.layer_covariances(X)
    assert list(parts) == [layer.name for layer in model.layers]
    oracle.assert_close(sum(parts.values()), posterior.predictive_covariance(X))
    # Each is that of its layer alone, the others being held by a strong prior.
    first, second = parts
    held = posterior.with_hyperparameters(prior_precision={first: 1.0, second: 1e15})
    oracle.assert_close(held.predictive_covariance(X), parts[first], 1e-9)


def test_rows_outside_the_span_of_the_data_have_the_variance_of_the_prior(oracle):
    """Of the first layer: no row of the fit says anything of the direction."""
    model, X, y = wide(oracle)
    X[:, 40:] = 0.0
    kernel, bias, last, _ = model.get_weights()
    # Weights of a pixel that is always zero change nothing in the fit, and this much after.
    model.layers[0].set_weights([np.where(np.arange(50)[:, None] == 45, 0.0, kernel), bias])
    posterior = fit_ekfac(model, Batches(X, y, batch_size=8), noise=0.1, prior_precision=0.3)
    first = model.layers[0].name
    step = np.zeros((1, 50))
    at = X[:1].copy()
    step[0, 45] = 2.0
    g = last.T * (1 - np.tanh(at @ kernel + bias) ** 2)
    before = posterior.layer_covariances(at)[first][0]
    after = posterior.layer_covariances(at + step)[first][0]
    oracle.assert_close(after - before, 4.0 * g @ g.T / 0.3, 1e-9)


def test_rows_may_be_in_a_file(oracle, tmp_path):
    import h5py

    model, X, y = wide(oracle)
    posterior = fit_kfac(model, Batches(X, y, batch_size=8))
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["X"] = X
        found = posterior.predictive_covariance(file["X"], 7)
    oracle.assert_close(found, posterior.predictive_covariance(X))


def test_positions_outside_the_span_too(oracle):
    """Two rows of two positions: the basis of 13 inputs has four vectors."""
    model = oracle.network(
        (4, 4), oracle.conv1d(2, 3, activation="tanh"), keras.layers.Flatten, oracle.dense(2)
    )
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 4, 4)), rng.standard_normal((2, 2))
    posterior = fit_kfac(model, Batches(X, y), noise=1.0, prior_precision=0.5)
    assert posterior.blocks[0].n_unseen == 9
    at = rng.standard_normal((5, 4, 4))
    oracle.assert_close(posterior.predictive_covariance(at), oracle.predictive(posterior, at))


@pytest.mark.parametrize("delta", [1e-4, 1.0])
@pytest.mark.parametrize("positions", [1, 2])
def test_rows_of_the_fit_have_short_bars_in_single_precision(delta, positions):
    """Fewer rows than inputs: what the basis spans of ‖a‖² must not reach the prior's variance."""
    rng, n, width, noise = np.random.default_rng(0), 60, 300, 0.1
    spectra = 1 + 0.1 * rng.standard_normal((n, 8)) @ rng.standard_normal((8, width))
    X = (spectra + 0.02 * rng.standard_normal((n, width))).astype("float32")
    layer = keras.layers.Dense(1)
    if positions == 2:
        # The same row at both positions, and both outputs: Σ_t a_t ⊗ g_t has factors as one has.
        X, layer = np.stack([X, X], axis=1), keras.layers.Conv1D(1, 1)
    model = keras.Sequential([keras.Input(X.shape[1:]), layer, keras.layers.Flatten()])
    y = np.zeros((n, positions))
    posterior = fit_kfac(model, Batches(X, y), noise=noise, prior_precision=delta)
    A = np.column_stack([X.reshape(n, positions, width)[:, 0].astype(float), np.ones(n)])
    _, s, V = np.linalg.svd(A, full_matrices=True)
    # KFAC of two equal positions: Σ a aᵀ has twice the sum, Σ g gᵀ / (N T) is 1/σ².
    values = np.zeros(width + 1)
    values[:n] = positions * s**2 / noise**2
    expected = ((A @ V.T) ** 2 / (values + delta)).sum(axis=1)
    found = posterior.predictive_covariance(X)[:, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_many_posteriors_bring_no_advice_of_tensorflow(oracle, caplog):
    model, X, y = wide(oracle)
    for _ in range(7):
        fit_kfac(model, Batches(X, y), noise=0.5).predictive_covariance(X[:2])
    advice = [r for r in caplog.records if "retracing" in r.getMessage()]
    assert not [r for r in advice if "EigenPredictive" in r.getMessage()]
