"""The HDF5 store: nothing is lost, equal contents make equal bytes, damage is noticed."""

import time
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from starstack import __version__
from starstack.data.dataset import Dataset
from starstack.data.store import read_dataset, write_dataset
from starstack.errors import InputError


def make(**changes):
    dataset = Dataset(
        name="toy",
        task="classification",
        X=np.array([[0.1, -0.0], [1e-300, 4.0], [np.pi, 1 / 3]]),
        y=np.array([0, 1, 0]),
        row_id=np.array(["α Cen", 'b,"quoted"', "HD 1"]),
        feature_names=("flux", "breite ß"),
        target_names=("kind",),
        classes=("dwarf", "géant"),
        group=np.array(["north", "n", "north"]),
        time=np.array([1.5, -2.0, 3e9]),
        sample_weight=np.array([1.0, 0.0, 2.0]),
        provenance={"study": "toy", "seed": "7", "config_sha256": "ab" * 32},
    )
    return replace(dataset, **changes)


REGRESSION = {"task": "regression", "y": np.array([0.1, 0.2, 0.3]), "classes": ()}
BARE = {"group": None, "time": None, "sample_weight": None, "provenance": {}}
SEVERAL = REGRESSION | {"y": np.arange(6.0).reshape(3, 2), "target_names": ("teff", "logg")}


@pytest.mark.parametrize("changes", [{}, BARE, REGRESSION, SEVERAL, SEVERAL | BARE])
def test_round_trip_is_exact(tmp_path, changes):
    dataset = make(**changes)
    write_dataset(dataset, tmp_path / "data.h5")
    back = read_dataset(tmp_path / "data.h5")
    for part in fields(Dataset):
        if part.name == "provenance":
            continue
        expected, found = getattr(dataset, part.name), getattr(back, part.name)
        if isinstance(expected, np.ndarray):
            assert found.shape == expected.shape
            assert found.dtype.kind == expected.dtype.kind
            assert found.tobytes() == expected.astype(found.dtype).tobytes()
        else:
            assert found == expected
            assert type(found) is type(expected)
    made_by = {"library_version": __version__, "data_sha256": dataset.sha256()}
    assert back.provenance == dataset.provenance | made_by
    assert back.sha256() == dataset.sha256()


def test_same_contents_same_bytes_at_another_time(tmp_path):
    write_dataset(make(), tmp_path / "first.h5")
    time.sleep(1.1)  # HDF5 records times in whole seconds
    shuffled = dict(reversed(make().provenance.items()))
    write_dataset(make(provenance=shuffled), tmp_path / "second.h5")
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_writing_what_was_read_gives_the_same_bytes(tmp_path):
    write_dataset(make(), tmp_path / "first.h5")
    write_dataset(read_dataset(tmp_path / "first.h5"), tmp_path / "second.h5")
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_an_older_file_is_replaced_whole(tmp_path):
    write_dataset(make(), tmp_path / "data.h5")
    write_dataset(make(**BARE), tmp_path / "data.h5")
    assert read_dataset(tmp_path / "data.h5").group is None


def test_provenance_is_in_the_attributes_of_the_file(tmp_path):
    write_dataset(make(), tmp_path / "data.h5")
    with h5py.File(tmp_path / "data.h5") as file:
        attributes = dict(file.attrs)
    assert attributes["study"] == "toy"
    assert attributes["seed"] == "7"
    assert attributes["data_sha256"] == make().sha256()


def test_nothing_in_the_file_is_an_object_that_python_would_have_to_unpickle(tmp_path):
    write_dataset(make(), tmp_path / "data.h5")
    with h5py.File(tmp_path / "data.h5") as file:
        kinds = {name: stored.dtype.kind for name, stored in file.items()}
    assert set(kinds.values()) == {"f", "i", "S"}


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"absent\.h5: there is no such file"):
        read_dataset(tmp_path / "absent.h5")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "data.h5"
    write_dataset(make(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        read_dataset(path)


def test_one_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "data.h5"
    write_dataset(make(), path)
    content = bytearray(path.read_bytes())
    at = content.find(np.float64(np.pi).tobytes())
    assert at > 0
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        read_dataset(path)


def test_a_foreign_hdf5_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["flux"] = np.ones(3)
    with pytest.raises(InputError, match="holds no 'X', so it was not written by starstack"):
        read_dataset(tmp_path / "foreign.h5")
