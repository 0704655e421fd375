"""Bounds of the rows of a data set, and the inequality for a network on them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import toeplitz

from starstack.data.dataset import Dataset
from starstack.networks.heads import make_network
from starstack.networks.persistence import FittedNetwork
from starstack.networks.scaling import Scaler
from starstack.uncertainty import row_bounds
from starstack.uncertainty.flux_models import FluxModel
from starstack.uncertainty.row_bounds import bounds_of_rows, excess_of_network

N, K, M, P = 11, 2, 1, 16


@pytest.fixture
def problem():
    """Rows of a made problem whose derivatives differ from row to row."""
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(N, K + M, P)) * np.array([0.01, 1.0, 0.5])[:, None]
    errors = rng.uniform(0.5, 2.0, (N, P)).astype(np.float32)
    errors[rng.random(errors.shape) < 0.2] = np.inf
    dataset = Dataset(
        name="made",
        task="regression",
        X=rng.normal(size=(N, P)).astype(np.float32),
        y=rng.normal(size=(N, K)),
        row_id=np.array([f"r{row}" for row in range(N)]),
        feature_names=tuple(f"x{i}" for i in range(P)),
        target_names=("teff", "logg"),
        X_error=errors,
    )
    model = FluxModel(
        lambda rows: (slopes[rows, :K], slopes[rows, K:]),
        (0.3,),
        "known",
        "unknown",
        rng.uniform(0.3, 1.0, P),
    )
    return dataset, model, slopes


def by_hand(slopes, error, among, spread, scatter):
    good = np.isfinite(error)
    noise = among[np.ix_(good, good)] * np.outer(error[good], error[good])
    noise = noise + np.diag(scatter[good] ** 2)
    information = slopes[:, good] @ np.linalg.inv(noise) @ slopes[:, good].T
    if len(slopes) > K:
        information[K:, K:] += np.eye(M) / spread**2
    return np.linalg.inv(information)[:K, :K]


@pytest.mark.parametrize("correlations", [None, np.array([0.4, 0.1])])
def test_each_row_has_the_bound_of_its_own_noise(problem, correlations, monkeypatch):
    monkeypatch.setattr(row_bounds, "BLOCK_ROWS", 4)  # blocks that rows have to be put together of
    dataset, model, slopes = problem
    dataset = replace(dataset, noise_correlation=correlations)
    values = np.empty(0) if correlations is None else correlations
    among = toeplitz(np.r_[1.0, values, np.zeros(P - 1 - len(values))])
    rows = np.array([0, 1, 2, 4, 5, 7, 8, 9, 10])
    found = bounds_of_rows(model, dataset, rows, threads=2)
    assert list(found) == ["known", "unknown", "known, with scatter", "unknown, with scatter"]
    for number, row in enumerate(rows):
        error = dataset.X_error[row].astype(float)
        for name, parts, scatter in (
            ("known", K, 0 * model.scatter),
            ("unknown", K + M, 0 * model.scatter),
            ("known, with scatter", K, model.scatter),
            ("unknown, with scatter", K + M, model.scatter),
        ):
            expected = by_hand(slopes[row, :parts], error, among, 0.3, scatter)
            np.testing.assert_allclose(found[name][number], expected, rtol=1e-8)


def test_a_model_without_scatter_has_two_bounds(problem):
    dataset, model, _ = problem
    found = bounds_of_rows(replace(model, scatter=None), dataset, np.arange(3))
    assert list(found) == ["known", "unknown"]
    larger = np.linalg.eigvalsh(found["unknown"] - found["known"])
    assert (larger > -1e-9).all() and larger.max() > 1e-6


def network():
    return FittedNetwork(
        model=make_network(
            "dense", {"units": [8]}, input_shape=(P,), task="regression", n_outputs=K, seed=3
        ),
        task="regression",
        target_names=("teff", "logg"),
        classes=(),
        input_shape=(P,),
        input_scaler=Scaler(np.zeros(P), np.full(P, 2.0)),
        target_scaler=Scaler(np.array([5000.0, 2.0]), np.array([300.0, 0.5])),
    )


@pytest.mark.parametrize("correlations", [None, np.array([0.45, 0.1])])
def test_the_inequality_of_a_network(problem, correlations):
    dataset, model, _ = problem
    dataset = replace(dataset, noise_correlation=correlations)
    excess = excess_of_network(network(), model, dataset, np.arange(5))
    assert excess.shape == (5,)
    assert (excess > -1e-6).all() and excess.max() > 1e-3
