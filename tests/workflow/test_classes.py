"""A study of classes whose network knows of the uncertainty of its weights: what it leaves."""

import csv

import numpy as np
import pytest

CONFIG = {
    "seed": 2,
    "studies": {
        "wine": {
            "task": "classification",
            "data": {"source": "scikit-learn", "loader": "load_wine"},
            "metrics": ["log_loss"],
            "networks": {
                "dense": {
                    "build": "dense",
                    "build_params": {"units": [6]},
                    "training": {
                        "epochs": 15,
                        "batch_size": 16,
                        "learning_rate": 0.02,
                        "scale_inputs": "per_feature",
                        "validation_fraction": 0.3,
                    },
                    "uncertainty": {
                        "structures": ["last_layer", "kfac"],
                        "class_draws": 100,
                        "spectrum_rows": 40,
                        "spectrum_steps": 5,
                    },
                }
            },
        }
    },
}
RESULTS = "results/wine"
TARGETS = (
    f"{RESULTS}/evaluation/scores.csv",
    f"{RESULTS}/tables/class_calibration.csv",
    f"{RESULTS}/tables/curvature.csv",
    f"{RESULTS}/figures/class_reliability.dense.pdf",
    f"{RESULTS}/figures/class_scores.dense.pdf",
    f"{RESULTS}/figures/eigenvalue_density.pdf",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory, project_class):
    project = project_class(tmp_path_factory.mktemp("classes") / "project", CONFIG)
    project.run(*TARGETS)
    return project


def rows(project, file):
    with (project.folder / file).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_test_row_has_probabilities_by_every_method(project):
    table = rows(project, f"{RESULTS}/networks/dense.probabilities.csv")
    test = {r["row_id"] for r in rows(project, f"{RESULTS}/split.csv") if r["set"] == "test"}
    methods = list(dict.fromkeys(r["method"] for r in table))
    structures = ("last_layer", "kfac")
    named = [f"{name}, {how}" for name in structures for how in ("probit", "Monte Carlo")]
    assert methods == ["plain", *named]
    assert len(table) == len(methods) * len(test) * 3
    assert {r["row_id"] for r in table} == test
    for column in ("probability", "probability_scaled", "observed"):
        each = np.array([float(r[column]) for r in table]).reshape(-1, 3)
        np.testing.assert_allclose(each.sum(axis=1), 1, rtol=1e-9)


def test_plain_scores_are_those_of_the_evaluation(project):
    """The same network on the same test rows, by another way."""
    table = rows(project, f"{RESULTS}/evaluation/class_calibration.csv")
    plain = {
        r["statistic"]: r for r in table if (r["method"], r["temperature"]) == ("plain", "before")
    }
    (stated,) = rows(project, f"{RESULTS}/evaluation/scores.csv")
    assert float(plain["log_loss"]["value"]) == pytest.approx(float(stated["value"]), rel=1e-4)
    assert plain["log_loss"]["n"] == stated["n"]
    assert float(plain["log_loss_minus_plain"]["standard_error"]) == 0


def test_the_temperature_was_chosen_by_rows_of_neither_kind(project):
    split = rows(project, f"{RESULTS}/split.csv")
    training = sum(r["set"] == "train" for r in split)
    for row in rows(project, f"{RESULTS}/networks/dense.temperatures.csv"):
        assert int(row["n"]) == round(0.3 * training)
        assert float(row["log_loss_after"]) <= float(row["log_loss_before"])


def test_figures_and_records_are_there(project):
    for name in TARGETS[3:]:
        assert (project.folder / name).stat().st_size > 1000
    table = rows(project, f"{RESULTS}/tables/curvature.csv")
    assert [r["Structure"] for r in table] == ["last layer", "kfac"]
    page = (project.folder / f"{RESULTS}/tables/class_calibration.html").read_text()
    assert "last_layer, Monte Carlo, temperature" in page


def test_an_error_budget_is_not_made_of_classes(project):
    result = project.run(f"{RESULTS}/networks/dense.kfac.budget.h5", "--dry-run", check=False)
    assert result.returncode
    assert "MissingRuleException" in result.stdout
