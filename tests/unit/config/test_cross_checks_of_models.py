"""Classes, meta-learners, networks and projections of a study that cannot be built."""

import pytest

STARS = "studies/stars"
KNN = f"{STARS}/base_models/knn"
LOGISTIC = f"{STARS}/meta_learners/logistic"
TREE = {"class": "sklearn.tree.DecisionTreeClassifier"}
PROJECTED_3 = {
    "class": "starstack.projection.ProjectedLogisticRegression",
    "params": {"rank": 3},
}


RECURRENT = {"build": "recurrent", "uncertainty": {"structures": ["last_layer", "kfac"]}}


def with_error_bars(uncertainty=None, **training):
    """A network that gets error bars, or asks for them in vain."""
    uncertainty = {"structures": ["kfac"]} | (uncertainty or {})
    return {"dense": {"build": "dense", "training": training, "uncertainty": uncertainty}}


BAD = [
    # classes
    (
        {f"{KNN}/params": {"metric": {"class": "sklearn.a.B", "param": {}}}},
        "base_models.knn.params.metric: unknown key 'param'",
        "'params'?",
    ),
    (
        {f"{KNN}/class": "os.system"},
        "knn.class: class os.system is not in an allowed package (sklearn, starstack)",
        "allowed_packages",
    ),
    (
        {f"{KNN}/class": "sklearn2.x.Y"},
        "knn.class: class sklearn2.x.Y is not in an allowed package",
    ),
    (
        {f"{KNN}/params": {"estimators": [["a", {"class": "os.system"}]]}},
        "knn.params.estimators[0][1].class: class os.system is not in an allowed package",
    ),
    (
        {f"{KNN}/params": {"estimator": {"class": 3}}},
        "knn.params.estimator.class: expected the dotted path",
    ),
    (
        {f"{KNN}/params": {"estimator": {**TREE, "preprocess": ["standardise"]}}},
        "knn.params.estimator.preprocess[0]: unknown preprocessing 'standardise'",
        "'standardize'?",
    ),
    (
        {f"{KNN}/preprocess": [{"class": "os.path.Join"}]},
        "knn.preprocess[0].class: class os.path.Join",
    ),
    ({f"{LOGISTIC}/class": "os.system"}, "meta_learners.logistic.class: class os.system is not in"),
    # meta-learners
    (
        {f"{LOGISTIC}/class": "logstic"},
        "logistic.class: unknown meta-learner for classification 'logstic'",
        "'logistic'?",
    ),
    ({f"{LOGISTIC}/class": "lasso"}, "unknown meta-learner for classification 'lasso'"),
    (
        {"studies/wine/meta_learners/l": {"class": "logistic"}},
        "unknown meta-learner for regression",
    ),
    (
        {f"{LOGISTIC}/trained_on": "in-sample", f"{LOGISTIC}/class": "sklearn.svm.SVC"},
        "logistic.trained_on: in-sample leaks",
        "use out-of-fold for sklearn.svm.SVC",
    ),
    (
        {f"{LOGISTIC}/trained_on": "in-sample", f"{LOGISTIC}/member_predictions": "fold_mean"},
        "logistic.member_predictions: expected refit with trained_on: in-sample; got fold_mean",
    ),
    (
        {f"{LOGISTIC}/class": "convex", f"{LOGISTIC}/keep_features": True},
        "logistic.keep_features: convex weighs whole base models",
    ),
    (
        {f"{LOGISTIC}/class": "greedy", f"{LOGISTIC}/preprocess": ["robust"]},
        "logistic.preprocess: greedy weighs predictions as they are",
    ),
    # networks
    (
        {f"{STARS}/networks": {"dense": RECURRENT}},
        "networks.dense.uncertainty.structures: kfac needs dense and convolutional layers, and "
        "build is recurrent; take last_layer, low_rank",
    ),
    (
        {"studies/wine/networks": with_error_bars(validation_fraction=0)},
        "networks.dense.training.validation_fraction: expected more than 0 with uncertainty",
    ),
    (
        {"studies/wine/networks": with_error_bars(loss="huber")},
        "networks.dense.training.loss: expected mean_squared_error with uncertainty.structures",
        "got huber",
    ),
    (
        {"studies/wine/networks": with_error_bars({"noise": "monte_carlo", "noise_draws": 1})},
        "networks.dense.uncertainty.noise_draws: expected 2 or more with monte_carlo",
    ),
    ({f"{STARS}/networks": {"net": {"build": "desne"}}}, "net.build", "did you mean 'dense'"),
    (
        {f"{STARS}/networks": {"net": {"build": "os.system"}}},
        "networks.net.build",
        "allowed_packages",
    ),
    # projections
    (
        {"studies/wine/projection": {}},
        "studies.wine.projection: expected a study of classification",
        "got regression",
    ),
    (
        {f"{STARS}/projection": {"draw": "forrest"}},
        "stars.projection.draw: unknown base model 'forrest'",
        "'forest'?",
    ),
    (
        {f"{STARS}/projection": {"draw": "knn"}},
        "stars.projection.draw: expected a base model of class starstack.projection.Projected",
        "KNeighborsClassifier",
    ),
    (
        {f"{STARS}/projection": {"draw": "joint"}, f"{STARS}/base_models/joint": PROJECTED_3},
        "stars.projection.draw: expected a base model",
        "and rank 3",
    ),
]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [(changes, fragments) for changes, *fragments in BAD],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_built_is_one_telling_line(changes, fragments, refusal):
    message = refusal(changes)
    for fragment in fragments:
        assert fragment in message
