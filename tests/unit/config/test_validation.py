"""Defaults, good configurations, and what is no configuration at all."""

import copy
import subprocess
import sys
import textwrap

import pytest
import yaml

from starstack.errors import InputError


def test_every_default_is_filled_in_and_the_argument_left_alone(good, validate):
    before = copy.deepcopy(good)
    filled = validate(good)
    assert before == good
    assert (filled["seed"], filled["trusted_types"]) == (1, [])
    assert filled["allowed_packages"] == ["sklearn", "starstack"]
    stars = filled["studies"]["stars"]
    assert stars["title"] == ""
    assert stars["split"] == {
        "method": "stratified",
        "n_folds": 5,
        "n_repeats": 1,
        "test_size": 0.25,
        "shuffle": True,
        "file": None,
    }
    assert stars["metrics"] == ["accuracy", "balanced_accuracy", "log_loss", "brier"]
    assert stars["data"] == {
        "source": "table",
        "path": "stars.csv",
        "target": "kind",
        "features": None,
        "row_id": None,
        "group": None,
        "time": None,
        "sample_weight": None,
    }
    assert stars["base_models"]["knn"] == {
        "class": "sklearn.neighbors.KNeighborsClassifier",
        "params": {},
        "preprocess": ["standardize"],
        "columns": None,
        "job": "per_fold",
    }
    assert stars["meta_learners"]["logistic"] == {
        "class": "logistic",
        "params": {},
        "preprocess": [],
        "drop_first": True,
        "keep_features": False,
        "member_predictions": "refit",
        "trained_on": "out-of-fold",
    }
    wine = filled["studies"]["wine"]
    assert wine["data"] == {"source": "scikit-learn", "loader": "load_diabetes", "params": {}}
    assert wine["split"]["method"] == "k-fold"
    assert wine["metrics"] == ["rmse", "mae", "r2"]


def test_what_is_given_stays_and_defaults_are_not_shared(good, validate, changed):
    before = copy.deepcopy(good)
    filled = validate(changed({"seed": 0, "studies/stars/split": {"n_folds": 3}}))
    assert filled["seed"] == 0
    assert filled["studies"]["stars"]["split"]["n_folds"] == 3
    assert filled["studies"]["wine"]["split"]["n_folds"] == 5
    filled["studies"]["stars"]["base_models"]["knn"]["params"]["n"] = 1
    assert filled["studies"]["stars"]["base_models"]["forest"]["params"] == {}
    assert validate(before)["studies"]["stars"]["base_models"]["knn"]["params"] == {}


def test_a_filled_config_is_good_and_stays_the_same(good, validate):
    assert validate(validate(good)) == validate(good)


@pytest.mark.parametrize(
    "changes",
    [
        {"studies/stars/base_models/forest/params": {"class_weight": {0: 1.0, 1: 2.0}}},
        {"studies/stars/meta_learners/g": {"class": "greedy"}},
        {"studies/stars/meta_learners/g": {"class": "best_single"}},
        {"studies/stars/meta_learners/g": {"class": "sklearn.svm.SVC", "params": {"C": 2}}},
        {"studies/stars/meta_learners/g": {"class": "convex", "trained_on": "in-sample"}},
        {"studies/stars/data/group": "star", "studies/stars/split": {"method": "grouped"}},
        {"studies/stars/data/time": "mjd", "studies/stars/split": {"method": "time-ordered"}},
        {"studies/wine/data": {"source": "table", "path": "stars.csv", "target": ["a", "b"]}},
        {"studies/wine/data": {"source": "hdf5", "path": "stars.csv", "X": "x", "y": ["a", "b"]}},
        {"studies/wine/data": {"source": "simulated-spectra", "noise_correlation": [0.4, 0.1]}},
        {"studies/stars/split": {"n_repeats": 3}},
        {"studies/stars/metrics": ["roc_auc"]},
        {"allowed_packages": ["sklearn", "xgboost.sklearn"]},
        {"studies/stars/projection": {"alphas": [0, 1.5], "preprocess": []}},
        {
            "studies/stars/base_models": {},
            "studies/stars/meta_learners": {},
            "studies/stars/projection": {},
            "studies/stars/data": {"source": "inline", "rows": [[1], [2]], "labels": ["a", 1]},
        },
        {
            "studies/stars/projection": {"draw": "joint"},
            "studies/stars/base_models/joint": {
                "class": "starstack.projection.ProjectedLogisticRegression"
            },
        },
    ],
    ids=str,
)
def test_good_configs_pass(changes, validate, changed):
    validate(changed(changes))


def test_only_some_studies_can_be_run(validate, changed):
    assert list(validate(changed({}))["studies"]) == ["stars", "wine"]
    assert list(validate(changed({"only": ["wine"]}))["studies"]) == ["wine"]


@pytest.mark.parametrize(
    ("config", "fragment"),
    [
        (None, "config: expected a mapping, got nothing (null)"),
        ([], "config: expected a mapping, got an empty list"),
        ({}, "config: key 'studies' is missing"),
        (
            {"studies": {2020: {}}},
            'config: studies: expected names as text, got 2020; write "2020"',
        ),
        ({True: 1}, "config: expected names as text, got True"),
    ],
)
def test_a_config_that_is_no_config_is_one_line_too(config, fragment, validate):
    with pytest.raises(InputError) as caught:
        validate(config)
    assert fragment in str(caught.value)


def test_the_default_config_is_good(repository, validate):
    config = validate(yaml.safe_load((repository / "config.yaml").read_text()))
    assert list(config["studies"]) == [
        "seed-ensemble",
        "breast-cancer",
        "wine",
        "digits",
        "projection-toy",
        "projection-breast-cancer",
        "projection-digits",
        "diabetes",
        "spectra",
    ]
    for name, study in config["studies"].items():
        assert study["title"]
        if name == "projection-toy":
            assert not study["base_models"]
            continue
        made = name == "seed-ensemble"
        assert len(study["base_models"]) >= (3 if made else 5)
        assert made == study["data"].get("loader", "").startswith("make_")
    leaks = {
        (name, learner)
        for name, study in config["studies"].items()
        for learner, spec in study["meta_learners"].items()
        if spec["trained_on"] == "in-sample"
    }
    assert leaks == {("seed-ensemble", "logistic-in-sample")}


def test_validation_imports_nothing_heavy(repository):
    code = textwrap.dedent(
        """
        import sys
        import yaml
        from starstack.config.validation import validate_config
        with open("config.yaml") as file:
            validate_config(yaml.safe_load(file), "workflow/schemas/config.schema.yaml")
        heavy = {"numpy", "scipy", "sklearn", "pandas", "h5py", "skops", "snakemake", "tensorflow"}
        print(*(heavy & set(sys.modules)))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
