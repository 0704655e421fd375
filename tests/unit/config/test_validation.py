import copy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from starstack.config.validation import validate_config
from starstack.errors import InputError

ROOT = Path(__file__).parents[3]
SCHEMA_PATH = ROOT / "workflow/schemas/config.schema.yaml"

GOOD = yaml.safe_load(
    """
    studies:
      stars:
        task: classification
        data: {source: table, path: stars.csv, target: kind}
        base_models:
          knn:
            class: sklearn.neighbors.KNeighborsClassifier
            preprocess: [standardize]
          forest: {class: sklearn.ensemble.RandomForestClassifier}
        meta_learners:
          logistic: {class: logistic}
      wine:
        task: regression
        data: {source: scikit-learn, loader: load_diabetes}
        base_models:
          ridge: {class: sklearn.linear_model.Ridge}
        meta_learners:
          convex: {class: convex}
    """
)


@pytest.fixture(autouse=True)
def in_a_folder_with_data(tmp_path, monkeypatch):
    (tmp_path / "stars.csv").write_text("teff,kind\n5000,a\n")
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)


def validate(config):
    return validate_config(config, SCHEMA_PATH)


def changed(changes):
    """Copy the good config with some keys changed: {dotted path: value}, "-" to delete."""
    config = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("/")
        part = config
        for name in parents:
            part = part[name]
        if value == "-":
            del part[last]
        else:
            part[last] = value
    return config


# --- defaults -----------------------------------------------------------------------------------


def test_every_default_is_filled_in_and_the_argument_left_alone():
    before = copy.deepcopy(GOOD)
    filled = validate(GOOD)
    assert before == GOOD
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


def test_what_is_given_stays_and_defaults_are_not_shared():
    filled = validate(changed({"seed": 0, "studies/stars/split": {"n_folds": 3}}))
    assert filled["seed"] == 0
    assert filled["studies"]["stars"]["split"]["n_folds"] == 3
    assert filled["studies"]["wine"]["split"]["n_folds"] == 5
    filled["studies"]["stars"]["base_models"]["knn"]["params"]["n"] = 1
    assert filled["studies"]["stars"]["base_models"]["forest"]["params"] == {}
    assert validate(GOOD)["studies"]["stars"]["base_models"]["knn"]["params"] == {}


def test_a_filled_config_is_good_and_stays_the_same():
    assert validate(validate(GOOD)) == validate(GOOD)


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
def test_good_configs_pass(changes):
    validate(changed(changes))


# --- one line per mistake -----------------------------------------------------------------------

STARS = "studies/stars"
KNN = f"{STARS}/base_models/knn"
LOGISTIC = f"{STARS}/meta_learners/logistic"
TABLE = {"source": "table", "path": "stars.csv", "target": "kind"}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier"}
PROJECTED = "starstack.projection.ProjectedLogisticRegression"
PROJECTED_3 = {"class": PROJECTED, "params": {"rank": 3}}


def with_error_bars(uncertainty=None, **training):
    """A network that gets error bars, or asks for them in vain."""
    uncertainty = {"structures": ["kfac"]} | (uncertainty or {})
    return {"dense": {"build": "dense", "training": training, "uncertainty": uncertainty}}


