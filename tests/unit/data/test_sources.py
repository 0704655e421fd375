"""The table of sources, and scikit-learn's sets: real ones, and made ones with a seed."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn import datasets

from starstack.data.scikit_learn import LOADERS
from starstack.data.sources import SOURCES, load_dataset
from starstack.errors import InputError

REGRESSION = {
    "load_diabetes",
    "load_linnerud",
    "make_friedman1",
    "make_friedman2",
    "make_friedman3",
    "make_regression",
    "make_s_curve",
    "make_sparse_uncorrelated",
    "make_swiss_roll",
}


def load(loader, task="classification", **params):
    data = {"source": "scikit-learn", "loader": loader, "params": params}
    return load_dataset("study", task, data)


@pytest.mark.parametrize("loader", [name for name in LOADERS if name.startswith("load_")])
def test_real_sets_are_those_of_scikit_learn(loader):
    task = "regression" if loader in REGRESSION else "classification"
    dataset, bunch = load(loader, task), getattr(datasets, loader)()
    np.testing.assert_array_equal(dataset.X, bunch.data)
    np.testing.assert_array_equal(dataset.y, bunch.target)
    assert dataset.feature_names == tuple(bunch.feature_names)
    assert dataset.row_id.tolist() == [str(row) for row in range(len(bunch.data))]
    if task == "classification":
        assert dataset.classes == tuple(str(name) for name in bunch.target_names)
        assert dataset.target_names == ("target",)


def test_several_targets_have_their_names():
    dataset = load("load_linnerud", "regression")
    assert dataset.y.shape == (20, 3)
    assert dataset.target_names == ("Weight", "Waist", "Pulse")
    made = load("make_regression", "regression", n_targets=2, random_state=0)
    assert made.target_names == ("y0", "y1")
    assert made.n_targets == 2


@pytest.mark.parametrize("loader", [name for name in LOADERS if name.startswith("make_")])
def test_made_sets_are_those_of_scikit_learn(loader):
    task = "regression" if loader in REGRESSION else "classification"
    dataset = load(loader, task, n_samples=40, random_state=3)
    X, y = getattr(datasets, loader)(n_samples=40, random_state=3)
    np.testing.assert_array_equal(dataset.X, X)
    names = np.array(dataset.classes, dtype=float)
    np.testing.assert_array_equal(names[dataset.y] if len(names) else dataset.y, y)
    assert dataset.feature_names[0] == "x0"


def test_a_part_of_the_classes():
    dataset = load("load_digits", n_class=3)
    assert dataset.classes == ("0", "1", "2")


def test_labels_may_be_regressed_on():
    dataset = load("load_iris", "regression")
    assert dataset.y.dtype == np.float64
    assert dataset.classes == ()


def test_provenance_says_how_it_was_made():
    provenance = load("make_moons", n_samples=20, random_state=1).provenance
    assert provenance["source"] == "scikit-learn"
    assert provenance["loader"] == "make_moons"
    assert json.loads(provenance["params"]) == {"n_samples": 20, "random_state": 1}
    assert all(isinstance(value, str) for value in provenance.values())


@pytest.mark.parametrize(
    ("loader", "task", "params", "message"),
    [
        (
            "load_wein",
            "classification",
            {},
            "there is no loader 'load_wein'; did you mean 'load_wi",
        ),
        ("fetch_covtype", "classification", {}, "'fetch_covtype' needs a download"),
        ("load_svmlight_file", "regression", {"f": "x"}, "there is no loader 'load_svmlight_file'"),
        ("__class__", "regression", {}, "there is no loader '__class__'"),
        ("make_moons", "classification", {}, "random_state is None; give a whole number"),
        ("make_moons", "classification", {"random_state": True}, "random_state is True; give a"),
        (
            "make_moons",
            "classification",
            {"random_state": 1, "sample": 9},
            "make_moons: there is no parameter 'sample'; did you mean 'n_samples'",
        ),
        ("load_wine", "classification", {"as_frame": True}, "there is no parameter 'as_frame'"),
        ("make_regression", "regression", {"coef": True, "random_state": 1}, "parameter 'coef'"),
        (
            "make_moons",
            "classification",
            {"random_state": 1, "noise": "much"},
            "make_moons refuses: The 'noise' parameter",
        ),
        (
            "load_linnerud",
            "classification",
            {},
            "classification takes one target, got 3: Weight, W",
        ),
        ("load_diabetes", "classification", {}, r"has only 1 row \(\d+ of 214 classes have fewer"),
        ("make_regression", "classification", {"random_state": 1}, "a fraction, which is no class"),
        ("load_wine", "ranking", {}, "task is 'ranking'"),
    ],
)
def test_wrong_options(loader, task, params, message):
    with pytest.raises(InputError, match=message) as caught:
        load(loader, task, **params)
    assert str(caught.value).startswith("data set 'study': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": "tabel"}, "no source 'tabel'; did you mean 'table'. Expected one of scikit-le"),
        ({}, "no source 'None'; expected one of scikit-learn, table, hdf5"),
        ({"source": "scikit-learn"}, "source scikit-learn needs 'loader'"),
        (
            {"source": "scikit-learn", "loader": "load_wine", "path": "x"},
            "there is no option 'path'",
        ),
    ],
)
def test_wrong_source(data, message):
    with pytest.raises(InputError, match=message):
        load_dataset("study", "classification", data)


def test_the_options_are_not_changed():
    data = {"source": "scikit-learn", "loader": "load_wine", "params": {}}
    load_dataset("study", "classification", data)
    assert data == {"source": "scikit-learn", "loader": "load_wine", "params": {}}


def test_sources_are_the_documented_ones():
    assert list(SOURCES) == ["scikit-learn", "table", "hdf5", "inline"]


def test_every_loader_is_there_and_needs_no_download():
    assert all(hasattr(datasets, name) for name in LOADERS)
    assert not [name for name in LOADERS if name.startswith("fetch_")]
    assert find_spec("sklearn.datasets.data") is not None  # the files that load_* read
