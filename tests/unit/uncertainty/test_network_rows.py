"""Rows, posteriors and noise of a small network, against arithmetic by hand."""

import dataclasses
import logging

import keras
import numpy as np
import pytest

from starstack.curvature.diagnosis import diagnose, likelihood_products
from starstack.curvature.structures import laplace
from starstack.data.dataset import Dataset
from starstack.networks.persistence import FittedNetwork
from starstack.networks.scaling import Scaler
from starstack.splits.split import Split
from starstack.uncertainty.denoising import denoise
from starstack.uncertainty.network_rows import (
    draw_rows,
    rows_of_network,
    scaled_batches,
    scaler_digest,
    weights_covariance,
)
from starstack.uncertainty.noise_of_rows import (
    noise_of_rows,
    prior_of_rows,
    read_covariances,
    write_covariances,
)
from starstack.uncertainty.noise_propagation import functions_of, propagate

N, WIDTH = 60, 4
RNG = np.random.default_rng(8)
SLOPE = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 1.0], [3.0, 0.2]])


@pytest.fixture(scope="module")
def dataset():
    X = RNG.normal(5, 2, size=(N, WIDTH))
    error = RNG.uniform(0.1, 0.3, size=(N, WIDTH))
    error[3, 1] = np.inf
    return Dataset(
        "d",
        "regression",
        X,
        X @ SLOPE * [100.0, 1.0] + 4000,
        np.array([f"r{i}" for i in range(N)]),
        tuple("abcd"),
        ("teff", "logg"),
        X_error=error,
        X_noiseless=X + 0.01,
    )


@pytest.fixture(scope="module")
def network():
    """A linear network: y = 4000 + diag(100, 1) SLOPEᵀ x, in scaled units inside."""
    model = keras.Sequential(
        [keras.Input((WIDTH,), dtype="float64"), keras.layers.Dense(2, dtype="float64")]
    )
    inputs, targets = (
        Scaler(np.full(WIDTH, 5.0), 2.0),
        Scaler(np.array([4000.0, 10.0]), [50.0, 3.0]),
    )
    kernel = 2.0 * SLOPE * [100.0, 1.0] / [50.0, 3.0]
    bias = (5.0 * SLOPE.sum(axis=0) * [100.0, 1.0] + 4000 - targets.mean) / [50.0, 3.0]
    model.set_weights([kernel, bias])
    return FittedNetwork(model, "regression", ("teff", "logg"), (), (WIDTH,), inputs, targets)


def test_the_network_of_this_test_is_what_it_says(network, dataset):
    np.testing.assert_allclose(network.predict(dataset.X), dataset.y, rtol=1e-9)


def test_draws_are_some_of_the_rows_and_the_same_each_time():
    rows = np.arange(10, 100)
    drawn = draw_rows(rows, 30, seed=1)
    assert len(set(drawn.tolist())) == 30
    assert set(drawn.tolist()) < set(rows.tolist())
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, draw_rows(rows, 30, seed=1))
    assert not np.array_equal(drawn, draw_rows(rows, 30, seed=2))
    np.testing.assert_array_equal(draw_rows(rows, 200, seed=1), rows)


def test_fit_calibration_and_test_rows_share_none(dataset):
    is_test = np.arange(N) % 4 == 0
    folds = np.where(is_test, 0, 1 + np.arange(N) % 2)[:, None]
    rows = rows_of_network(dataset, Split(dataset.row_id, is_test, folds, "partition"), 0.2, seed=3)
    parts = [rows.fit, rows.calibration, rows.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(N))
    assert rows.test.tolist() == np.flatnonzero(is_test).tolist()
    assert len(rows.calibration) == round(0.2 * (~is_test).sum())


def test_rows_that_stand_for_more_count_for_them(network, dataset):
    rows = np.arange(0, N, 3)
    data = scaled_batches(network, dataset, rows, fitted=np.arange(N))
    assert data.total_weight == pytest.approx(N)
    batch = next(iter(data))
    np.testing.assert_allclose(batch.x, (dataset.X[rows] - 5) / 2)
    np.testing.assert_allclose(batch.y, (dataset.y[rows] - [4000, 10]) / [50, 3])


