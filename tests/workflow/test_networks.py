"""Studies with networks: spectra and classes, what they leave, and what a kill does to them."""

import csv
import os
import re
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.networks.persistence import load_network
from starstack.splits.split import Split

CONFIG = {
    "seed": 5,
    "studies": {
        "small-spectra": {
            "task": "regression",
            "data": {
                "source": "simulated-spectra",
                "n_stars": 150,
                "pixel_step": 24,
                "fill": "continuum",
            },
            "split": {"n_folds": 2, "test_size": 0.4},
            "base_models": {
                "ridge": {"class": "sklearn.linear_model.Ridge", "job": "per_model"},
                "net": {
                    "class": "starstack.networks.KerasRegressor",
                    "params": {"build_params": {"units": [8]}, "epochs": 1},
                    "job": "per_model",
                },
            },
            "meta_learners": {"ridge-stack": {"class": "ridge"}},
            "networks": {
                "dense": {
                    "build": "dense",
                    "build_params": {"units": [32, 16], "dropout": 0.1},
                    "training": {"epochs": 40, "batch_size": 16, "noise": True},
                    "jacobian": {"rows": 20, "store": True},
                }
            },
        },
        "small-classes": {
            "task": "classification",
            "data": {"source": "scikit-learn", "loader": "load_wine"},
            "networks": {
                "dense": {
                    "build": "dense",
                    "build_params": {"units": [16]},
                    "training": {
                        "epochs": 40,
                        "batch_size": 16,
                        "learning_rate": 0.01,
                        "scale_inputs": "per_feature",
                    },
                }
            },
        },
    },
}
DENSE = "results/small-spectra/networks/dense"


@pytest.fixture(scope="module")
def project(tmp_path_factory, project_class):
    """A finished run; tests put back what they change."""
    project = project_class(tmp_path_factory.mktemp("networks") / "project", CONFIG)
    project.run()
    return project


def rows(project, file):
    with (project.folder / "results" / file).open() as stream:
        return list(csv.DictReader(stream))


def test_a_network_stands_beside_base_models_and_stack(project):
    roles = {
        (r["estimator"], r["role"]) for r in rows(project, "small-spectra/evaluation/scores.csv")
    }
    assert roles == {
        ("ridge", "base"),
        ("net", "base"),
        ("ridge-stack", "meta"),
        ("dense", "network"),
    }
    figures = project.folder / "results" / "small-spectra" / "figures"
    for name in ("errors", "history", "jacobian", "residuals", "scores", "spectra", "weights"):
        assert (figures / f"{name}.pdf").stat().st_size > 1000


def test_a_study_of_networks_alone_runs(project):
    scores = rows(project, "small-classes/evaluation/scores.csv")
    assert {(row["role"], row["figure"]) for row in scores} == {("network", "test")}
    accuracy = next(float(row["value"]) for row in scores if row["metric"] == "accuracy")
    assert accuracy > 0.8
    assert rows(project, "small-classes/evaluation/weights.csv") == []


def test_the_stored_network_predicts_what_is_stored(project):
    stem = project.folder / DENSE
    network = load_network(f"{stem}.keras", f"{stem}.json")
    dataset = read_dataset(project.folder / "results/small-spectra/data.h5")
    split = Split.from_csv(project.folder / "results/small-spectra/split.csv")
    predicted = network.predict(dataset.X[split.is_test])
    with h5py.File(f"{stem}.h5") as file:
        stored = file["test/values"][()]
        assert file["test/row_id"].asstr()[()].tolist() == dataset.row_id[split.is_test].tolist()
        held_out = file["validation/row_id"].asstr()[()].tolist()
    np.testing.assert_allclose(predicted, stored, rtol=1e-5)
    assert set(held_out) < set(dataset.row_id[split.train_rows()].tolist())