BAD = [
    # unknown keys
    ({"sead": 1}, "config: unknown key 'sead'; expected one of seed, allowed_packages", "'seed'?"),
    ({f"{STARS}/base-models": {}}, "config: studies.stars: unknown key", "'base_models'?"),
    (
        {f"{KNN}/class": "-", f"{KNN}/clas": "x.Y"},
        "config: studies.stars.base_models.knn: unknown key 'clas'; expected one of class, params, "
        "preprocess, columns, job; did you mean 'class'?",
    ),
    ({f"{LOGISTIC}/drop_frist": True}, "meta_learners.logistic: unknown key", "'drop_first'?"),
    (
        {f"{STARS}/split": {"folds": 3}},
        "config: studies.stars.split: unknown key 'folds'",
        "'n_folds'?",
    ),
    (
        {f"{STARS}/data": {**TABLE, "taget": "x"}},
        "studies.stars.data: unknown key 'taget'",
        "'target'?",
    ),
    (
        {f"{STARS}/data": {**TABLE, "loader": "load_wine"}},
        "studies.stars.data: unknown key 'loader'",
    ),
    (
        {"studies/wine/data/group": "g"},
        "studies.wine.data: unknown key 'group'",
        "source, loader, params",
    ),
    (
        {f"{KNN}/preprocess": [{"class": "sklearn.preprocessing.MinMaxScaler", "parms": {}}]},
        "base_models.knn.preprocess[0]: unknown key 'parms'",
        "'params'?",
    ),
    (
        {f"{KNN}/params": {"metric": {"class": "sklearn.a.B", "param": {}}}},
        "base_models.knn.params.metric: unknown key 'param'",
        "'params'?",
    ),
    # missing keys
    ({"studies": "-"}, "config: key 'studies' is missing: The studies, by name"),
    ({f"{STARS}/task": "-"}, "config: studies.stars: key 'task' is missing: What is predicted"),
    ({f"{KNN}/class": "-"}, "base_models.knn: key 'class' is missing: The class, such as"),
    (
        {f"{STARS}/data": {"path": "x.csv"}},
        "studies.stars.data: key 'source' is missing: A set that comes with",
    ),
    ({f"{STARS}/data": {"loader": "load_wine"}}, "studies.stars.data: key 'source' is missing"),
    ({f"{STARS}/data": {"target": "x"}}, "studies.stars.data: key 'source' is missing"),
    (
        {f"{STARS}/data/target": "-"},
        "studies.stars.data: key 'target' is missing: The column to predict",
    ),
    ({"studies/wine/data/loader": "-"}, "studies.wine.data: key 'loader' is missing"),
    ({f"{STARS}/data": {"source": "hdf5", "path": "x", "X": "x"}}, "data: key 'y' is missing"),
    # wrong types
    ({"studies": None}, "config: studies: expected a mapping, got nothing (null)"),
    ({"studies": []}, "config: studies: expected a mapping, got an empty list"),
    ({"seed": "x"}, "config: seed: expected a whole number, got the text 'x'"),
    ({"seed": "1"}, "config: seed: expected a whole number", "write a number without quotes"),
    ({"seed": 1.0}, "config: seed: expected a whole number, got 1.0"),
    ({"seed": True}, "config: seed: expected a whole number, got true"),
    (
        {f"{STARS}/split": {"test_size": "1e-1"}},
        "split.test_size: expected a number",
        "1e-3 as 1.0e-3",
    ),
    (
        {f"{STARS}/split": {"test_size": float("nan")}},
        "split.test_size: expected a number, got nan",
    ),
    (
        {f"{STARS}/split": {"shuffle": "yes"}},
        "split.shuffle: expected true or false, got the text 'yes'",
    ),
    (
        {f"{STARS}/base_models": ["knn"]},
        "studies.stars.base_models: expected a mapping, got a list of 1",
    ),
    ({f"{KNN}/class": ["a.B"]}, "base_models.knn.class: expected text, got a list of 1"),
    ({f"{KNN}/params": None}, "base_models.knn.params: expected a mapping, got nothing"),
    (
        {f"{KNN}/preprocess": "standardize"},
        "knn.preprocess: expected a list, got the text 'standardize'",
    ),
    ({f"{KNN}/preprocess": [1]}, "knn.preprocess[0]: expected text or a mapping, got 1"),
    ({f"{STARS}/data/path": 3}, "studies.stars.data.path: expected text, got 3"),
    ({f"{STARS}/data/target": 3}, "studies.stars.data.target: expected text or a list, got 3"),
    (
        {f"{STARS}/metrics": "accuracy"},
        "studies.stars.metrics: expected a list or null, got the text",
    ),
    # values
    (
        {f"{STARS}/task": "clasification"},
        "studies.stars.task: expected one of classification, regression",
        "did you mean 'classification'?",
    ),
    (
        {f"{STARS}/data": {"source": "csv"}},
        "data.source: expected one of scikit-learn, table, hdf5",
    ),
    ({f"{STARS}/split": {"method": "kfold"}}, "split.method: expected one of k-fold,", "'k-fold'?"),
    ({f"{STARS}/metrics": ["acuracy"]}, "metrics[0]: expected one of accuracy", "'accuracy'?"),
    ({f"{STARS}/metrics": ["brier", "brier"]}, "metrics: expected each entry once", "2 times"),
    (
        {f"{STARS}/metrics": []},
        "studies.stars.metrics: expected at least one entry, got an empty list",
    ),
    ({f"{KNN}/job": "per_folds"}, "knn.job: expected one of per_fold, per_model", "'per_fold'?"),
    (
        {f"{KNN}/preprocess": ["standardise"]},
        "knn.preprocess[0]: expected one of",
        "'standardize'?",
    ),
    ({"seed": -1}, "config: seed: expected at least 0, got -1"),
    ({f"{STARS}/split": {"n_folds": 1}}, "split.n_folds: expected at least 2, got 1"),
    ({f"{STARS}/split": {"test_size": 0}}, "split.test_size: expected more than 0, got 0"),
    ({f"{STARS}/split": {"test_size": 1}}, "split.test_size: expected less than 1, got 1"),
    (
        {f"{STARS}/base_models": {}},
        "studies.stars: expected base_models beside meta_learners",
    ),
    (
        {f"{STARS}/meta_learners": {}},
        "studies.stars: expected meta_learners beside base_models",
    ),
    (
        {f"{STARS}/base_models": {}, f"{STARS}/meta_learners": {}},
        "studies.stars: expected base_models with meta_learners, networks or a projection",
    ),
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
    (
        {f"{STARS}/projection": {"solvers": ["newton"]}},
        "projection.solvers[0]: expected one of gradient-descent, l-bfgs, trust-krylov",
    ),
    (
        {f"{STARS}/projection": {"preprocess": ["standardise"]}},
        "projection.preprocess[0]: expected one of",
        "'standardize'?",
    ),
    (
        {f"{STARS}/networks": with_error_bars()},
        "networks.dense.uncertainty.structures: expected a study of regression",
        "got classification",
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
    (
        {"studies/wine/networks": with_error_bars({"structures": ["kfca"]})},
        "dense.uncertainty.structures[0]: expected one of exact, block, last_layer, kfac",
        "'kfac'?",
    ),
    ({"studies": {}}, "config: studies: expected at least one entry"),
    ({f"{STARS}/data/target": ""}, "studies.stars.data.target: expected text, got the text ''"),
    (
        {"studies/wine/data/loader": "fetch_openml"},
        "data.loader: expected one of load_breast_cancer",
    ),
    ({"studies/wine/data/loader": "load_wines"}, "data.loader: expected", "'load_wine'?"),
    (
        {"studies/wine/data/loader": "make_regression"},
        "studies.wine.data.params: expected a random_state",
        "add random_state: 1",
    ),
    (
        {f"{STARS}/data/path": "stars.txt"},
        "stars.data.path: expected the file, .csv or .tsv",
        "got the text 'stars.txt'",
    ),
    ({f"{KNN}/columns": []}, "knn.columns: expected at least one entry"),
    # names
    (
        {"studies/my study": {}},
        "config: studies: the name 'my study' cannot be used",
        "letters, digits and hyphens",
    ),
    ({f"{STARS}/base_models/a__b": TREE}, "base_models: the name 'a__b' cannot be used"),
    ({f"{STARS}/base_models/KNN": TREE}, "differ in more than case", "'knn' and 'KNN'"),
    ({"studies/Stars": GOOD["studies"]["wine"]}, "config: studies: expected names that differ"),
    (
        {f"{STARS}/meta_learners/knn": {"class": "convex"}},
        "stars.meta_learners: expected a name of its own",
        "also the base model 'knn'",
    ),
    ({"only": ["stras"]}, "config: only: unknown study 'stras'", "did you mean 'stars'"),
    # networks
    (
        {f"{STARS}/networks": {"Forest": {"build": "dense"}}},
        "stars.networks: expected a name of its own",
        "also the base model 'forest'",
    ),
    ({f"{STARS}/networks": {"net": {}}}, "networks.net: key 'build' is missing"),
    ({f"{STARS}/networks": {"net": {"build": "desne"}}}, "net.build", "did you mean 'dense'"),
    (
        {f"{STARS}/networks": {"net": {"build": "os.system"}}},
        "networks.net.build",
        "allowed_packages",
    ),
    (
        {f"{STARS}/networks": {"net": {"build": "dense", "training": {"epoch": 3}}}},
        "networks.net.training: unknown key 'epoch'; expected one of epochs,",
        "did you mean 'epochs'?",
    ),
    (
        {f"{STARS}/networks": {"net": {"build": "dense", "training": {"epochs": 0}}}},
        "networks.net.training.epochs: expected at least 1, got 0",
    ),
    (
        {f"{STARS}/networks": {"net": {"build": "dense", "device": {"device": "cuda"}}}},
        "net.device.device: expected one of auto, cpu, gpu",
    ),
    ({f"{STARS}/snr_bins": [20]}, "stars.snr_bins: expected at least 2 entries, got a list of 1"),
    ({f"{STARS}/snr_bins": [30, 20]}, "stars.snr_bins: expected edges in rising order"),
    # spectra
    (
        {"studies/wine/data": {"source": "simulated-spectra", "snr": [100, 50]}},
        "wine.data.snr: expected the lowest and then the highest ratio",
    ),
    (
        {"studies/wine/data": {"source": "simulated-spectra", "snr": [1, 2, 3]}},
        "wine.data.snr: expected 2 entries, got 3",
    ),
    (
        {"studies/wine/data": {"source": "simulated-spectra", "chips": ["ultraviolet"]}},
        "wine.data.chips[0]: expected one of blue, green, red",
    ),
    (
        {f"{STARS}/data": {"source": "simulated-spectra"}},
        "stars.task: expected regression for spectra",
    ),
    (
        {"studies/wine/data": {"source": "starnet-hdf5", "path": "no.h5"}},
        "wine.data.path: expected a file",
    ),
    (
        {
            "studies/wine/data": {
                "source": "apogee-fits",
                "path": "stars.csv",
                "labels_file": "stars.csv",
            }
        },
        "wine.data.path: expected a folder",
        "'stars.csv' is a file",
    ),
    (
        {
            "studies/wine/data": {
                "source": "apogee-fits",
                "path": "folder.csv",
                "labels_file": "no.csv",
            }
        },
        "wine.data.labels_file: expected a file",
    ),
    # classes
    ({f"{KNN}/class": "KNeighborsClassifier"}, "knn.class: expected a dotted path"),
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
    ({"allowed_packages": []}, "config: allowed_packages: expected at least one entry"),
    (
        {"allowed_packages": ["skl earn"]},
        "allowed_packages[0]: expected the name of a Python package",
    ),
    ({"trusted_types": ["Tree"]}, "config: trusted_types[0]: expected a dotted path"),
    # keys against each other
    (
        {f"{STARS}/split": {"method": "time-ordered"}},
        "split.method: time-ordered needs the time of each row; name its column under data.time",
    ),
    (
        {f"{STARS}/split": {"method": "grouped"}},
        "split.method: grouped needs the group of each row",
    ),
    ({f"{STARS}/split": {"method": "stratified-grouped"}}, "stratified-grouped needs the group"),
    (
        {"studies/wine/split": {"method": "grouped"}},
        "data from scikit-learn have none, choose k-fold",
    ),
    (
        {"studies/wine/split": {"method": "stratified"}},
        "stratified needs classes, and the task is regression; use k-fold",
    ),
    (
        {f"{STARS}/data/time": "t", f"{STARS}/split": {"method": "time-ordered", "n_repeats": 2}},
        "split.n_repeats: expected 1 for time-ordered",
        "got 2",
    ),
    ({f"{STARS}/split": {"n_repeats": 2, "shuffle": False}}, "n_repeats is 2 but shuffle is false"),
    (
        {f"{STARS}/metrics": ["rmse"]},
        "stars.metrics: rmse does not fit the task classification",
        "roc_auc",
    ),
    ({"studies/wine/metrics": ["r2", "accuracy"]}, "accuracy does not fit the task regression"),
    (
        {f"{STARS}/data/target": ["a", "b"]},
        "data.target: expected one column for classification, got 2",
    ),
    (
        {f"{STARS}/data/group": "kind"},
        "expected 'kind' under one key only; it is under target and under group",
    ),
    (
        {f"{STARS}/data/features": ["teff", "kind"]},
        "'kind' under one key only",
        "target and under features",
    ),
    (
        {f"{STARS}/data/features": ["teff", "logg"], f"{KNN}/columns": ["tef"]},
        "knn.columns: the data have no column 'tef'; did you mean 'teff'?",
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
    # files
    (
        {f"{STARS}/data/path": "star.csv"},
        "stars.data.path: expected a file",
        "'star.csv' is no such file",
    ),
    (
        {f"{STARS}/data/path": "folder.csv"},
        "stars.data.path: expected a file",
        "'folder.csv' is a folder",
    ),
    (
        {f"{STARS}/split": {"file": "split.csv"}},
        "stars.split.file: expected a file",
        "no such file",
    ),
]


def test_only_some_studies_can_be_run():
    assert list(validate(changed({"only": ["wine"]}))["studies"]) == ["wine"]
    assert list(validate(changed({}))["studies"]) == ["stars", "wine"]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [(changes, fragments) for changes, *fragments in BAD],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_config_is_one_telling_line(changes, fragments):
    with pytest.raises(InputError) as caught:
        validate(changed(changes))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("config: ")
    assert len(message) < 450
    for fragment in fragments:
        assert fragment in message


def test_there_are_enough_of_them():
    assert len(BAD) >= 40


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
def test_a_config_that_is_no_config_is_one_line_too(config, fragment):
    with pytest.raises(InputError) as caught:
        validate(config)
    assert fragment in str(caught.value)


# --- the config of the repository, and speed -----------------------------------------------------


def test_the_default_config_is_good():
    config = validate(yaml.safe_load((ROOT / "config.yaml").read_text()))
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


def test_validation_is_fast_and_imports_nothing_heavy():
    code = textwrap.dedent(
        f"""
        import sys, time
        start = time.process_time()
        import yaml
        from starstack.config.validation import validate_config
        with open({str(ROOT / "config.yaml")!r}) as file:
            validate_config(yaml.safe_load(file), {str(SCHEMA_PATH)!r})
        heavy = {{"numpy", "scipy", "sklearn", "pandas", "h5py", "skops", "snakemake"}}
        print(time.process_time() - start, *(heavy & set(sys.modules)))
        """
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        taken, *heavy = done.stdout.split()
        assert heavy == []
        seconds.append(float(taken))
    # About 0.1 s on the machine this was written on; the limit leaves room for a slow one.
    assert min(seconds) < 0.5