def weighted(dataset, seed=4):
    """Weights of any unit, some of them zero."""
    weight = np.random.default_rng(seed).uniform(0, 700, N)
    weight[[1, 5]] = 0
    return dataclasses.replace(dataset, sample_weight=weight)


def test_fitted_rows_count_as_they_did_in_training(network, dataset):
    fitted, drawn = np.arange(10, 50), np.arange(10, 50, 4)
    some = weighted(dataset)
    mean = some.sample_weight[fitted].mean()
    data = scaled_batches(network, some, drawn, fitted=fitted)
    (batch,) = data
    np.testing.assert_allclose(batch.weight, 4 * some.sample_weight[drawn] / mean)
    assert scaled_batches(network, some, fitted, fitted=fitted).total_weight == pytest.approx(40)
    # Rows that were held out count once each.
    (batch,) = scaled_batches(network, some, np.arange(50, N))
    np.testing.assert_array_equal(batch.weight, np.ones(10))


def test_the_posterior_of_a_weighted_network_is_that_of_weighted_ridge(network, dataset):
    """Of the weights that a weighted ridge has, the gradient is zero too."""
    some, fitted, delta = weighted(dataset), np.arange(40), 3.0
    noise, k = np.array([0.5, 2.0]), 2
    rng = np.random.default_rng(5)
    some = dataclasses.replace(some, y=some.y + rng.normal(size=(N, 2)) * [60.0, 3.0])
    a = np.hstack([(some.X - 5) / 2, np.ones((N, 1))])
    targets = (some.y - [4000.0, 10.0]) / [50.0, 3.0]
    share = some.sample_weight[fitted] / some.sample_weight[fitted].mean()
    precisions = [
        (a[fitted].T * share) @ a[fitted] / noise[c] ** 2 + delta * np.eye(WIDTH + 1)
        for c in range(k)
    ]
    ridge = np.stack(
        [
            np.linalg.solve(own, (a[fitted].T * share) @ targets[fitted, c] / noise[c] ** 2)
            for c, own in enumerate(precisions)
        ],
        axis=1,
    )
    model = keras.models.clone_model(network.model)
    model.set_weights([ridge[:-1], ridge[-1]])
    trained = dataclasses.replace(network, model=model)
    data = scaled_batches(trained, some, fitted, fitted=fitted)
    for structure in ("kfac", "exact", "cg"):
        posterior = laplace(model, data, structure=structure, noise=noise, prior_precision=delta)
        found = weights_covariance(posterior, trained, some, np.arange(40, N))
        for c, scale in enumerate((50.0, 3.0)):
            expected = np.einsum("ni,ij,nj->n", a[40:], np.linalg.inv(precisions[c]), a[40:])
            np.testing.assert_allclose(found[:, c, c], scale**2 * expected, rtol=1e-8)
        record = diagnose(posterior, likelihood_products(posterior, data))
        assert record.gradient_norm < 1e-9 * record.prior_gradient_norm


def test_the_covariance_of_the_weights_is_in_the_units_of_the_targets(network, dataset):
    rows, noise, delta = np.arange(40), np.array([0.5, 2.0]), 3.0
    posterior = laplace(
        network.model,
        scaled_batches(network, dataset, rows),
        structure="kfac",
        noise=noise,
        prior_precision=delta,
    )
    found = weights_covariance(posterior, network, dataset, np.arange(40, N))
    # One linear layer: (Σ a aᵀ / σ² + δ)⁻¹ of each output, a with the one of the bias.
    a = np.hstack([(dataset.X - 5) / 2, np.ones((N, 1))])
    for output, scale in enumerate((50.0, 3.0)):
        precision = a[rows].T @ a[rows] / noise[output] ** 2 + delta * np.eye(WIDTH + 1)
        expected = np.einsum("ni,ij,nj->n", a[40:], np.linalg.inv(precision), a[40:])
        np.testing.assert_allclose(found[:, output, output], scale**2 * expected, rtol=1e-8)


