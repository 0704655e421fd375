"""Rows that are written in the configuration: what comes in is what is there."""

import numpy as np
import pytest

from starstack.data.sources import load_dataset
from starstack.errors import InputError

ROWS = [[0.5, 1], [2.0, -1.25], [3.5, 0.0]]


def load(labels, rows=ROWS, task="classification", **options):
    return load_dataset(
        "study", task, {"source": "inline", "rows": rows, "labels": labels}, **options
    )


def test_rows_and_labels_are_those_written():
    dataset = load([7, 3, 7], divided=False)
    np.testing.assert_array_equal(dataset.X, ROWS)
    assert dataset.classes == ("3", "7")
    assert dataset.y.tolist() == [1, 0, 1]
    assert dataset.feature_names == ("x0", "x1")
    assert dataset.row_id.tolist() == ["0", "1", "2"]


def test_numbers_are_a_target_too():
    assert load([0.5, 1.5, 9.0], task="regression").y.tolist() == [0.5, 1.5, 9.0]


def test_a_class_of_one_row_is_refused_where_rows_are_held_out():
    with pytest.raises(InputError, match="class '3' of target 'target' has only 1 row"):
        load([7, 3, 7])


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([[1.0], [1.0, 2.0]], [0, 1], "rows of one length, got 1 to 2 numbers"),
        (ROWS, [0, 1], "numbers of rows differ: X has 3, target .target. has 2"),
    ],
)
def test_what_does_not_fit_is_refused(rows, labels, message):
    with pytest.raises(InputError, match=message):
        load(labels, rows=rows, divided=False)
