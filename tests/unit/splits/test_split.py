"""The split object and its CSV file."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.splits.split import Split


def partition():
    # Rows c and f are tested on; two repeats of three folds, written out by hand.
    return Split(
        row_id=np.array(["a", "b", "c", "d", "e", "f", "g", "h"]),
        is_test=np.array([False, False, True, False, False, True, False, False]),
        folds=np.array([[1, 3], [2, 3], [0, 0], [3, 1], [1, 1], [0, 0], [2, 2], [3, 2]]),
        scheme="partition",
    )


def expanding():
    return Split(
        row_id=np.array(["a", "b", "c", "d", "e", "f"]),
        is_test=np.array([False, True, False, False, False, False]),
        folds=np.array([[1], [0], [0], [2], [0], [3]]),
        scheme="expanding",
    )


def as_lists(pair):
    return [rows.tolist() for rows in pair]


def test_folds_of_a_repeated_partition():
    split = partition()
    assert (split.n_folds, split.n_repeats) == (3, 2)
    assert split.fold_names == ["1", "2", "3", "4", "5", "6"]
    assert split.train_rows().tolist() == [0, 1, 3, 4, 6, 7]
    expected = {
        "1": [[1, 3, 6, 7], [0, 4]],
        "2": [[0, 3, 4, 7], [1, 6]],
        "3": [[0, 1, 4, 6], [3, 7]],
        "4": [[0, 1, 6, 7], [3, 4]],
        "5": [[0, 1, 3, 4], [6, 7]],
        "6": [[3, 4, 6, 7], [0, 1]],
    }
    assert {name: as_lists(split.fold(name)) for name in split.fold_names} == expected


def test_folds_of_an_expanding_window():
    split = expanding()
    assert (split.n_folds, split.n_repeats) == (3, 1)
    assert split.fold_names == ["1", "2", "3"]
    assert split.train_rows().tolist() == [0, 2, 3, 4, 5]
    expected = {
        "1": [[2, 4], [0]],
        "2": [[0, 2, 4], [3]],
        "3": [[0, 2, 3, 4], [5]],
    }
    assert {name: as_lists(split.fold(name)) for name in split.fold_names} == expected


@pytest.mark.parametrize("split", [partition(), expanding()])
def test_cv_speaks_of_positions_among_the_training_rows(split):
    train = split.train_rows()
    for name, (fit, held_out) in zip(split.fold_names, split.cv(), strict=True):
        assert as_lists((train[fit], train[held_out])) == as_lists(split.fold(name))


@pytest.mark.parametrize("name", ["0", "7", "x", "", "1.0", "-1"])
def test_unknown_fold(name):
    with pytest.raises(InputError, match=f"no fold '{name}'; expected a number from 1 to 6"):
        partition().fold(name)


def test_files_are_readable(tmp_path):
    partition().to_csv(tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_bytes() == (
        b"row_id,set,fold_1,fold_2\n"
        b"a,train,1,3\nb,train,2,3\nc,test,,\nd,train,3,1\n"
        b"e,train,1,1\nf,test,,\ng,train,2,2\nh,train,3,2\n"
    )
    expanding().to_csv(tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_bytes() == (
        b"row_id,set,block\na,train,1\nb,test,\nc,train,0\nd,train,2\ne,train,0\nf,train,3\n"
    )


def awkward_ids():
    split = expanding()
    ids = np.array(["a,b", 'say "x"', " padded ", "α Cen", "007", "-"])
    return Split(ids, split.is_test, split.folds, split.scheme)


@pytest.mark.parametrize("split", [partition(), expanding(), awkward_ids()])
def test_round_trip_is_exact(tmp_path, split):
    split.to_csv(tmp_path / "split.csv")
    back = Split.from_csv(tmp_path / "split.csv")
    assert back.row_id.tolist() == split.row_id.tolist()
    assert back.is_test.dtype == bool
    assert back.is_test.tolist() == split.is_test.tolist()
    assert back.folds.dtype == np.int64
    assert back.folds.tolist() == split.folds.tolist()
    assert back.scheme == split.scheme


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_file_from_a_spreadsheet_is_read(tmp_path, start):
    content = start + b"row_id,set,fold_1\r\na,train,1\r\nb,train,2\r\n\r\n"
    (tmp_path / "split.csv").write_bytes(content)
    split = Split.from_csv(tmp_path / "split.csv")
    assert split.row_id.tolist() == ["a", "b"]
    assert split.folds.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected the header"),
        ("row_id,set\na,train\n", "the header is row_id,set; expected row_id,set,fold_1"),
        ("id,set,fold_1\na,train,1\n", "the header is id,set,fold_1; expected row_id,set,fold_1"),
        ("row_id,set,fold_1,fold_3\na,train,1,1\n", "the header is row_id,set,fold_1,fold_3"),
        ("row_id,set,block,fold_1\na,train,1,1\n", "the header is row_id,set,block,fold_1"),
        ("row_id,set,fold_1\na,train,1\nb,train\n", "line 3: expected 3 cells, found 2"),
        ("row_id,set,fold_1\na,train,1,2\n", "line 2: expected 3 cells, found 4"),
        ("row_id,set,fold_1\na,valid,1\n", "line 2: the set of row 'a' is 'valid'; expected train"),
        (
            "row_id,set,fold_1\na,train,\n",
            "line 2: fold_1 of train row 'a' is ''; expected a whole",
        ),
        (
            "row_id,set,fold_1\na,train,0\n",
            "fold_1 of train row 'a' is '0'; expected a whole number",
        ),
        ("row_id,set,fold_1\na,train,1.0\n", "fold_1 of train row 'a' is '1.0'"),
        ("row_id,set,fold_1\na,train,-1\n", "fold_1 of train row 'a' is '-1'"),
        ("row_id,set,fold_1\na,train,²\n", "fold_1 of train row 'a' is '²'"),
        ("row_id,set,fold_1,fold_2\na,train,1,x\n", "fold_2 of train row 'a' is 'x'"),
        (
            "row_id,set,block\na,train,\n",
            "block of train row 'a' is ''; expected a whole number fro",
        ),
        ("row_id,set,fold_1\na,test,1\n", "line 2: test row 'a' has a fold; leave it empty"),
        ('row_id,set,fold_1\n"a,train,1\n', "cannot be read as UTF-8 CSV"),
        (b"row_id,set,fold_1\n\xff,train,1\n", "cannot be read as UTF-8 CSV"),
    ],
)
def test_damaged_file(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        Split.from_csv(path)
    assert str(caught.value).startswith(f"split file {path}")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"absent\.csv: there is no such file"):
        Split.from_csv(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="cannot be read as UTF-8 CSV"):
        Split.from_csv(tmp_path)
