"""Rows are recognised by what they hold, not by where or in which container they stand."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from starstack.stacking.seen_rows import row_keys

X = np.array([[1.0, 0.0, -2.5], [0.0, 0.0, 0.0], [np.nan, 1.0, 0.0], [1.0, -2.5, 0.0]])

CONTAINERS = {
    "list": np.ndarray.tolist,
    "frame": pd.DataFrame,
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "float32": lambda values: values.astype(np.float32),
    "fortran": np.asfortranarray,
    "object": lambda values: values.astype(object),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_the_same_keys(name):
    assert row_keys(CONTAINERS[name](X)).tolist() == row_keys(X).tolist()


def test_other_values_or_another_order_of_columns_give_other_keys():
    keys = row_keys(X)
    assert len(set(keys)) == len(X)
    assert not set(keys) & set(row_keys(np.nextafter(X, 9)[[0, 2, 3]]))
    assert not set(keys[[0, 3]]) & set(row_keys(X[:, ::-1])[[0, 3]])


def test_order_of_rows_and_subsets():
    keys = row_keys(X)
    assert row_keys(X[[2, 0]]).tolist() == keys[[2, 0]].tolist()


def test_signs_of_zero_and_kinds_of_nan_are_equal():
    other_nan = np.array([0xFFF8000000000001], dtype=np.uint64).view(float)[0]
    assert np.isnan(other_nan)
    pairs = np.array([[0.0, 1.0], [-0.0, 1.0], [np.nan, 1.0], [other_nan, 1.0]])
    for rows in (pairs, sparse.csr_array(pairs)):
        keys = row_keys(rows)
        assert (keys[0] == keys[1], keys[2] == keys[3], keys[0] == keys[2]) == (True, True, False)


def test_stored_zeros_and_split_entries_of_a_sparse_matrix():
    # Entry (0, 0) is stored as 1 + 2, and a zero is stored at (0, 1).
    parts = sparse.csr_array((np.array([1.0, 0.0, 2.0]), np.array([0, 1, 0]), np.array([0, 3])))
    before = parts.data.copy()
    assert row_keys(parts).tolist() == row_keys(np.array([[3.0, 0.0]])).tolist()
    np.testing.assert_array_equal(parts.data, before)


def test_the_rows_given_are_left_as_they_are():
    values = np.array([[-0.0, np.nan]])
    row_keys(values)
    assert np.signbit(values[0, 0])


def test_columns_of_text_next_to_numbers():
    text = np.array(["a", "b", "a"])
    keys = row_keys(pd.DataFrame({"n": [1, 2, 1], "s": text}))
    assert keys[0] == keys[2] != keys[1]
    same = [
        pd.DataFrame({"n": [1.0, 2.0, 1.0], "s": text.astype(object)}),
        pd.DataFrame({"n": pd.array([1, 2, 1], dtype="Int64"), "s": pd.Categorical(text)}),
        pd.DataFrame({"other": [1, 2, 1], "names": text}).to_numpy(),
    ]
    for frame in same:
        assert row_keys(frame).tolist() == keys.tolist()
    assert row_keys(pd.DataFrame({"n": [1, 2, 3], "s": text}))[2] != keys[2]
    assert row_keys(pd.DataFrame({"n": [1, 2, 1], "s": ["a", "b", "c"]}))[2] != keys[2]
