"""The small network: principal components against numpy's, its exact posterior against algebra."""

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.networks.holdout import validation_rows
from starstack.networks.options import TrainingOptions
from starstack.seeds import derive_seed
from starstack.uncertainty import small_network
from starstack.uncertainty.small_network import components_of, fit_small, rows_to_predict

N, WIDTH, USED, COMPONENTS = 150, 30, 100, 12


@pytest.fixture(scope="module")
def dataset():
    """Rows in few directions, of which each is half as long as the one before."""
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(N, 20)) * 0.5 ** np.arange(20)
    X = 7 + latent @ np.linalg.qr(rng.normal(size=(WIDTH, 20)))[0].T
    y = np.stack([4000 + 300 * latent[:, 0], np.sin(2 * latent[:, 1])], axis=1)
    return Dataset(
        "d",
        "regression",
        X.astype(np.float32),
        y + rng.normal(size=(N, 2)) * [20.0, 0.1],
        np.array([f"r{i}" for i in range(N)]),
        tuple(f"f{i}" for i in range(WIDTH)),
        ("teff", "logg"),
        group=np.array([f"g{i}" for i in range(N)]),
        sample_weight=rng.uniform(1, 2, N),
        X_error=np.ones((N, WIDTH), dtype=np.float32),
        X_noiseless=X.astype(np.float32),
        wavelength=np.arange(WIDTH, dtype=float),
        noise_correlation=np.array([0.2]),
        row_values={"snr": np.ones(N)},
    )


def test_components_are_those_of_the_drawn_rows(dataset):
    rows = np.arange(10, 90)
    found = components_of(dataset, rows, seed=1).X
    centred = dataset.X[rows].astype(float)
    centred -= centred.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    expected = (vectors[:, -COMPONENTS:] * np.sqrt(values[-COMPONENTS:]))[:, ::-1]
    expected *= np.sign((found * expected).sum(axis=0))
    # The longest is 10, the twelfth 0.005.
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_array_equal(found, components_of(dataset, rows, seed=1).X)


def test_what_belongs_to_a_row_stays_with_it_and_what_belongs_to_pixels_is_dropped(dataset):
    rows = np.array([4, 9, 2, 77])
    found = components_of(dataset, rows, seed=1)
    assert found.row_id.tolist() == ["r4", "r9", "r2", "r77"]
    assert found.group.tolist() == ["g4", "g9", "g2", "g77"]
    np.testing.assert_array_equal(found.y, dataset.y[rows])
    np.testing.assert_array_equal(found.sample_weight, dataset.sample_weight[rows])
    assert found.X.shape == (4, 4) and len(found.feature_names) == 4
    for name in ("X_error", "X_noiseless", "wavelength", "noise_correlation", "time"):
        assert getattr(found, name) is None
    assert not found.row_values
    found.sha256()


@pytest.fixture(scope="module")
def fitted(dataset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_network, "ROWS", USED)
        options = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}
        own = TrainingOptions(scale_inputs="per_feature", validation_fraction=0.2, **options)
        patch.setattr(small_network, "OPTIONS", own)
        network, components, posteriors = fit_small(dataset, np.arange(20, N), seed=5)
    rows = validation_rows(components, np.arange(USED), 0.2, derive_seed(5, "small network"))
    return network, components, posteriors, rows


def test_it_is_trained_on_some_of_the_training_rows_alone(fitted, dataset):
    _, components, _, (fit, held_out) = fitted
    assert components.n_rows == USED == len(set(components.row_id.tolist()))
    assert set(components.row_id.tolist()) <= set(dataset.row_id[20:].tolist())
    assert (len(fit), len(held_out)) == (80, 20)


def weights_jacobian(weights, x):
    """Differentiate tanh(tanh(x A + a) B + b) C + c by A, a, B, b, C, c: (n, k, P)."""
    A, a, B, b, C, _ = weights
    first = np.tanh(x @ A + a)
    second = np.tanh(first @ B + b)
    n, k = len(x), C.shape[1]
    into_second = (1 - second**2)[:, None] * C.T
    into_first = (into_second @ B.T) * (1 - first**2)[:, None]
    last = np.broadcast_to(np.eye(k), (n, k, k))
    parts = []
    for inputs, delta in ((x, into_first), (first, into_second), (second, last)):
        parts += [np.einsum("ni,nco->ncio", inputs, delta).reshape(n, k, -1), delta]
    return np.concatenate(parts, axis=2)


def test_noise_and_exact_posterior_are_what_algebra_makes_of_the_weights(fitted):
    network, components, posteriors, (fit, held_out) = fitted
    weights = [part.astype(float) for part in network.model.get_weights()]
    x = (components.X - network.input_scaler.mean) / network.input_scaler.scale
    squares = np.average(x[fit] ** 2, axis=0, weights=components.sample_weight[fit])
    np.testing.assert_allclose(squares, 1, rtol=1e-5)
    off = (network.predict(components.X) - components.y)[held_out] / network.target_scaler.scale
    noise = np.sqrt((off**2).mean(axis=0))
    exact = posteriors["exact"]
    np.testing.assert_allclose(exact.noise, noise, rtol=1e-4)
    assert exact.prior_precision == 1
    J = weights_jacobian(weights, x[fit]) / noise[:, None]
    share = components.sample_weight[fit] / components.sample_weight[fit].mean()
    precision = np.einsum("n,nci,ncj->ij", share, J, J) + np.eye(J.shape[2])
    at = weights_jacobian(weights, x[held_out])
    expected = np.einsum("nci,ij,ndj->ncd", at, np.linalg.inv(precision), at)
    found = exact.predictive_covariance(x[held_out].astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_every_structure_approximates_the_same_posterior(fitted):
    _, components, posteriors, _ = fitted
    assert set(posteriors) == {"exact", *small_network.STRUCTURES}
    x = rows_to_predict(fitted[0], components, 30, seed=1)
    exact = posteriors["exact"].predictive_covariance(x)
    for name, posterior in posteriors.items():
        assert posterior.structure == name
        np.testing.assert_array_equal(posterior.noise, posteriors["exact"].noise)
        assert posterior.prior_precision == 1
        variance = np.einsum("ncc->nc", posterior.predictive_covariance(x))
        # Weights that are held fixed have no variance.
        lower = 0.05 if name == "last_layer" else 0.2
        ratio = variance / np.einsum("ncc->nc", exact)
        assert lower < np.median(ratio) < 3, name


def test_rows_to_predict_are_scaled_rows_of_the_components(fitted):
    network, components, _, _ = fitted
    scaled = (components.X - network.input_scaler.mean) / network.input_scaler.scale
    found = rows_to_predict(network, components, 30, seed=1)
    assert found.shape == (30, COMPONENTS)
    nearest = np.abs(found[:, None] - scaled).max(axis=2)
    assert nearest.min(axis=1).max() < 1e-5
    assert len(set(nearest.argmin(axis=1).tolist())) == 30
    everything = rows_to_predict(network, components, 10 * USED, seed=1)
    np.testing.assert_allclose(everything, scaled, atol=1e-5)
