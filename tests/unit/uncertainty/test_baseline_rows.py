"""Baselines: which rows they are trained on and predict, and moments of members that are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.options import TrainingOptions
from starstack.uncertainty import baseline_rows
from starstack.uncertainty.baseline_rows import (
    BASELINES,
    BaselineRows,
    read_baseline,
    train_baseline,
    write_baseline,
)
from starstack.uncertainty.network_rows import NetworkRows

N = 90
ROWS = NetworkRows(fit=np.arange(0, 40), calibration=np.arange(40, 60), test=np.arange(75, N))
TRAIN = np.arange(60)
OPTIONS = TrainingOptions(epochs=2, batch_size=16, validation_fraction=0.3, patience=4)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 4)).astype(np.float32)
    y = X[:, :2] * [50.0, 1.0] + [4000.0, 2.0] + rng.normal(size=(N, 2)) * [5.0, 0.1]
    names = np.array([f"r{i}" for i in range(N)])
    return Dataset("d", "regression", X, y, names, tuple("abcd"), ("teff", "logg"))


def train(kind, dataset, options=OPTIONS, seed=3, build_params=None, **arguments):
    given = {"build": "dense"} | arguments
    params = build_params or {"units": [4]}
    return train_baseline(
        kind, dataset, TRAIN, ROWS, options, seed=seed, build_params=params, **given
    )


@pytest.fixture
def recorded(monkeypatch):
    """Replace one kind of baseline by one that keeps what it is given."""
    calls = []

    def record(dataset, train_rows, options, X, **arguments):
        calls.append(SimpleNamespace(rows=train_rows, options=options, X=X, **arguments))
        return X[:, :2].astype(float), np.tile(np.eye(2), (len(X), 1, 1))

    monkeypatch.setitem(BASELINES, "ensemble", record)
    return calls


def test_calibration_rows_are_predicted_and_not_trained_on(dataset, recorded):
    found = train("ensemble", dataset, device="cpu")
    (call,) = recorded
    np.testing.assert_array_equal(call.rows, np.arange(40))
    wanted = [*range(40, 60), *range(75, 90)]
    assert found.row_id.tolist() == [f"r{i}" for i in wanted]
    np.testing.assert_array_equal(call.X, dataset.X[wanted])
    np.testing.assert_array_equal(found.mean, dataset.X[wanted, :2].astype(float))
    assert (call.seed, call.build, call.device) == (3, "dense", "cpu")


def test_all_rows_left_are_fitted_unless_the_schedule_looks_at_some(dataset, recorded):
    train("ensemble", dataset)
    plateau = TrainingOptions(epochs=2, schedule="reduce_on_plateau", patience=4)
    train("ensemble", dataset, plateau)
    free, judged = (call.options for call in recorded)
    assert (free.validation_fraction, free.patience, free.epochs) == (0.0, None, 2)
    assert judged == plateau


def test_an_ensemble_scatters_as_its_members(dataset, monkeypatch):
    members = np.random.default_rng(2).normal(size=(5, 35, 2))
    given = {}

    def trained(dataset, rows, options, *, seed, **arguments):
        given.update(rows=rows, seed=seed)
        return [SimpleNamespace(predict=lambda X, own=own: own) for own in members]

    monkeypatch.setattr(baseline_rows, "train_ensemble", trained)
    found = train("ensemble", dataset)
    np.testing.assert_allclose(found.mean, members.mean(axis=0))
    np.testing.assert_allclose(found.covariance[7], np.cov(members[:, 7].T))
    assert given["seed"] == 3 and given["rows"].max() == 39


@pytest.mark.parametrize(("rate", "expected"), [(None, 0.1), (0.0, 0.1), (0.3, 0.3)])
def test_dropout_is_put_in_and_noise_of_the_inputs_left_out(dataset, monkeypatch, rate, expected):
    given = {}

    def trained(dataset, rows, options, *, seed, build_params, **arguments):
        given.update(build_params)
        return "network", "history"

    draws = np.random.default_rng(4).normal(size=(50, 35, 2))

    def predicted(network, X, *, n_draws, seed):
        assert network == "network" and n_draws == 50 and seed != 3
        return draws

    monkeypatch.setattr(baseline_rows, "train_network", trained)
    monkeypatch.setattr(baseline_rows, "mc_dropout_predictions", predicted)
    params = {"units": [4], "input_noise": 0.2} | ({} if rate is None else {"dropout": rate})
    before = dict(params)
    found = train("dropout", dataset, build_params=params)
    assert given == {"units": [4], "dropout": expected}
    assert params == before
    np.testing.assert_allclose(found.covariance[3], np.cov(draws[:, 3].T))


def test_each_kind_trains_and_predicts_in_the_units_of_the_targets(dataset):
    """One linear layer, trained until it has found y = 50 a + 4000 and b + 2."""
    options = TrainingOptions(
        epochs=50, batch_size=10, learning_rate=0.05, schedule="cosine", validation_fraction=0.3
    )
    linear = {"units": [8], "activation": "linear"}
    at = np.r_[ROWS.calibration, ROWS.test]
    spread = dataset.y[at].std(axis=0)
    for kind, arguments in (("ensemble", {"n_members": 2}), ("dropout", {}), ("variance", {})):
        found = train(kind, dataset, options, build_params=linear, **arguments)
        off = (found.mean - dataset.y[at]) / spread
        # Residual noise is a tenth of the spread; dropout of hidden units adds to it.
        assert np.sqrt((off**2).mean(axis=0)).max() < (0.5 if kind == "dropout" else 0.25), kind
        assert found.covariance.shape == (35, 2, 2)
        np.testing.assert_allclose(found.covariance, found.covariance.transpose(0, 2, 1))
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
        if kind == "variance":
            assert not found.covariance[:, 0, 1].any()
            ratio = np.median(np.sqrt(found.covariance[:, [0, 1], [0, 1]]), axis=0) / [5.0, 0.1]
            assert (ratio > 0.3).all() and (ratio < 3).all()


def test_rows_are_found_by_name():
    rows = BaselineRows(np.array(["a", "b", "c"]), np.eye(3), np.arange(27.0).reshape(3, 3, 3))
    found = rows.of(np.array(["c", "a"]))
    assert found.row_id.tolist() == ["c", "a"]
    np.testing.assert_array_equal(found.mean, np.eye(3)[[2, 0]])
    np.testing.assert_array_equal(found.covariance[0], rows.covariance[2])


def test_an_unknown_kind_is_named(dataset):
    with pytest.raises(InputError, match="'bagging': expected one of ensemble, dropout, variance"):
        train("bagging", dataset)


def test_what_is_written_is_read(tmp_path):
    rows = BaselineRows(np.array(["å", "b"]), np.ones((2, 1)), np.arange(2.0).reshape(2, 1, 1))
    write_baseline(rows, tmp_path / "b.h5", {"study": "s"})
    found = read_baseline(tmp_path / "b.h5")
    for name in ("row_id", "mean", "covariance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
    (tmp_path / "b.h5").write_bytes(b"no")
    with pytest.raises(InputError, match="not a whole file of a baseline"):
        read_baseline(tmp_path / "b.h5")
