"""A study that only traces joint fits, and one that draws a projection."""

import csv

import numpy as np
import pytest

CONFIG = {
    "seed": 2,
    "studies": {
        "four-rows": {
            "task": "classification",
            "data": {
                "source": "inline",
                "rows": [
                    [0.52, 1.12, 0.77],
                    [0.88, -1.08, 0.15],
                    [0.52, 0.06, -1.30],
                    [0.74, -2.49, 1.39],
                ],
                "labels": [1, 1, 0, 1],
            },
            "projection": {
                "alphas": [0, 0.1],
                "intercepts": [False, True],
                "solvers": ["gradient-descent", "trust-krylov"],
                "preprocess": [],
            },
        },
        "small-wine": {
            "task": "classification",
            "data": {"source": "scikit-learn", "loader": "load_wine"},
            "split": {"n_folds": 2},
            "base_models": {
                "joint": {
                    "class": "starstack.projection.ProjectedLogisticRegression",
                    "params": {"rank": 2},
                    "preprocess": ["standardize"],
                    "job": "per_model",
                }
            },
            "meta_learners": {"logistic": {"class": "logistic"}},
            "projection": {"inits": ["zeros"], "solvers": ["trust-krylov"], "draw": "joint"},
        },
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory, project_class):
    project = project_class(tmp_path_factory.mktemp("projection") / "project", CONFIG)
    project.run()
    return project.folder / "results"


def rows_of(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_four_rows_stay_at_the_known_losses_unless_they_escape(results):
    runs = rows_of(results / "four-rows/projection/certificates.csv")
    assert len(runs) == 2 * 2 * 3 * 2 * 2
    for run in runs:
        if run["init"] != "zeros":
            continue
        if run["escape"] == "no":
            stuck = 2.249341 if run["intercept"] == "yes" else 2.772589
            assert float(run["loss"]) == pytest.approx(stuck, abs=1e-6)
            assert run["status"] == "saddle"
            assert float(run["smallest_eigenvalue"]) < -1
        else:
            assert run["status"] == ("no minimum" if run["alpha"] == "0.0" else "minimum")
            assert run["saddles"] == "1"


def test_a_study_without_models_runs_alone(tmp_path, project_class):
    traced = {"alphas": [0.1], "inits": ["zeros"], "solvers": ["trust-krylov"], "preprocess": []}
    study = CONFIG["studies"]["four-rows"] | {"projection": traced}
    config = {"seed": 2, "studies": {"four-rows": study}}
    project = project_class(tmp_path / "project", config)
    project.run()
    numbers = project.folder / "results/summary/numbers.json"
    assert numbers.read_text(encoding="utf-8") == "{}\n"


def test_a_study_without_models_is_not_divided_or_scored(results):
    assert not (results / "four-rows/split.csv").exists()
    assert not (results / "four-rows/evaluation").exists()
    assert (results / "four-rows/tables/projection.csv").exists()
    drawn = {path.name for path in (results / "four-rows/figures").iterdir()}
    assert drawn == {"saddle.pdf", "saddle.png", "saddle.svg"}


def test_the_drawn_rows_are_the_test_rows_as_the_model_predicts_them(results):
    folder = results / "small-wine"
    rows = {row["row_id"]: row for row in rows_of(folder / "projection/rows.csv")}
    test = {r["row_id"] for r in rows_of(folder / "split.csv") if r["set"] == "test"}
    assert set(rows) == test
    scores = rows_of(folder / "evaluation/scores.csv")
    accuracy = next(
        float(s["value"])
        for s in scores
        if (s["estimator"], s["figure"], s["metric"]) == ("joint", "test", "accuracy")
    )
    right = np.mean([row["class"] == row["predicted"] for row in rows.values()])
    assert right == pytest.approx(accuracy)
    regions = {row["class"] for row in rows_of(folder / "projection/regions.csv")}
    assert regions == {"class_0", "class_1", "class_2"}
    for name in ("projection", "saddle", "scores"):
        assert (folder / f"figures/{name}.pdf").stat().st_size > 1000
