"""A study whose network gets error bars: what it leaves, and that the parts belong together.

Also ``snakemake baselines``: what error budgets are compared with, and with which rows.
"""

import csv
import json
import re

import h5py
import numpy as np
import pandas as pd
import pytest

from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.uncertainty.baseline_rows import read_baseline
from starstack.uncertainty.budget import load_budget
from starstack.uncertainty.error_bars import load_error_bars
from starstack.uncertainty.noise_of_rows import read_covariances

CONFIG = {
    "seed": 5,
    "studies": {
        "small-spectra": {
            "task": "regression",
            "data": {
                "source": "simulated-spectra",
                "n_stars": 600,
                "pixel_step": 40,
                "noise_correlation": [0.3],
            },
            "split": {"n_folds": 2, "test_size": 0.3},
            "snr_bins": [20, 80, 300],
            "base_models": {"ridge": {"class": "sklearn.linear_model.Ridge", "job": "per_model"}},
            "meta_learners": {"ridge-stack": {"class": "ridge"}},
            "networks": {
                "dense": {
                    "build": "dense",
                    "build_params": {"units": [16]},
                    "training": {
                        "epochs": 20,
                        "batch_size": 32,
                        "learning_rate": 0.005,
                        "validation_fraction": 0.4,
                        "noise": True,
                    },
                    "uncertainty": {
                        "structures": ["kfac", "last_layer"],
                        "noise_components": 20,
                        "recalibration": "gaussian",
                        "recalibration_bins": 1,
                        "spectrum_rows": 64,
                        "spectrum_steps": 10,
                        "cramer_rao_rows": 20,
                    },
                }
            },
        }
    },
}
RESULTS = "results/small-spectra"
TARGETS = (
    f"{RESULTS}/tables/calibration.csv",
    f"{RESULTS}/tables/cramer_rao.csv",
    f"{RESULTS}/tables/curvature.csv",
    f"{RESULTS}/figures/coverage.dense.pdf",
    f"{RESULTS}/figures/error_budget.dense.pdf",
    f"{RESULTS}/evaluation/predictions.csv",
)
DENSE = f"{RESULTS}/networks/dense"
BASELINES = ("ensemble", "dropout", "variance")


@pytest.fixture(scope="module")
def project(tmp_path_factory, project_class):
    project = project_class(tmp_path_factory.mktemp("uncertainty") / "project", CONFIG)
    project.run(*TARGETS, "baselines")
    return project


def rows(project, file):
    with (project.folder / file).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_budget_is_the_sum_of_its_parts_for_every_test_row(project):
    table = rows(project, f"{DENSE}.kfac.budget.csv")
    split = rows(project, f"{RESULTS}/split.csv")
    test = {row["row_id"] for row in split if row["set"] == "test"}
    assert {row["row_id"] for row in table} == test
    assert len(table) == 3 * len(test)
    for row in table:
        parts = [float(row[name]) for name in ("noise", "weights", "intrinsic")]
        assert np.hypot(np.hypot(*parts[:2]), parts[2]) == pytest.approx(float(row["total"]))
        assert 0 < float(row["half_width_68"]) < float(row["half_width_95"])
    assert {(row["output"], row["unit"]) for row in table} == {
        ("teff", "K"),
        ("logg", "dex"),
        ("fe_h", "dex"),
    }


def test_calibration_rows_are_neither_trained_nor_tested_on(project):
    test, known = (
        set(load_budget(project.folder / f"{DENSE}.kfac.{kind}.h5").row_id.tolist())
        for kind in ("budget", "calibration")
    )
    training = {
        row["row_id"] for row in rows(project, f"{RESULTS}/split.csv") if row["set"] == "train"
    }
    assert not test & known
    assert known < training
    assert len(known) == round(0.4 * len(training))
    record = json.loads((project.folder / f"{DENSE}.kfac.json").read_text())
    assert record["n_rows"] == len(training) - len(known)


def test_every_method_is_judged_on_the_same_rows(project):
    table = rows(project, f"{RESULTS}/evaluation/calibration.csv")
    overall = [r for r in table if r["snr"] == "all" and r["statistic"] == "coverage_68"]
    assert {(r["estimator"], r["method"]) for r in overall} == {
        ("dense", "J Σ Jᵀ + intrinsic"),
        ("dense", "noise + intrinsic"),
        ("dense", "kfac"),
        ("dense", "kfac, recalibrated"),
        ("dense", "last_layer"),
        ("dense", "last_layer, recalibrated"),
        ("dense", "split conformal"),
        ("ridge-stack", "CV+"),
    }
    assert {int(r["n"]) for r in overall} == {180}
    # Of 180 rows, six standard errors and what 168 calibration rows leave open.
    worst = [r for r in overall if abs(float(r["value"]) - 0.68) > 0.25]
    assert not worst, worst
    promised = {r["method"]: float(r["guarantee"]) for r in overall if r["guarantee"]}
    assert promised == {"split conformal": 0.68, "CV+": pytest.approx(0.36, abs=0.01)}


