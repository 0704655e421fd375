"""Each fault of a split is refused in one line that names what is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.splits.checks import check_split
from starstack.splits.split import Split

N = 12
Y = np.array([0, 1] * 6)
GROUP = np.repeat(list("uvwxyz"), 2)
TIME = np.arange(1.0 * N)


def partition(**changes):
    split = Split(
        row_id=np.array([f"r{row}" for row in range(N)]),
        is_test=np.arange(N) >= 8,
        folds=np.array([1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 0, 0])[:, np.newaxis],
        scheme="partition",
    )
    return replace(split, **changes)


def repeated(second):
    first = partition().folds[:, 0]
    return partition(folds=np.column_stack([first, second]))


def expanding(blocks=(0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 0, 0), **changes):
    changes = {"scheme": "expanding", "folds": np.array(blocks)[:, np.newaxis]} | changes
    return partition(**changes)


def folds(*values):
    return np.array(values)[:, np.newaxis]


GOOD = {
    "partition": (partition(), {}),
    "groups whole": (partition(), {"group": GROUP}),
    "regression": (partition(), {"y": TIME, "task": "regression"}),
    "several targets": (partition(), {"y": np.ones((N, 2)), "task": "regression"}),
    "no test set": (
        partition(is_test=np.zeros(N, bool), folds=folds(*[1, 1, 2, 2] * 3)),
        {"group": GROUP},
    ),
    "repeats": (repeated([2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0]), {"group": GROUP}),
    "expanding": (expanding(), {"group": GROUP, "time": TIME}),
    "time of a partition is free": (partition(), {"time": -TIME}),
    "class names": (partition(), {"y": np.array(["b", "a"] * 6)}),
}


@pytest.mark.parametrize(("split", "options"), GOOD.values(), ids=GOOD.keys())
def test_good_splits_pass(split, options):
    check_split(split, **({"y": Y, "task": "classification"} | options))


BAD = {
    "scheme": (partition(scheme="random"), {}, "scheme is 'random'; expected one of partition, e"),
    "shape of folds": (partition(folds=np.ones(N, int)), {}, r"shape \(rows, repeats\), not \(12,"),
    "target length": (partition(), {"y": Y[:5]}, "12 row ids, 12 test marks, 12 folds and 5 targ"),
    "test length": (partition(is_test=np.zeros(3, bool)), {}, "12 row ids, 3 test marks"),
    "group length": (partition(), {"group": GROUP[:4]}, "group has 4 values for 12 rows"),
    "time length": (expanding(), {"time": TIME[:4]}, "time has 4 values for 12 rows"),
    "duplicate ids": (
        partition(row_id=np.array(["r0", *[f"r{row}" for row in range(N - 1)]])),
        {},
        "row id 'r0' occurs 2 times; row ids must be unique",
    ),
    "empty id": (
        partition(row_id=np.array(["", *[f"r{row}" for row in range(N - 1)]])),
        {},
        "row id '' must be printable text",
    ),
    "id of two lines": (
        partition(row_id=np.array(["a\rb", *[f"r{row}" for row in range(N - 1)]])),
        {},
        r"row id 'a\\rb' must be printable text",
    ),
    "all test": (
        partition(is_test=np.ones(N, bool), folds=np.zeros((N, 1), int)),
        {},
        "every row is a test row",
    ),
    "one fold": (partition(folds=folds(*[1] * 8, *[0] * 4)), {}, "has 1 folds; expected at least"),
    "test row in a fold": (
        partition(folds=folds(1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 2, 0)),
        {},
        "test row 'r10' is held out by a fold too",
    ),
    "train row in no fold": (
        partition(folds=folds(1, 1, 2, 0, 1, 1, 2, 2, 0, 0, 0, 0)),
        {},
        "training row 'r3' is in no fold",
    ),
    "negative block": (
        expanding([0, 0, 0, -1, 1, 1, 2, 2, 0, 0, 0, 0]),
        {},
        "training row 'r3' is in no fold",
    ),
    "empty fold": (
        partition(folds=folds(1, 1, 3, 3, 1, 1, 3, 3, 0, 0, 0, 0)),
        {},
        "fold 2 has no rows; expected folds 1 to 3, each with rows",
    ),
    "empty fold of a repeat": (
        repeated([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
        {},
        "fold 2 of repeat 2 has no rows",
    ),
    "no burn-in": (
        expanding([1, 1, 2, 2, 3, 3, 3, 3, 0, 0, 0, 0]),
        {},
        "block 0 has no rows; expected folds 0 to 3",
    ),
    "repeated blocks": (
        expanding(folds=np.column_stack([[0, 1, 2] * 4] * 2), is_test=np.zeros(N, bool)),
        {},
        "time-ordered blocks cannot be repeated",
    ),
    "group in test and train": (
        partition(),
        {"group": np.array(list("uvwxyzabcdev"))},
        r"group 'v' is in fold 1 \(row 'r1'\) and in the test set \(row 'r11'\); all rows of a",
    ),
    "group in two folds": (
        partition(),
        {"group": np.array(list("uvuxyzabcdef"))},
        r"group 'u' is in fold 1 \(row 'r0'\) and in fold 2 \(row 'r2'\)",
    ),
    "group in two folds of a repeat": (
        repeated([1, 2, 1, 2, 1, 2, 1, 2, 0, 0, 0, 0]),
        {"group": GROUP},
        r"group 'u' is in fold 1 of repeat 2 \(row 'r0'\) and in fold 2 of repeat 2 \(row 'r1'\)",
    ),
    "group in two blocks": (
        expanding(),
        {"group": np.array(list("uvwxyxabcdef"))},
        r"group 'x' is in block 0 \(row 'r3'\) and in block 1 \(row 'r5'\)",
    ),
    "block before its fit": (
        expanding(),
        {"time": np.array([0, 1, 2, 9, 4, 5, 6, 7, 18, 19, 20, 21.0])},
        "block 1 begins at time 4, not after the end of block 0 at 9",
    ),
    "block at the time of its fit": (
        expanding(),
        {"time": np.array([0, 1, 2, 3, 4, 5, 5, 7, 18, 19, 20, 21.0])},
        "block 2 begins at time 5, not after the end of block 1 at 5",
    ),
    "test before the end of training": (
        expanding(),
        {"time": np.array([0, 1, 2, 3, 4, 5, 6, 7, 18, 19, 20, 6.5])},
        "the test set begins at time 6.5, not after the end of block 2 at 7",
    ),
    "fewer members than folds": (
        partition(),
        {"y": np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])},
        r"class '1' has fewer rows to train on \(1\) than there are folds \(2\)",
    ),
    "class only in the test set": (
        partition(),
        {"y": np.array([0, 1, 0, 1, 0, 1, 0, 1, 2, 2, 2, 2]), "classes": ("a", "b", "hot")},
        r"class 'hot' has fewer rows to train on \(0\) than there are folds \(2\)",
    ),
    "class in one fold only": (
        partition(),
        {"y": np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "classes": ("cool", "hot")},
        "class 'hot' is missing from the rows that fold 1 is fitted on; use method 'stratified'",
    ),
    "class after the burn-in": (
        expanding(),
        {"y": np.array(["a", "b", "a", "b", "a", "c", "b", "c", "a", "a", "a", "a"])},
        "class 'c' is missing from the rows that fold 1 is fitted on",
    ),
}


@pytest.mark.parametrize(("split", "options", "message"), BAD.values(), ids=BAD.keys())
def test_fault_is_refused_in_one_line(split, options, message):
    with pytest.raises(InputError, match=message) as caught:
        check_split(split, **({"y": Y, "task": "classification"} | options))
    assert str(caught.value).startswith("split: ")
    assert "\n" not in str(caught.value)


def test_where_is_said_first():
    with pytest.raises(InputError, match=r"^split file mine\.csv: scheme"):
        check_split(partition(scheme="x"), y=Y, task="classification", where="split file mine.csv")


def test_classes_are_no_matter_in_regression():
    check_split(partition(), y=np.array([5.0] * 7 + [1.0] * 5), task="regression")
