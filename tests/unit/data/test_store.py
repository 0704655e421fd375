"""The HDF5 store: nothing is lost, equal contents make equal bytes, damage is noticed."""

import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from starstack import __version__
from starstack.data.dataset import TABLES, Dataset
from starstack.data.store import open_dataset, read_dataset, write_dataset, write_dataset_blocks
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
        if part.name in ("provenance", "table_sha256"):
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


def spectra(n=40, p=30, **changes):
    rng = np.random.default_rng(5)
    dataset = make(
        task="regression",
        X=rng.normal(1, 0.1, (n, p)).astype(np.float32),
        X_error=rng.uniform(0.01, 0.1, (n, p)).astype(np.float32),
        X_noiseless=rng.normal(1, 0.1, (n, p)).astype(np.float32),
        y=rng.normal(size=(n, 2)),
        row_id=np.array([f"star {row}" for row in range(n)]),
        feature_names=tuple(f"p{index}" for index in range(p)),
        target_names=("teff", "logg"),
        classes=(),
        wavelength=np.linspace(15200, 15300, p),
        row_values={"snr": rng.uniform(20, 300, n), "alpha_fe": rng.normal(size=n)},
        group=np.repeat(np.arange(n // 2), 2).astype(str),
        time=None,
        sample_weight=None,
    )
    return replace(dataset, **changes)


def in_blocks(dataset, size):
    for first in range(0, dataset.n_rows, size):
        yield {table: getattr(dataset, table)[first : first + size] for table in TABLES}


def test_spectra_come_back_as_they_were(tmp_path):
    dataset = spectra()
    write_dataset(dataset, tmp_path / "data.h5")
    back = read_dataset(tmp_path / "data.h5", arrays=TABLES)
    for table in TABLES:
        assert getattr(back, table).dtype == np.float32
        np.testing.assert_array_equal(getattr(back, table), getattr(dataset, table))
    np.testing.assert_array_equal(back.wavelength, dataset.wavelength)
    assert list(back.row_values) == ["alpha_fe", "snr"]
    for name, values in dataset.row_values.items():
        np.testing.assert_array_equal(back.row_values[name], values)
    assert back.sha256() == dataset.sha256()


@pytest.mark.parametrize("size", [1, 7, 20, 40, 1000])
def test_the_bytes_do_not_depend_on_the_blocks(tmp_path, size):
    dataset = spectra()
    write_dataset(dataset, tmp_path / "whole.h5")
    header = replace(dataset, **dict.fromkeys(TABLES))
    write_dataset_blocks(header, in_blocks(dataset, size), tmp_path / "blocks.h5")
    assert (tmp_path / "blocks.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize("rows", [39, 41])
def test_blocks_with_another_number_of_rows_are_refused(tmp_path, rows):
    header = replace(spectra(rows, group=None), **dict.fromkeys(TABLES))
    with pytest.raises(ValueError, match=f"blocks have 40 rows, the header has {rows}"):
        write_dataset_blocks(header, in_blocks(spectra(), 10), tmp_path / "data.h5")


def test_only_the_named_tables_are_read(tmp_path):
    dataset = spectra()
    write_dataset(dataset, tmp_path / "data.h5")
    back = read_dataset(tmp_path / "data.h5")
    assert (back.X_error, back.X_noiseless) == (None, None)
    assert back.sha256() == dataset.sha256()
    none = read_dataset(tmp_path / "data.h5", arrays=())
    assert none.X is None
    np.testing.assert_array_equal(none.y, dataset.y)
    with pytest.raises(ValueError, match="X_error was not read"):
        write_dataset(back, tmp_path / "again.h5")


def test_a_table_that_is_not_there_is_named(tmp_path):
    write_dataset(spectra(X_noiseless=None), tmp_path / "data.h5")
    with pytest.raises(InputError, match=r"holds no X_noiseless, only X, X_error; use a source"):
        read_dataset(tmp_path / "data.h5", arrays=("X", "X_noiseless"))


def test_an_opened_data_set_reads_slices(tmp_path):
    dataset = spectra()
    write_dataset(dataset, tmp_path / "data.h5")
    with open_dataset(tmp_path / "data.h5") as opened:
        assert isinstance(opened.X, h5py.Dataset)
        assert isinstance(opened.y, np.ndarray)
        assert opened.sha256() == dataset.sha256()
        assert opened.X.chunks is None  # a block of rows is one straight read
        np.testing.assert_array_equal(opened.X_error[3:9], dataset.X_error[3:9])
    with pytest.raises(InputError, match="there is no such file"), open_dataset("absent.h5"):
        pass


def test_damage_is_noticed_in_the_tables_that_are_read(tmp_path):
    path = tmp_path / "data.h5"
    write_dataset(spectra(), path)
    content = bytearray(path.read_bytes())
    at = content.find(spectra().X_error[7].tobytes())
    assert at > 0
    content[at] ^= 1
    path.write_bytes(bytes(content))
    read_dataset(path, arrays=("X",))
    with pytest.raises(InputError, match="damaged"):
        read_dataset(path, arrays=("X", "X_error"))


# Writes 120 MB, each block made when it is asked for; prints its peak of memory in MB.
WRITE_MANY = """
import sys
from pathlib import Path
import numpy as np
from starstack.data.dataset import Dataset
from starstack.data.store import write_dataset_blocks

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

n, p, step = 5000, 2000, 50
header = Dataset("big", "regression", None, np.arange(1.0 * n), np.arange(n).astype(str),
                 tuple(f"p{i}" for i in range(p)), ("teff",))
block = lambda: {t: np.ones((step, p), np.float32) for t in ("X", "X_error", "X_noiseless")}
before = peak()
write_dataset_blocks(header, (block() for _ in range(n // step)), sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc of Linux")
def test_writing_blocks_takes_little_memory(tmp_path):
    path = tmp_path / "big.h5"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_MANY, path], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 120e6
    assert float(done.stdout) < 30
