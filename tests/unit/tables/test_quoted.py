"""The numbers of a paper's text: chosen on training rows, reported on test rows."""

import json

import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.quoted import numbers
from starstack.tables.results import RESULT_TABLES

COLUMNS = list(RESULT_TABLES["scores"])


def scores(metric, *rows, study="wine", output=""):
    return pd.DataFrame(
        [
            (study, name, role, figure, metric, output, value, 0.01, n)
            for name, role, figure, value, n in rows
        ],
        columns=COLUMNS,
    )


HONEST = (
    ("svm", "base", "out-of-fold", 0.95, 133),
    ("svm", "base", "test", 0.90, 45),
    ("knn", "base", "out-of-fold", 0.93, 133),
    ("knn", "base", "test", 0.99, 45),  # better on test rows, which may not choose
    ("nnls", "meta", "cross-validated", 0.96, 133),
    ("nnls", "meta", "test", 0.94, 45),
    ("leaky", "meta", "cross-validated", 1.00, 133),
    ("leaky", "meta", "in-sample", 1.00, 133),
    ("leaky", "meta", "test", 0.80, 45),
)
WEIGHTS = pd.DataFrame(
    [
        ("wine", "nnls", "out-of-fold", "svm", "svm", "all classes", 0.9, 0.9),
        ("wine", "nnls", "out-of-fold", "knn", "knn", "all classes", 0.3, 0.3),
        ("wine", "nnls", "out-of-fold", "", "(bias)", "all classes", 0.0, float("nan")),
        ("wine", "leaky", "in-sample", "svm", "svm__b", "b", -1.0, -1.0),
        ("wine", "leaky", "in-sample", "knn", "knn__b", "b", 3.0, 3.0),
        ("wine", "leaky", "in-sample", "", "(bias)", "b", 0.7, float("nan")),
    ],
    columns=list(RESULT_TABLES["weights"]),
)


def paired(metric="accuracy", study="wine", output=""):
    """Paired differences of every meta-learner and base model, each with a value of its own."""
    rows = [
        (study, meta, base, metric, output, value, value / 2, 45)
        for meta, base, value in (
            ("nnls", "svm", 0.04),
            ("nnls", "knn", -0.05),
            ("leaky", "svm", -0.1),
            ("leaky", "knn", -0.19),
        )
    ]
    return pd.DataFrame(rows, columns=list(RESULT_TABLES["differences"]))


def test_best_are_chosen_by_the_honest_score_and_reported_on_test_rows():
    found = numbers(scores("accuracy", *HONEST), paired(), WEIGHTS)["wine"]
    assert (found["metric"], found["greater_is_better"]) == ("accuracy", True)
    best = found["outputs"]["all"]
    assert best["best_base_model"]["name"] == "svm"
    assert best["best_base_model"]["chosen_by"] == "out-of-fold"
    assert best["best_meta_learner"]["name"] == "nnls"
    assert best["best_meta_learner"]["scores"] == {
        "cross-validated": {"value": 0.96, "standard_error": 0.01, "n": 133},
        "test": {"value": 0.94, "standard_error": 0.01, "n": 45},
    }
    assert best["stack_minus_best_base"] == {
        "figure": "test",
        "value": 0.04,
        "standard_error": 0.02,
        "n": 45,
    }


def test_losses_are_better_when_lower():
    best = numbers(scores("log_loss", *HONEST), paired("log_loss"), WEIGHTS)["wine"]["outputs"][
        "all"
    ]
    assert best["best_base_model"]["name"] == "knn"
    assert best["best_meta_learner"]["name"] == "nnls"
    assert best["stack_minus_best_base"]["value"] == -0.05


def test_weights_belong_to_their_meta_learner():
    found = numbers(scores("accuracy", *HONEST), paired(), WEIGHTS)["wine"]["weights"]
    assert list(found) == ["nnls", "leaky"]
    assert found["nnls"]["share"] == pytest.approx({"svm": 0.75, "knn": 0.25})
    assert found["leaky"]["share"] == pytest.approx({"svm": 0.25, "knn": 0.75})
    assert found["nnls"]["bias"] == {"all classes": 0.0}
    assert found["leaky"]["bias"] == {"b": 0.7}


def test_the_first_metric_of_each_study_and_every_output():
    table = pd.concat(
        [
            scores("r2", *HONEST, study="linnerud", output="Pulse"),
            scores("r2", *HONEST, study="linnerud", output="Waist"),
            scores("mae", *HONEST, study="linnerud", output="Waist"),
            scores("brier", *HONEST, study="wine"),
        ]
    )
    found = numbers(table, paired())
    assert {study: part["metric"] for study, part in found.items()} == {
        "linnerud": "r2",
        "wine": "brier",
    }
    assert list(found["linnerud"]["outputs"]) == ["Pulse", "Waist"]
    assert "weights" not in found["wine"]


def test_what_is_missing_is_null_and_all_is_json():
    table = scores("accuracy", *HONEST[:2])
    table.loc[1, "standard_error"] = float("nan")
    found = numbers(table, paired(), WEIGHTS.iloc[:0])
    best = found["wine"]["outputs"]["all"]
    assert best["best_meta_learner"] is None and best["stack_minus_best_base"] is None
    assert best["best_base_model"]["scores"]["test"]["standard_error"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_bad_tables_are_one_clear_line():
    with pytest.raises(InputError, match="study wine: metric 'f1' is not known"):
        numbers(scores("f1", *HONEST), paired())
    with pytest.raises(InputError, match="missing figure, metric"):
        numbers(scores("r2", *HONEST).drop(columns=["figure", "metric"]), paired())
