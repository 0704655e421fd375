"""Keys of a study against each other: its parts, names, data, split, metrics and files."""

import pytest

STARS = "studies/stars"
KNN = f"{STARS}/base_models/knn"
ARRAYS = {
    "source": "spectra-arrays",
    "path": "stars.csv",
    "flux": "f",
    "labels": {"teff": "teff"},
}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier"}

BAD = [
    # parts of a study
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
    # names
    ({f"{STARS}/base_models/KNN": TREE}, "differ in more than case", "'knn' and 'KNN'"),
    (
        {f"{STARS}/meta_learners/knn": {"class": "convex"}},
        "stars.meta_learners: expected a name of its own",
        "also the base model 'knn'",
    ),
    (
        {f"{STARS}/networks": {"Forest": {"build": "dense"}}},
        "stars.networks: expected a name of its own",
        "also the base model 'forest'",
    ),
    # data
    (
        {"studies/wine/data/loader": "make_regression"},
        "studies.wine.data.params: expected a random_state",
        "add random_state: 1",
    ),
    ({f"{STARS}/snr_bins": [30, 20]}, "stars.snr_bins: expected edges in rising order"),
    (
        {"studies/wine/data": {"source": "simulated-spectra", "snr": [100, 50]}},
        "wine.data.snr: expected the lowest and then the highest ratio",
    ),
    (
        {f"{STARS}/data": {"source": "simulated-spectra"}},
        "stars.task: expected regression for spectra",
    ),
    (
        {f"{STARS}/data/target": ["a", "b"]},
        "data.target: expected one column for classification, got 2",
    ),
    (
        {f"{STARS}/target_labels": {"kindd": "Kind"}},
        "stars.target_labels: unknown target 'kindd'; expected one of kind; did you mean 'kind'?",
    ),
    (
        {
            "studies/wine/data": {"source": "simulated-spectra"},
            "studies/wine/target_labels": {"t": "T"},
        },
        "wine.target_labels: unknown target 't'; expected one of teff, logg, fe_h",
    ),
    (
        {"studies/wine/data": ARRAYS | {"normalise": "chip-median"}},
        "wine.data.normalise: expected a grid of APOGEE beside it",
        "take normalise: median",
    ),
    (
        {"studies/wine/data": ARRAYS | {"chips": ["red"]}},
        "wine.data.chips: expected a grid",
        "or leave out chips",
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
    # split
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
    # metrics
    (
        {f"{STARS}/metrics": ["rmse"]},
        "stars.metrics: rmse does not fit the task classification",
        "roc_auc",
    ),
    ({"studies/wine/metrics": ["r2", "accuracy"]}, "accuracy does not fit the task regression"),
    # noise
    (
        {"studies/wine/data": {"source": "simulated-spectra", "noise_correlation": [0.6]}},
        "studies.wine.data: noise_correlation is [0.6], which no noise can have",
    ),
    # files
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


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [(changes, fragments) for changes, *fragments in BAD],
    ids=lambda value: str(value)[:60],
)
def test_keys_that_do_not_go_together_are_one_telling_line(changes, fragments, refusal):
    message = refusal(changes)
    for fragment in fragments:
        assert fragment in message


def test_studies_whose_names_differ_in_case_only(good, refusal):
    message = refusal({"studies/Stars": good["studies"]["wine"]})
    assert "config: studies: expected names that differ" in message