def test_what_is_not_known_makes_the_bound_larger_and_the_inequality_holds(project):
    table = rows(project, f"{RESULTS}/evaluation/cramer_rao.csv")
    bound = {
        (r["bound"], r["output"], r["snr"]): float(r["value"])
        for r in table
        if r["statistic"] == "rms_bound"
    }
    known = [key for key in bound if key[0] == "known nuisances"]
    assert len(known) * 2 == len(bound) > 0
    for _, output, snr in known:
        assert bound["unknown nuisances", output, snr] > bound["known nuisances", output, snr] > 0
    (found,) = rows(project, f"{RESULTS}/evaluation/cramer_rao_inequality.csv")
    assert float(found["least_excess"]) > -1e-6


def test_eigenvalues_fall_and_the_two_traces_agree(project):
    table = rows(project, f"{DENSE}.eigenvalues.csv")
    values = [float(r["value"]) for r in table if r["quantity"] == "eigenvalue"]
    assert values == sorted(values, reverse=True)
    traces = {r["quantity"]: float(r["value"]) for r in table if r["quantity"].startswith("trace")}
    assert traces["trace"] == pytest.approx(traces["trace_by_quadrature"], rel=1e-3)


def test_each_baseline_predicts_the_test_rows_and_the_calibration_rows_of_the_network(project):
    split = rows(project, f"{RESULTS}/split.csv")
    test = {row["row_id"] for row in split if row["set"] == "test"}
    training = {row["row_id"] for row in split if row["set"] == "train"}
    for kind in BASELINES:
        found = read_baseline(project.folder / f"{RESULTS}/baselines/dense.{kind}.h5")
        names = set(found.row_id.tolist())
        assert test < names
        assert len(names & training) == round(0.4 * len(training)) == len(names - test)
        assert found.mean.shape == (len(names), 3)
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-6


def test_all_baselines_are_judged_on_the_same_rows_in_one_table(project):
    calibration = rows(project, f"{RESULTS}/baselines/calibration.csv")
    overall = [r for r in calibration if r["snr"] == "all" and r["statistic"] == "coverage_68"]
    methods = {r["method"] for r in overall}
    assert methods == {name for kind in BASELINES for name in (kind, f"{kind}, recalibrated")}
    assert {int(r["n"]) for r in overall} == {180}
    table = (project.folder / f"{RESULTS}/tables/baselines.csv").read_text(encoding="utf-8")
    assert all(method in table for method in (*methods, "last_layer"))


def test_baselines_are_no_part_of_the_default_run(project):
    listed = project.run("--dry-run", "--forceall").stdout
    rules = {line.split()[0] for line in listed.splitlines() if line.strip()}
    assert "calibrate" in rules
    assert not rules & {"train_baseline", "calibrate_baselines"}


def held_out_rows(folder, results):
    """Give the test rows of a finished study as a data frame, with errors and S/N if there are."""
    split = pd.read_csv(folder / results / "split.csv", dtype=str)
    with open_dataset(folder / results / "data.h5") as data:
        at = np.flatnonzero((split["set"] == "test").to_numpy())
        frame = pd.DataFrame(data.X[at], data.row_id[at], list(data.feature_names))
        error = None if data.X_error is None else data.X_error[at]
        return frame, error, data.row_values.get("snr", np.zeros(data.n_rows))[at]


