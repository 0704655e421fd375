"""A run that is killed goes on, and ends as if nothing had been."""

import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.networks import callbacks, training
from starstack.networks.checkpoints import FILE_NAME
from starstack.networks.options import TrainingOptions
from starstack.networks.streaming import Stream
from starstack.networks.training import train_network

# All that has a state: dropout and noise, moments, averages, the rate, callbacks, best weights.
OPTIONS = {
    "epochs": 9,
    "batch_size": 16,
    "learning_rate": 0.1,
    "noise": True,
    "schedule": "reduce_on_plateau",
    "plateau_patience": 1,
    "patience": 6,
    "average_momentum": 0.8,
}
DENSE = {"units": [12], "dropout": 0.2, "normalization": "batch"}
KILLED_IN = 5


def narrow(input_shape, activation="relu", units=12):
    """Build a network of one hidden layer."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(units, activation=activation)(inputs))


def train(folder=None, *, build="dense", build_params=DENSE, **changes):
    rng = np.random.default_rng(0)
    n, p = 160, 5
    X = rng.normal(size=(n, p)).astype(np.float32)
    dataset = Dataset(
        name="made",
        task="regression",
        X=X,
        X_error=np.full((n, p), 0.3, np.float32),
        y=np.tanh(X[:, :2]) * [400.0, 1.0],
        row_id=np.arange(n).astype(str),
        feature_names=tuple("abcde"),
        target_names=("teff", "logg"),
    )
    return train_network(
        dataset,
        np.arange(n),
        TrainingOptions(**(OPTIONS | changes)),
        build=build,
        build_params=build_params,
        seed=2,
        checkpoint_folder=folder,
    )


def die_in_the_middle(folder):
    """Train, and end as a killed process does, in the middle of an epoch."""
    whole = Stream.batches

    def some(self, epoch):
        for number, batch in enumerate(whole(self, epoch)):
            if (epoch, number) == (KILLED_IN, 4):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    Stream.batches = some
    callbacks.SECONDS_PER_WRITE = 0
    train(folder)


def weights_of(network):
    return np.concatenate([np.ravel(weight) for weight in network.model.get_weights()])


@pytest.fixture
def write_each_epoch(monkeypatch):
    monkeypatch.setattr(callbacks, "SECONDS_PER_WRITE", 0)


@pytest.fixture(scope="module")
def undisturbed():
    return train()


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path, undisturbed, caplog):
    code = f"import runpy; runpy.run_path({__file__!r})['die_in_the_middle']({str(tmp_path)!r})"
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with caplog.at_level(logging.INFO):
        network, history = train(tmp_path)
    assert f"training goes on after epoch {KILLED_IN} of 9" in caplog.text
    expected, expected_history = undisturbed
    np.testing.assert_allclose(weights_of(network), weights_of(expected), rtol=0, atol=1e-6)
    np.testing.assert_allclose(history["value"], expected_history["value"], rtol=1e-5)
    assert history["quantity"].tolist() == expected_history["quantity"].tolist()
    rates = history.loc[history["quantity"] == "learning_rate", "value"]
    assert rates.nunique() > 1, "the schedule has to be at work for this test to mean something"


@pytest.mark.usefixtures("write_each_epoch")
def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch, undisturbed):
    first, _ = train(tmp_path)
    monkeypatch.setattr(Stream, "batches", lambda *_: pytest.fail("trained again"))
    second, history = train(tmp_path)
    np.testing.assert_array_equal(weights_of(second), weights_of(first))
    np.testing.assert_array_equal(weights_of(second), weights_of(undisturbed[0]))
    np.testing.assert_array_equal(history["value"], undisturbed[1]["value"])


@pytest.mark.usefixtures("write_each_epoch")
def test_a_checkpoint_of_other_options_or_a_damaged_one_is_not_used(tmp_path, caplog, undisturbed):
    train(tmp_path, epochs=2)
    with caplog.at_level(logging.INFO):
        train(tmp_path, epochs=3)
    assert "belongs to other data, options or another seed" in caplog.text
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-100])
    network, _ = train(tmp_path)
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(weights_of(network), weights_of(undisturbed[0]))


@pytest.mark.parametrize(
    ("write_seconds", "least", "expected"),
    [
        (0.4, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),  # 20 × 0.4 s are less than an epoch
        (2.0, 0, [1, 5, 9]),  # 20 × 2 s are four epochs
        (0.4, 25, [3, 6, 9]),
    ],
)
def test_checkpoints_cost_a_twentieth_of_the_time(
    tmp_path, monkeypatch, write_seconds, least, expected
):
    """Epochs take 10 s, by a clock that stands still between."""
    now, written = [0.0], []
    begin = callbacks.Recorder.on_epoch_begin

    def on_epoch_begin(self, epoch, logs=None):
        begin(self, epoch, logs)
        now[0] += 10

    def write(folder, state, *_):
        written.append(len(state["epochs"]))
        now[0] += write_seconds

    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(callbacks.Recorder, "on_epoch_begin", on_epoch_begin)
    monkeypatch.setattr(callbacks, "write_checkpoint", write)
    network, history = train(tmp_path, patience=None, checkpoint_seconds=least)
    assert written == expected
    if expected != [1, 5, 9]:
        return
    plain, plain_history = train(patience=None)
    np.testing.assert_array_equal(weights_of(network), weights_of(plain))
    np.testing.assert_array_equal(history["value"], plain_history["value"])


@pytest.mark.usefixtures("write_each_epoch")
def test_when_checkpoints_are_written_does_not_make_another_run(tmp_path, caplog):
    first, _ = train(tmp_path, epochs=2)
    with caplog.at_level(logging.INFO):
        second, _ = train(tmp_path, epochs=2, checkpoint_seconds=60.0)
    assert "training goes on after epoch 2 of 2" in caplog.text
    assert second.provenance == first.provenance


@pytest.mark.usefixtures("write_each_epoch")
def test_a_checkpoint_of_a_changed_builder_is_not_used(tmp_path, caplog):
    """Also where the shapes of the weights are the same."""

    def build(input_shape):
        return narrow(input_shape)

    train(tmp_path, build=build, build_params=None, epochs=2)

    def build(input_shape):  # the same name
        return narrow(input_shape, activation="tanh")

    expected, _ = train(build=build, build_params=None, epochs=2)
    with caplog.at_level(logging.INFO):
        found, _ = train(tmp_path, build=build, build_params=None, epochs=2)
    assert "belongs to other data, options or another seed" in caplog.text
    np.testing.assert_array_equal(weights_of(found), weights_of(expected))


@pytest.mark.usefixtures("write_each_epoch")
def test_a_checkpoint_with_arrays_of_other_shapes_is_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(training, "fingerprint", lambda _: "the same")
    train(tmp_path, build=narrow, build_params=None, epochs=2)
    expected, _ = train(build=narrow, build_params={"units": 9}, epochs=2)
    with caplog.at_level(logging.INFO):
        found, _ = train(tmp_path, build=narrow, build_params={"units": 9}, epochs=2)
    assert "belongs to another network: training starts anew" in caplog.text
    assert "goes on" not in caplog.text
    np.testing.assert_array_equal(weights_of(found), weights_of(expected))
