"""A split that a user made: matched by row id, and checked against the data."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.splits.splitters import SPLITTERS, Split, make_split, read_split

N = 300


def data(seed=0):
    """Return random rows: ids in no order, 2 classes, 40 groups, tied times."""
    rng = np.random.default_rng(seed)
    return {
        "row_id": np.array([f"star {number}" for number in rng.permutation(N)]),
        "y": rng.integers(0, 2, N),
        "group": rng.integers(0, 40, N).astype(str),
        "time": np.round(rng.uniform(0, 30, N)),
    }


def make(rows, method, *, use=(), **options):
    options = {"n_folds": 4, "seed": 11} | {name: rows[name] for name in use} | options
    known = {"row_id": rows["row_id"], "y": rows["y"], "task": "classification"}
    return make_split(method=method, **known, **options)


def written(split, path, order):
    Split(split.row_id[order], split.is_test[order], split.folds[order], split.scheme).to_csv(path)


@pytest.mark.parametrize("data_seed", range(5))
@pytest.mark.parametrize("method", SPLITTERS)
def test_a_file_is_matched_by_id_whatever_its_order(tmp_path, method, data_seed):
    rows = data(data_seed)
    use = ("time",) if method == "time-ordered" else ("group",)
    split = make(rows, method, use=use)
    written(split, tmp_path / "mine.csv", np.random.default_rng(data_seed).permutation(N))
    back = read_split(
        tmp_path / "mine.csv",
        task="classification",
        row_id=rows["row_id"],
        y=rows["y"],
        **{name: rows[name] for name in use},
    )
    assert back.row_id.tolist() == rows["row_id"].tolist()
    np.testing.assert_array_equal(back.is_test, split.is_test)
    np.testing.assert_array_equal(back.folds, split.folds)


def test_ids_that_do_not_match_are_named(tmp_path):
    rows = data()
    path = tmp_path / "mine.csv"
    make(rows, "k-fold").to_csv(path)
    known = {"y": rows["y"], "task": "classification"}
    ids = rows["row_id"].astype(object)
    ids[7] = "comet"
    with pytest.raises(InputError, match=r"1 row ids of the data are missing from it \('comet'\)"):
        read_split(path, row_id=ids, **known)
    with pytest.raises(
        InputError,
        match=r"5 of its row ids are not in the data \('.+', '.+', '.+', "
        r"…\); expected one line per row",
    ):
        read_split(path, row_id=rows["row_id"][5:], y=rows["y"][5:], task="classification")
    with pytest.raises(InputError, match="data: row id 'comet' occurs 300 times"):
        read_split(path, row_id=np.full(N, "comet"), **known)
    content = path.read_text()
    path.write_text(content + content.splitlines()[1] + "\n")
    with pytest.raises(InputError, match=r"row id '.+' occurs 2 times"):
        read_split(path, row_id=rows["row_id"], **known)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("group", "all rows of a group must be on one side"),
        ("y", "class '1' is missing from the ro"),
    ],
)
def test_a_file_is_checked_against_the_data(tmp_path, name, message):
    rows = data() | {"group": np.arange(N).astype(str), "y": np.arange(N) % 2}
    split = make(rows, "k-fold", n_folds=2, test_size=0)
    split.to_csv(tmp_path / "mine.csv")
    one, two = (np.flatnonzero(split.folds[:, 0] == fold)[0] for fold in (1, 2))
    spoiled = {
        "group": np.where(np.isin(np.arange(N), [one, two]), "pair", rows["group"]),
        "y": np.where(split.folds[:, 0] == 1, 1, 0),
    }
    rows[name] = spoiled[name]
    with pytest.raises(InputError, match=message) as caught:
        read_split(
            tmp_path / "mine.csv",
            task="classification",
            **{part: rows[part] for part in ("row_id", "y", "group")},
        )
    assert str(caught.value).startswith(f"split file {tmp_path / 'mine.csv'}: ")


def test_blocks_of_a_file_must_follow_in_time(tmp_path):
    rows = data()
    make(rows, "time-ordered", use=("time",)).to_csv(tmp_path / "mine.csv")
    known = {"row_id": rows["row_id"], "y": rows["y"], "task": "classification"}
    read_split(tmp_path / "mine.csv", time=rows["time"], **known)
    with pytest.raises(InputError, match="rows must be predicted from earlier rows only"):
        read_split(tmp_path / "mine.csv", time=-rows["time"], **known)
