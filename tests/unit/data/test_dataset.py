"""The data set object: what it says of itself, and its fingerprint."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.data import Dataset as exported
from starstack.data.dataset import Dataset


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
