"""``snakemake baselines``: what error budgets are compared with, and with which rows."""

import csv

import numpy as np
import pytest

from starstack.uncertainty.baseline_rows import read_baseline

CONFIG = {
    "seed": 4,
    "studies": {
        "small": {
            "task": "regression",
            "data": {"source": "simulated-spectra", "n_stars": 360, "pixel_step": 80},
            "split": {"n_folds": 2, "test_size": 0.25},
            "networks": {
                "dense": {
                    "build": "dense",
                    "build_params": {"units": [8]},
                    "training": {"epochs": 2, "batch_size": 32, "validation_fraction": 0.4},
                    "uncertainty": {
                        "structures": ["last_layer"],
                        "recalibration": "gaussian",
                        "recalibration_bins": 1,
                        "cramer_rao_rows": 0,
                    },
                }
            },
        }
    },
}
KINDS = ("ensemble", "dropout", "variance")


@pytest.fixture(scope="module")
def project(tmp_path_factory, project_class):
    project = project_class(tmp_path_factory.mktemp("baselines") / "project", CONFIG)
    project.run("baselines")
    return project


def rows(project, file):
    with (project.folder / "results/small" / file).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_predicts_the_test_rows_and_the_calibration_rows_of_the_network(project):
    split = rows(project, "split.csv")
    test = {row["row_id"] for row in split if row["set"] == "test"}
    training = {row["row_id"] for row in split if row["set"] == "train"}
    for kind in KINDS:
        path = project.folder / f"results/small/baselines/dense.{kind}.h5"
        found = read_baseline(path)
        names = set(found.row_id.tolist())
        assert test < names
        assert len(names & training) == round(0.4 * len(training)) == len(names - test)
        assert found.mean.shape == (len(names), 3)
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-6


def test_all_methods_are_judged_on_the_same_rows_in_one_table(project):
    calibration = rows(project, "baselines/calibration.csv")
    overall = [r for r in calibration if r["snr"] == "all" and r["statistic"] == "coverage_68"]
    methods = {r["method"] for r in overall}
    assert methods == {name for kind in KINDS for name in (kind, f"{kind}, recalibrated")}
    assert {int(r["n"]) for r in overall} == {90}
    table = (project.folder / "results/small/tables/baselines.csv").read_text(encoding="utf-8")
    assert all(method in table for method in (*methods, "last_layer"))


def test_they_are_no_part_of_the_default_run(project):
    listed = project.run("--dry-run", "--forceall").stdout
    rules = {line.split()[0] for line in listed.splitlines() if line.strip()}
    assert "calibrate" in rules
    assert not rules & {"train_baseline", "calibrate_baselines"}
