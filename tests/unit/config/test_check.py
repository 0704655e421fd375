import copy
from pathlib import Path

import pytest
import yaml
from sklearn.base import BaseEstimator

from starstack.config.check import check_models
from starstack.config.validation import validate_config
from starstack.errors import InputError

ROOT = Path(__file__).parents[3]
SCHEMA_PATH = ROOT / "workflow/schemas/config.schema.yaml"

GOOD = {
    "studies": {
        "iris": {
            "task": "classification",
            "data": {"source": "scikit-learn", "loader": "load_iris"},
            "base_models": {"tree": {"class": "sklearn.tree.DecisionTreeClassifier"}},
            "meta_learners": {"logistic": {"class": "logistic"}},
        },
        "diabetes": {
            "task": "regression",
            "data": {"source": "scikit-learn", "loader": "load_diabetes"},
            "base_models": {"ridge": {"class": "sklearn.linear_model.Ridge"}},
            "meta_learners": {"convex": {"class": "convex"}},
        },
    }
}


def with_model(study, model=None, learner=None):
    config = copy.deepcopy(GOOD)
    if model:
        config["studies"][study]["base_models"]["m"] = model
    if learner:
        config["studies"][study]["meta_learners"]["l"] = learner
    return validate_config(config, SCHEMA_PATH)


def test_the_default_config_can_be_built(monkeypatch):
    def fit(self, *args, **kwargs):
        raise AssertionError("fitted")

    monkeypatch.setattr(BaseEstimator, "fit", fit, raising=False)
    check_models(validate_config(yaml.safe_load((ROOT / "config.yaml").read_text()), SCHEMA_PATH))


@pytest.mark.parametrize(
    ("study", "model", "fragments"),
    [
        ("iris", {"class": "sklearn.tree.DecisionTree"}, ["has no class 'DecisionTree'", "?"]),
        ("iris", {"class": "sklearn.trees.X"}, ["sklearn has no module 'trees'", "'tree'?"]),
        ("iris", {"class": "sklearn.model_selection.KFold"}, ["has no fit and no predict"]),
        (
            "iris",
            {"class": "sklearn.svm.SVC", "params": {"c": 1}},
            ["m.params: unknown parameter of SVC 'c'", "kernel", "'C'?"],
        ),
        (
            "iris",
            {"class": "sklearn.svm.SVC", "params": {"C": -1}},
            ["'C' parameter of SVC must be a float in the range (0.0, inf]. Got -1"],
        ),
        ("iris", {"class": "sklearn.svm.SVR"}, ["classification needs a classifier", "svm.SVR"]),
        ("diabetes", {"class": "sklearn.svm.SVC"}, ["regression needs a regressor", "svm.SVC"]),
        (
            "diabetes",
            {"class": "sklearn.svm.SVC", "preprocess": ["standardize"]},
            ["regression needs a regressor"],
        ),
    ],
)
def test_a_base_model_that_cannot_be_used_is_one_line(study, model, fragments):
    with pytest.raises(InputError) as caught:
        check_models(with_model(study, model=model))
    message = str(caught.value)
    assert message.startswith(f"config: studies.{study}.base_models.m")
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("study", "learner", "fragment"),
    [
        ("iris", {"class": "logistic", "params": {"c": 1}}, "'C'?"),
        ("iris", {"class": "greedy", "params": {"max_selections": 0}}, "max_selections"),
        ("iris", {"class": "sklearn.linear_model.Ridge"}, "needs a classifier"),
        ("diabetes", {"class": "sklearn.linear_model.Ridgge"}, "'Ridge'?"),
    ],
)
def test_a_meta_learner_that_cannot_be_used_is_one_line(study, learner, fragment):
    config = with_model(study, learner=learner)
    with pytest.raises(InputError) as caught:
        check_models(config)
    message = str(caught.value)
    assert message.startswith(f"config: studies.{study}.meta_learners.l")
    assert "\n" not in message
    assert fragment in message


@pytest.mark.parametrize(
    "model",
    [
        {"class": "sklearn.svm.LinearSVC"},
        {"class": "sklearn.svm.SVC"},
        {"class": "sklearn.svm.SVC", "preprocess": ["standardize"]},
        {"class": "sklearn.linear_model.RidgeClassifier"},
    ],
)
def test_a_blend_of_models_without_probabilities_is_refused_before_they_are_fitted(model):
    check_models(with_model("iris", model=model))
    with pytest.raises(InputError) as caught:
        check_models(with_model("iris", model=model, learner={"class": "greedy"}))
    assert "meta_learners.l: greedy blends probabilities, and base model 'm'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blend_takes_what_has_probabilities_or_may_have_them():
    tree = {"class": "sklearn.tree.DecisionTreeClassifier"}
    svc = {"class": "sklearn.svm.SVC"}
    for model in (
        {"class": "sklearn.calibration.CalibratedClassifierCV", "params": {"estimator": svc}},
        {"class": "sklearn.ensemble.StackingClassifier", "params": {"estimators": {"t": tree}}},
        {"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": {"t": tree}}},
    ):
        check_models(with_model("iris", model=model, learner={"class": "convex"}))
