"""What the schema refuses, each in one line that names the key."""

import pytest

STARS = "studies/stars"
KNN = f"{STARS}/base_models/knn"
LOGISTIC = f"{STARS}/meta_learners/logistic"
TABLE = {"source": "table", "path": "stars.csv", "target": "kind"}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier"}

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
        {f"{STARS}/projection": {"solvers": ["newton"]}},
        "projection.solvers[0]: expected one of gradient-descent, l-bfgs, trust-krylov",
    ),
    (
        {f"{STARS}/projection": {"preprocess": ["standardise"]}},
        "projection.preprocess[0]: expected one of",
        "'standardize'?",
    ),
    (
        {
            "studies/wine/networks": {
                "dense": {"build": "dense", "uncertainty": {"structures": ["kfca"]}}
            }
        },
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
    ({"only": ["stras"]}, "config: only: unknown study 'stras'", "did you mean 'stars'"),
    # networks
    ({f"{STARS}/networks": {"net": {}}}, "networks.net: key 'build' is missing"),
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
    # spectra
    (
        {"studies/wine/data": {"source": "simulated-spectra", "snr": [1, 2, 3]}},
        "wine.data.snr: expected 2 entries, got 3",
    ),
    (
        {"studies/wine/data": {"source": "simulated-spectra", "chips": ["ultraviolet"]}},
        "wine.data.chips[0]: expected one of blue, green, red",
    ),
    # classes
    ({f"{KNN}/class": "KNeighborsClassifier"}, "knn.class: expected a dotted path"),
    ({"allowed_packages": []}, "config: allowed_packages: expected at least one entry"),
    (
        {"allowed_packages": ["skl earn"]},
        "allowed_packages[0]: expected the name of a Python package",
    ),
    ({"trusted_types": ["Tree"]}, "config: trusted_types[0]: expected a dotted path"),
]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [(changes, fragments) for changes, *fragments in BAD],
    ids=lambda value: str(value)[:60],
)
def test_what_does_not_fit_the_schema_is_one_telling_line(changes, fragments, refusal):
    message = refusal(changes)
    for fragment in fragments:
        assert fragment in message
