"""Devices: what is asked for is what is used, or an error says why not."""

import json
import subprocess
import sys

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.device import configure_device
from starstack.networks.options import TrainingOptions
from starstack.networks.training import train_network

# TensorFlow joins devices to groups of one size per process.
N_DEVICES = 3
# Rows, share of them to validate with, batch. Three devices cannot share 13 validation rows evenly,
# 16 rows are fewer than a batch, and 300 validation rows are more than the 256 of a block.
CASES = [(131, 0.1, 21), (16, 0, 21), (600, 0.5, 21)]


def train(n, fraction, batch_size, device=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    dataset = Dataset(
        name="made",
        task="regression",
        X=X,
        y=X[:, :2] * [100.0, 1.0],
        row_id=np.arange(n).astype(str),
        feature_names=tuple("abcd"),
        target_names=("teff", "logg"),
    )
    options = TrainingOptions(
        epochs=3,
        batch_size=batch_size,
        learning_rate=0.01,
        average_momentum=0.5,
        validation_fraction=fraction,
    )
    network, history = train_network(
        dataset,
        np.arange(n),
        options,
        build="dense",
        build_params={"units": [8]},
        seed=1,
        device=device,
    )
    weights = np.concatenate([np.ravel(weight) for weight in network.model.get_weights()])
    return {"weights": weights.tolist(), "history": history["value"].tolist()}


def train_on_several():
    """Train on logical devices, in a process of its own, and print what came out."""
    device = configure_device("cpu", threads=2, n_devices=N_DEVICES)
    import tensorflow as tf

    found = {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "devices": device.names,
        "replicas": device.strategy.num_replicas_in_sync,
        "results": [train(*case, device=device) for case in CASES],
    }
    print(json.dumps(found))


def test_several_devices_give_the_result_of_one():
    pytest.importorskip("tensorflow")
    code = f"import runpy; runpy.run_path({__file__!r})['train_on_several']()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    several = json.loads(ran.stdout.splitlines()[-1])
    assert several["devices"] == [f"/device:CPU:{number}" for number in range(N_DEVICES)]
    assert several["replicas"] == N_DEVICES and several["threads"] == 2 and not several["tf32"]
    for found, (n, fraction, batch_size) in zip(several["results"], CASES, strict=True):
        # On one device, batches of as many rows.
        alone = train(n, fraction, min(batch_size, n) // N_DEVICES * N_DEVICES)
        np.testing.assert_allclose(found["weights"], alone["weights"], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found["history"], alone["history"], rtol=1e-3)


@pytest.fixture
def started():
    tf = pytest.importorskip("tensorflow")
    tf.constant(1.0)
    return tf


def test_a_gpu_that_is_not_there_is_an_error(started):
    if started.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU here")
    message = r"gpu was asked for, but TensorFlow sees none \(.+\); install starstack\[gpu\] and"
    with pytest.raises(InputError, match=message) as caught:
        configure_device("gpu")
    assert "\n" not in str(caught.value)


def test_settings_come_before_tensorflow_starts(started):
    other = started.config.threading.get_intra_op_parallelism_threads() + 3
    with pytest.raises(InputError, match="has already started with other settings"):
        configure_device("cpu", threads=other)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="expected one of auto, cpu, gpu; got 'tpu'"):
        configure_device("tpu")


def test_a_batch_that_devices_cannot_share_is_refused(started):
    from starstack.networks.device import Device

    two = Device("cpu", ("a", "b"), started.distribute.get_strategy(), "float32", False)
    with pytest.raises(InputError, match="batch_size is 21, which 2 devices cannot share"):
        options = TrainingOptions(epochs=1, batch_size=21)
        dataset = Dataset(
            name="made",
            task="regression",
            X=np.zeros((30, 1), np.float32),
            y=np.arange(30.0),
            row_id=np.arange(30).astype(str),
            feature_names=("a",),
            target_names=("y",),
        )
        train_network(dataset, np.arange(30), options, build="dense", seed=1, device=two)
