"""Rows that a network does not take are refused, in memory and in files."""

import h5py
import keras
import numpy as np
import pytest

from starstack.curvature.rows import check_rows
from starstack.errors import InputError


def model(shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Conv1D(2, 3)])


def test_an_open_length_takes_any():
    check_rows(model((None, 2)), np.ones((4, 7, 2)))
    with pytest.raises(InputError, match=r"expected shape \(n, None, 2\).*got \(4, 7, 3\)"):
        check_rows(model((None, 2)), np.ones((4, 7, 3)))
    with pytest.raises(InputError, match=r"expected shape \(n, 5, 2\).*got \(4, 7, 2\)"):
        check_rows(model((5, 2)), np.ones((4, 7, 2)))


def test_the_row_that_is_not_finite_is_named(tmp_path):
    X = np.ones((10, 5, 2))
    X[7, 0, 1] = np.inf
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        for rows in (X, file.create_dataset("X", data=X)):
            with pytest.raises(InputError, match="infinity in row 7; correct"):
                check_rows(model((5, 2)), rows, batch_size=3)
            check_rows(model((5, 2)), rows[:7], batch_size=3)


def test_batches_of_no_row_are_refused():
    with pytest.raises(InputError, match=r"batch_size: expected .* at least 1, got 0"):
        check_rows(model((5, 2)), np.ones((4, 5, 2)), batch_size=0)