def run_page(repository, number, known=None, **names):
    """Run one of the examples of docs/predicting.md with other names in it; give what it leaves."""
    text = (repository / "docs/predicting.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]
    for old, new in names.items():
        assert f'"{old}' in code.replace("results/", "")
        code = re.sub(rf'(?<=["/]){old}(?=["/])', new, code)
    namespace = dict(known or {})
    exec(compile(code, "docs/predicting.md", "exec"), namespace)
    return namespace


def assert_as_in(folder, results, estimator, predicted):
    """Compare with evaluation/predictions.csv: the same rows, outputs and numbers."""
    table = pd.read_csv(folder / results / "evaluation/predictions.csv", dtype={"row_id": str})
    expected = table[table["estimator"] == estimator]
    assert predicted.index.tolist() == expected["row_id"].drop_duplicates().tolist()
    assert predicted.columns.tolist() == expected["output"].drop_duplicates().tolist()
    np.testing.assert_allclose(predicted.to_numpy().ravel(), expected["predicted"], rtol=1e-6)


def assert_as_in_budget(folder, stem, budget, only=None):
    """Compare an error budget of new rows with that of the study, column by column."""
    expected = pd.read_csv(folder / f"{stem}.budget.csv", dtype={"row_id": str})
    numbers = [name for name, kind in budget.dtypes.items() if kind.kind == "f"]
    assert {"weights", "intrinsic", "half_width_68", "half_width_95"} < set(numbers)
    for name in only or numbers:
        np.testing.assert_allclose(budget[name], expected[name], rtol=1e-6, err_msg=name)


def test_the_page_on_new_rows_predicts_the_test_rows_again(project, repository, monkeypatch):
    frame, error, snr = held_out_rows(project.folder, RESULTS)
    monkeypatch.chdir(project.folder)
    (project.folder / "data").mkdir()
    frame.to_csv("data/new_stars.csv", index_label="id")
    with h5py.File("data/new_spectra.h5", "w") as file:
        file["flux"], file["error"], file["snr"] = frame.to_numpy(), error, snr
    found = run_page(repository, 0, stars="small-spectra", convex="ridge-stack")["predicted"]
    found.index = found.index.astype(str)
    assert_as_in(project.folder, RESULTS, "ridge-stack", found)

    page = run_page(repository, 2, spectra="small-spectra")
    budget, bars = page["budget"], page["bars"]
    known = read_covariances(f"{DENSE}.noise.h5").of(frame.index.to_numpy(dtype=str))
    # Two draws for a row, and 60 components in the place of 20.
    drawn, stored = (np.diagonal(each, axis1=1, axis2=2) for each in (page["noise"], known.noise))
    np.testing.assert_allclose(np.median(drawn / stored, axis=0), 1, atol=0.15)
    free = ("predicted", "snr", "weights", "intrinsic")
    assert_as_in_budget(project.folder, f"{DENSE}.kfac", budget, only=free)
    again = bars.predict(frame, noise=known.noise, snr=snr)
    assert_as_in_budget(project.folder, f"{DENSE}.kfac", again)
    wide = again.pivot(index="row_id", columns="output", values="predicted")
    wide = wide.loc[frame.index, list(bars.network.target_names)]
    assert_as_in(project.folder, RESULTS, "dense", wide)


def test_a_table_without_noise_and_without_a_stack_gets_error_bars(
    make_project, repository, monkeypatch
):
    """Neither S/N nor pixel errors nor a stack: their parts are left out, not failed over."""
    project = make_project(
        {
            "seed": 1,
            "studies": {
                "plain": {
                    "task": "regression",
                    "data": {
                        "source": "scikit-learn",
                        "loader": "make_regression",
                        "params": {
                            "n_samples": 280,
                            "n_features": 4,
                            "noise": 20.0,
                            "random_state": 0,
                        },
                    },
                    "networks": {
                        "dense": {
                            "build": "dense",
                            "build_params": {"units": [2]},
                            "training": {"epochs": 8, "batch_size": 32, "validation_fraction": 0.5},
                            "uncertainty": {
                                "structures": ["cg"],
                                "recalibration": "gaussian",
                                "recalibration_bins": 1,
                            },
                        }
                    },
                }
            },
        }
    )
    project.run("results/plain/evaluation/calibration.csv")
    table = rows(project, "results/plain/evaluation/calibration.csv")
    methods = {r["method"] for r in table}
    assert "cg" in methods and "CV+" not in methods
    record = json.loads((project.folder / "results/plain/networks/dense.cg.json").read_text())
    assert (record["structure"], record["prior_precision_chosen_by"]) == ("cg", "kfac")
    budget = load_budget(project.folder / "results/plain/networks/dense.cg.budget.h5")
    assert not budget.noise.any() and budget.intrinsic.any()
    new, *_ = held_out_rows(project.folder, "results/plain")
    monkeypatch.chdir(project.folder)
    page = run_page(repository, 1, {"new": new.iloc[:, ::-1]}, stars="plain", kfac="cg")
    assert_as_in_budget(project.folder, "results/plain/networks/dense.cg", page["budget"])
    with pytest.raises(InputError, match="column 1 is "):
        page["bars"].predict(new.iloc[:, ::-1])
    path = project.folder / "results/plain/networks/dense.cg.recalibration.csv"
    other = pd.read_csv(path)
    other.assign(factor=1.1 * other["factor"]).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"files of dense\.cg are of different runs"):
        load_error_bars(project.folder / "results/plain", "dense", "cg")