def test_jacobians_stand_beside_each_network(project):
    """Statistics over test rows, the rows themselves where they are asked for, and J·G."""
    stem = project.folder / DENSE
    network = load_network(f"{stem}.keras", f"{stem}.json")
    dataset = read_dataset(project.folder / "results/small-spectra/data.h5")
    split = Split.from_csv(project.folder / "results/small-spectra/split.csv")
    with h5py.File(f"{stem}.jacobian.h5") as file:
        assert file["output_names"].asstr()[()].tolist() == ["teff", "logg", "fe_h"]
        stored, names = file["jacobian"][()], file["row_id"].asstr()[()]
        mean = file["statistics/mean"][()]
    rows_of = {name: row for row, name in enumerate(dataset.row_id)}
    positions = [rows_of[name] for name in names]
    assert len(positions) == 20 and split.is_test[positions].all()
    np.testing.assert_allclose(stored.mean(axis=0), mean, rtol=1e-3, atol=1e-3)
    # Along a direction in which nothing switches: the prediction's own difference.
    step = 1e-3 * np.random.default_rng(0).standard_normal(dataset.X.shape[1])
    ends = [network.predict(dataset.X[positions] + sign * step) for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / 2
    answer = stored @ step
    assert np.median(np.abs(answer - difference) / np.abs(difference).max(axis=0)) < 0.01
    identity = rows(project, "small-spectra/evaluation/jacobian_identity.csv")
    assert {(row["network"], row["output"], row["n"]) for row in identity} == {
        ("dense", output, "60") for output in ("teff", "logg", "fe_h")
    }
    results = project.folder / "results"
    assert (results / "small-spectra/figures/jacobian.pdf").stat().st_size > 1000
    assert (results / "small-spectra/tables/jacobian_identity.html").stat().st_size > 500
    with h5py.File(results / "small-classes/networks/dense.jacobian.h5") as file:
        assert "jacobian" not in file
        # Probabilities add up to one, so their derivatives add up to zero.
        mean = file["statistics/mean"][()]
        assert np.abs(mean.sum(axis=0)).max() < 1e-4 * np.abs(mean).max()
        assert file["statistics"].attrs["n_rows"] == 45


def test_errors_are_predicted_minus_observed(project):
    table = rows(project, "small-spectra/evaluation/errors.csv")
    predictions = rows(project, "small-spectra/evaluation/predictions.csv")
    errors = [
        float(row["predicted"]) - float(row["observed"])
        for row in predictions
        if row["estimator"] == "dense" and row["output"] == "teff"
    ]
    (found,) = (
        row
        for row in table
        if (row["estimator"], row["output"], row["snr"], row["statistic"])
        == ("dense", "teff", "all", "median")
    )
    assert float(found["value"]) == np.median(errors)
    assert int(found["n"]) == len(errors)


def test_nothing_runs_again_and_a_training_option_retrains_that_network_alone(project):
    assert "Nothing to be done" in project.run().stdout
    changed = project_config(epochs=41)
    project.configure(changed)
    planned = dict(re.findall(r"^(\w+) +(\d+)$", project.run("-n").stdout, re.MULTILINE))
    project.configure(CONFIG)
    assert planned["train_network"] == "1"
    assert not {"load_spectra", "split", "fit_base", "fit_meta"} & set(planned)


def project_config(**training):
    dense = CONFIG["studies"]["small-spectra"]["networks"]["dense"]
    options = {**dense["training"], **training}
    networks = {"dense": {**dense, "training": options}}
    spectra = {**CONFIG["studies"]["small-spectra"], "networks": networks}
    return {**CONFIG, "studies": {**CONFIG["studies"], "small-spectra": spectra}}


def test_a_gpu_that_is_not_there_is_one_line_and_nothing_is_lost(project, tmp_path):
    dense = CONFIG["studies"]["small-classes"]["networks"]["dense"]
    asked = {**dense, "device": {"device": "gpu"}}
    config = {"seed": 5, "studies": dict(CONFIG["studies"])}
    config["studies"]["small-classes"] = {
        **CONFIG["studies"]["small-classes"],
        "networks": {"dense": asked},
    }
    before = (project.folder / f"{DENSE}.keras").read_bytes()
    results = project.folder / "results/small-classes"
    shutil.copytree(results, tmp_path / "kept")
    project.configure(config)
    nothing_from_tensorflow = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    result = project.run(check=False, CUDA_VISIBLE_DEVICES="-1", **nothing_from_tensorflow)
    project.configure(CONFIG)
    assert result.returncode != 0
    # One message, however often the log of the job is shown.
    lines = {line for line in result.stdout.splitlines() if " ERROR " in line}
    assert len(lines) == 1, result.stdout
    (line,) = lines
    assert "GPU" in line and "device: cpu" in line
    assert (project.folder / f"{DENSE}.keras").read_bytes() == before
    shutil.rmtree(results)
    shutil.move(tmp_path / "kept", results)


def test_a_kill_in_mid_training_costs_no_more_than_an_epoch(project, tmp_path, project_class):
    """The network ends with the bytes of an undisturbed run."""
    wanted = {
        suffix: (project.folder / f"{DENSE}.{suffix}").read_bytes()
        for suffix in ("keras", "history.csv", "h5")
    }
    killed = project_class(tmp_path / "killed", CONFIG)
    target = f"{DENSE}.keras"
    checkpoint = killed.folder / f"{DENSE}.checkpoint"
    with subprocess.Popen(
        killed.command(target),
        cwd=killed.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        log = killed.folder / "results/small-spectra/logs/train_network.dense.log"
        deadline = time.monotonic() + 120
        while not ((checkpoint / "training.h5").exists()):
            assert time.monotonic() < deadline, "training wrote no checkpoint"
            assert running.poll() is None, "training ended before it could be killed"
            time.sleep(0.005)
        os.killpg(running.pid, signal.SIGKILL)
    assert not (killed.folder / target).exists()
    assert (checkpoint / "training.h5").exists()
    killed.run(target)
    assert "training goes on after epoch" in log.read_text()
    found = {s: (killed.folder / f"{DENSE}.{s}").read_bytes() for s in wanted}
    assert found["history.csv"] == wanted["history.csv"]
    assert found == wanted
    assert not checkpoint.exists()