def test_the_noise_of_a_linear_network_and_its_file(network, dataset, tmp_path):
    rows = np.array([2, 3, 30])
    found = noise_of_rows(network, dataset, rows, np.arange(40), n_components=2, seed=1)
    jacobian = (SLOPE * [100.0, 1.0]).T
    variance = np.where(np.isfinite(dataset.X_error), dataset.X_error, 0)[rows] ** 2
    expected = np.einsum("kp,np,lp->nkl", jacobian, variance, jacobian)
    np.testing.assert_allclose(found.noise, expected, rtol=1e-5)
    np.testing.assert_allclose(found.at_observed, expected, rtol=1e-5)
    write_covariances(found, tmp_path / "noise.h5", {"rule": "propagate_noise"})
    again = read_covariances(tmp_path / "noise.h5").of(np.array(["r30", "r2"]))
    np.testing.assert_array_equal(again.noise, found.noise[[2, 0]])


@pytest.fixture(scope="module")
def curved(network):
    """A network whose Jacobian changes from row to row."""
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Dense(8, activation="tanh", dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
    model = keras.Sequential([keras.Input((WIDTH,), dtype="float64"), *layers])
    return dataclasses.replace(network, model=model)


def test_the_noise_is_drawn_about_denoised_spectra(curved, dataset):
    rows, fit_rows = np.arange(40, N), np.arange(40)
    found = noise_of_rows(curved, dataset, rows, fit_rows, method="jacobian", n_components=2)
    prior = prior_of_rows(dataset, fit_rows, n_components=2, seed=0)
    spectra, errors = dataset.X[rows], dataset.X_error[rows]
    for covariance, about in (
        (found.noise, denoise(prior, spectra, errors)),
        (found.at_observed, spectra),
    ):
        jacobian = functions_of(curved).jacobian(about)
        np.testing.assert_allclose(covariance, propagate(jacobian, errors), rtol=1e-5)
    assert (np.abs(found.noise / found.at_observed - 1)[:, 0, 0] > 1e-3).any()


def test_rows_of_every_block_have_noise_of_their_own(curved, dataset, monkeypatch):
    rows = np.arange(40, N)
    whole = noise_of_rows(curved, dataset, rows, np.arange(40), n_components=2, seed=1)
    monkeypatch.setattr("starstack.uncertainty.noise_of_rows.BLOCK_ROWS", 7)
    parts = noise_of_rows(curved, dataset, rows, np.arange(40), n_components=2, seed=1)
    np.testing.assert_allclose(parts.noise, whole.noise, rtol=1e-5)


def test_other_scales_have_another_digest(network):

    other = dataclasses.replace(network, input_scaler=Scaler(np.full(WIDTH, 5.0), 2.1))
    assert scaler_digest(other) != scaler_digest(network)
    assert scaler_digest(network) == scaler_digest(dataclasses.replace(network))


def test_every_error_bar_is_solved_for_once_and_the_log_has_the_total(network, dataset, caplog):
    """No row that only fills up a batch is solved for."""
    fitted, rows = np.arange(40), np.arange(40, 51)
    data = scaled_batches(network, dataset, fitted, fitted=fitted)
    exact, solved = (
        laplace(network.model, data, structure=name, noise=1.0) for name in ("exact", "cg")
    )
    with caplog.at_level(logging.DEBUG, logger="starstack"):
        found = weights_covariance(solved, network, dataset, rows)
    solutions = [each for each in caplog.messages if "right-hand side " in each]
    assert len(solutions) == 11 * 2
    told = [each for each in caplog.records if each.levelno >= logging.INFO]
    # One line for each batch of solutions, and the total.
    assert len([each for each in told if each.message.startswith("cg: ")]) == 2
    assert not [each for each in told if "right-hand side " in each.message]
    assert "error bars of cg: 11 of 11 rows" in caplog.messages
    expected = weights_covariance(exact, network, dataset, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
