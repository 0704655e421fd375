"""The data set object: what it says of itself, and its fingerprint."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.data import Dataset as exported
from starstack.data.dataset import TABLES, Dataset, TableDigest, array_sha256


def make(**changes):
    dataset = Dataset(
        name="toy",
        task="classification",
        X=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]),
        y=np.array([0, 1, 0, 1]),
        row_id=np.array(["a", "b", "c", "d"]),
        feature_names=("flux", "width"),
        target_names=("kind",),
        classes=("dwarf", "giant"),
        group=np.array(["n", "n", "s", "s"]),
        time=np.array([1.0, 2.0, 3.0, 4.0]),
        sample_weight=np.array([1.0, 1.0, 2.0, 1.0]),
        provenance={"source": "made"},
    )
    return replace(dataset, **changes)


def test_counts():
    assert make().n_rows == 4
    assert make().n_targets == 1
    several = make(task="regression", y=np.ones((4, 3)), target_names=("a", "b", "c"), classes=())
    assert several.n_targets == 3


def test_frame_is_named_by_row_and_column():
    frame = make().frame()
    assert frame.index.name == "row_id"
    assert frame.index.tolist() == ["a", "b", "c", "d"]
    assert frame.columns.tolist() == ["flux", "width"]
    assert frame.loc["c", "width"] == 6.0


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "regression"},
        {"X": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, np.nextafter(8, 9)]])},
        {"X": np.arange(1.0, 9.0).reshape(2, 4)},
        {"y": np.array([0, 1, 1, 0])},
        {"y": np.array([[0], [1], [0], [1]])},
        {"row_id": np.array(["a", "b", "c", "e"])},
        {"row_id": np.array(["a", "b", "cd", ""])},
        {"feature_names": ("flux", "depth")},
        {"feature_names": ("fluxw", "idth")},
        {"target_names": ("class",)},
        {"classes": ("giant", "dwarf")},
        {"group": np.array(["n", "n", "n", "s"])},
        {"group": None},
        {"time": None},
        {"sample_weight": None},
        {"time": None, "sample_weight": np.array([1.0, 2.0, 3.0, 4.0])},
    ],
)
def test_any_change_of_contents_changes_the_sha256(changes):
    assert make(**changes).sha256() != make().sha256()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"provenance": {"source": "elsewhere"}},
        {"row_id": np.array(["a", "b", "c", "d"], dtype="U50")},
        {"X": np.asfortranarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])},
        {"time": np.array([1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0])[::2]},
        {"time": np.array([1.0, 2.0, 3.0, 4.0], dtype=">f8")},
    ],
)
def test_what_is_not_contents_does_not_change_the_sha256(changes):
    assert make(**changes).sha256() == make().sha256()


def test_the_room_exports_the_dataset():
    assert exported is Dataset
    with pytest.raises(ImportError):
        from starstack.data import Nothing  # noqa: F401


def spectra(**changes):
    tables = {
        "task": "regression",
        "X": np.arange(8, dtype=np.float32).reshape(4, 2),
        "y": np.arange(4.0),
        "classes": (),
        "X_error": np.full((4, 2), 0.1, dtype=np.float32),
        "X_noiseless": np.ones((4, 2), dtype=np.float32),
        "wavelength": np.array([15200.0, 15200.2]),
        "row_values": {"snr": np.arange(4.0), "alpha_fe": np.zeros(4)},
    }
    return make(**(tables | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.arange(8.0).reshape(4, 2)},
        {"X_error": None},
        {"X_error": np.full((4, 2), 0.2, dtype=np.float32)},
        {"X_noiseless": None},
        {"X_error": np.ones((4, 2), np.float32), "X_noiseless": np.full((4, 2), 0.1, np.float32)},
        {"wavelength": None},
        {"wavelength": np.array([15200.0, 15200.3])},
        {"row_values": {"snr": np.arange(4.0)}},
        {"row_values": {"snr": np.arange(4.0), "beta_fe": np.zeros(4)}},
        {"row_values": {"snr": np.zeros(4), "alpha_fe": np.arange(4.0)}},
    ],
)
def test_any_change_of_spectra_changes_the_sha256(changes):
    assert spectra(**changes).sha256() != spectra().sha256()


def test_order_of_row_values_does_not_change_the_sha256():
    turned = dict(reversed(spectra().row_values.items()))
    assert spectra(row_values=turned).sha256() == spectra().sha256()


def test_a_table_that_is_not_in_memory_counts_by_its_recorded_sha256():
    whole = spectra()
    recorded = {name: array_sha256(getattr(whole, name)) for name in TABLES}
    gone = replace(whole, **dict.fromkeys(TABLES), table_sha256=recorded)
    assert gone.sha256() == whole.sha256()
    assert replace(whole, table_sha256={"X": "stale"}).sha256() == whole.sha256()


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_the_digest_of_blocks_is_that_of_the_whole(step):
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(">f4")
    digest = TableDigest(rows.dtype, rows.shape)
    for first in range(0, 7, step):
        digest.update(rows[first : first + step])
    assert digest.hexdigest() == array_sha256(rows.astype("<f4"))
