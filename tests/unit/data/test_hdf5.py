"""Arrays of an HDF5 file: by name, of any numeric type, faults named."""

import h5py
import numpy as np
import pytest

from starstack.data.sources import load_dataset
from starstack.errors import InputError

N = 5


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that writes arrays, some replaced or left out, and loads them."""
    monkeypatch.chdir(tmp_path)
    arrays = {
        "spectra/flux": np.arange(3.0 * N, dtype=np.float32).reshape(N, 3),
        "spectra/pixel": np.array([b"p1", b"p2", b"p3"]),
        "labels": np.column_stack([np.arange(1.0 * N), np.arange(1.0 * N) ** 2]),
        "teff": np.arange(N, dtype=np.int16),
        "logg": np.linspace(0, 1, N),
        "kind": ["b", "a", "b", "a", "b"],
        "id": np.arange(100, 100 + N),
        "field": ["n", "n", "ß", "ß", "ß"],
        "seen": np.arange(1.0 * N),
        "date": [f"2024-01-0{day}" for day in range(1, N + 1)],
        "weight": np.ones(N, dtype=np.float16),
    }

    def load(task="regression", replaced=(), **options):
        with h5py.File("stars.h5", "w") as file:
            for name, values in (arrays | dict(replaced)).items():
                file[name] = values
        data = {"source": "hdf5", "path": "stars.h5", "X": "spectra/flux", "y": "teff"} | options
        return load_dataset("stars", task, data)

    return load


def refused(load, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        load(**options)
    assert str(caught.value).startswith("data set 'stars': ")
    assert "\n" not in str(caught.value)


def test_all_roles(load):
    dataset = load(
        row_id="id",
        group="field",
        time="seen",
        sample_weight="weight",
        feature_names="spectra/pixel",
    )
    assert dataset.X.dtype == np.float64
    assert dataset.X.tolist() == np.arange(15.0).reshape(5, 3).tolist()
    assert dataset.y.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert dataset.y.dtype == np.float64
    assert dataset.row_id.tolist() == ["100", "101", "102", "103", "104"]
    assert dataset.group.tolist() == ["n", "n", "ß", "ß", "ß"]
    assert dataset.time.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert dataset.sample_weight.tolist() == [1.0] * 5
    assert dataset.feature_names == ("p1", "p2", "p3")
    assert dataset.target_names == ("teff",)


def test_names_where_none_are_given(load):
    dataset = load()
    assert dataset.feature_names == ("x0", "x1", "x2")
    assert dataset.row_id.tolist() == ["0", "1", "2", "3", "4"]


def test_dates(load):
    assert np.diff(load(time="date").time).tolist() == [86400.0] * 4


def test_several_targets_in_one_array_or_many(load):
    one = load(y="labels")
    assert one.target_names == ("labels_0", "labels_1")
    assert one.y.tolist() == [[0, 0], [1, 1], [2, 4], [3, 9], [4, 16]]
    many = load(y=["teff", "logg"])
    assert many.target_names == ("teff", "logg")
    assert many.y.tolist() == [[0, 0], [1, 0.25], [2, 0.5], [3, 0.75], [4, 1]]


def test_classification(load):
    dataset = load(task="classification", y="kind")
    assert dataset.classes == ("a", "b")
    assert dataset.y.tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"X": "spectra/flix"}, "X: there is no array 'spectra/flix'; did you mean 'spectra/flux'"),
        ({"X": "spectra"}, "X: there is no array 'spectra'"),
        (
            {"y": "metallicity"},
            "y: there is no array 'metallicity'; expected one of date, field, i",
        ),
        ({"y": ["teff", "log"]}, "y: there is no array 'log'; did you mean 'logg'"),
        ({"group": "feld"}, "group: there is no array 'feld'; did you mean 'field'"),
        ({"feature_names": "px"}, "feature_names: there is no array 'px'"),
        ({"X": "teff"}, r"X .'teff'. has shape \(5,\); expected 2 dimensions"),
        ({"y": ["teff", "labels"]}, r"y .'labels'. has shape \(5, 2\)"),
        ({"time": "labels"}, r"time .'labels'. has shape \(5, 2\); expected 1 dimensions"),
        ({"feature_names": "field"}, "5 feature names for 3 columns"),
        ({"y": "kind"}, "target 'kind' is 'b' in row '0', which is not a number"),
        ({"group": "logg"}, "group is 0.25 in row '1', a fraction"),
        ({"y": "logg", "task": "classification"}, "target 'logg' is 0.25 in row '1', a fraction"),
        ({"y": "labels", "task": "classification"}, "takes one target, got 2: labels_0, labels_1"),
        ({"y": "teff", "task": "classification"}, "as many classes as rows"),
        ({"X": None}, "source hdf5 needs 'X'"),
        ({"Y": "teff"}, "there is no option 'Y'"),
    ],
)
def test_wrong_options(load, options, message):
    refused(load, message, **options)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"teff": np.arange(4)},
            "X has 5, target 'teff' has 4, row_id has 5; expected one value per row",
        ),
        ({"id": np.arange(7)}, "row_id has 7"),
        ({"id": np.array([1, 2, 2, 3, 4])}, "row id '2' occurs 2 times"),
        ({"spectra/flux": np.zeros((N, 3), dtype=complex)}, "type complex128; expected numbers"),
        ({"spectra/flux": np.full((N, 3), np.nan)}, "column 'x0' is missing"),
        (
            {"spectra/flux": np.zeros((0, 3)), "teff": np.zeros(0), "id": np.zeros(0, int)},
            "no rows",
        ),
        ({"spectra/flux": np.zeros((N, 0))}, "has no feature columns"),
        ({"teff": np.array([1, 2, 3, 4, np.inf])}, "target 'teff' is infinite in row '104'"),
        ({"teff": 3.0}, r"y .'teff'. has shape \(\)"),
    ],
)
def test_wrong_arrays(load, replaced, message):
    refused(load, message, replaced=replaced, row_id="id")


def test_text_where_numbers_belong(load):
    refused(load, "expected numbers", replaced={"spectra/flux": np.full((N, 3), b"x")})


def test_broken_or_missing_file(load, tmp_path):
    load()
    data = {"source": "hdf5", "path": "stars.h5", "X": "spectra/flux", "y": "teff"}
    content = (tmp_path / "stars.h5").read_bytes()
    for broken in (b"", b"teff,logg\n1,2\n", content[: len(content) // 2]):
        (tmp_path / "stars.h5").write_bytes(broken)
        with pytest.raises(InputError, match=r"stars\.h5: cannot be read as HDF5 \(.+\); the file"):
            load_dataset("stars", "regression", data)
    with pytest.raises(InputError, match=r"nowhere\.h5: there is no such file"):
        load_dataset("stars", "regression", data | {"path": "nowhere.h5"})
