"""Blocks in order of time: scikit-learn's where times differ, whole where they do not."""

import numpy as np
import pytest
from sklearn.model_selection import TimeSeriesSplit

from starstack.errors import InputError
from starstack.splits.time_ordered import divide_by_time


@pytest.mark.parametrize("n", [12, 40, 41, 43])
@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_blocks_of_distinct_times_equal_those_of_scikit_learn(n, n_folds):
    time = np.random.default_rng(n).permutation(n) * 0.5
    is_test, block = divide_by_time(time, n_folds=n_folds, test_size=0)
    order = np.argsort(time)
    theirs = TimeSeriesSplit(n_folds).split(order)
    for number, (fit, held_out) in enumerate(theirs, start=1):
        assert np.flatnonzero(block[:, 0] < number).tolist() == sorted(order[fit])
        assert np.flatnonzero(block[:, 0] == number).tolist() == sorted(order[held_out])
    assert block.shape == (n, 1)
    assert not is_test.any()


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5])
def test_the_latest_rows_are_tested_on(test_size):
    time = np.random.default_rng(1).permutation(50) - 20.0
    is_test, block = divide_by_time(time, n_folds=3, test_size=test_size)
    n_test = int(np.ceil(50 * test_size))
    assert sorted(time[is_test]) == list(range(30 - n_test, 30))
    # What is left is divided as if the test rows had never been.
    _, alone = divide_by_time(time[~is_test], n_folds=3, test_size=0)
    np.testing.assert_array_equal(block[~is_test], alone)
    assert not block[is_test].any()


def test_equal_times_move_the_cut_to_the_nearest_change():
    # Ten rows; with two folds the cuts are wanted after 4 and 7 rows, but three times are tied.
    time = np.array([1, 2, 3, 3, 3, 4, 5, 6, 6, 7])
    _, block = divide_by_time(time, n_folds=2, test_size=0)
    assert block[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]
    # Two rows are wanted, but two share time 6: one or three are as near, and three are taken.
    is_test, _ = divide_by_time(time, n_folds=2, test_size=0.2)
    assert np.flatnonzero(is_test).tolist() == [7, 8, 9]


def test_every_block_keeps_a_time_however_the_rows_are_bunched():
    time = np.array([1] * 50 + [2, 3, 4, 5])
    is_test, block = divide_by_time(time, n_folds=3, test_size=0.5)
    assert block[:, 0].tolist() == [0] * 50 + [1, 2, 3, 0]
    assert np.flatnonzero(is_test).tolist() == [53]
    _, block = divide_by_time(-time, n_folds=4, test_size=0)
    assert block[:, 0].tolist() == [4] * 50 + [3, 2, 1, 0]


def test_too_few_times():
    time = np.repeat([1.0, 2.0, 3.0], 20)
    divide_by_time(time, n_folds=2, test_size=0)
    with pytest.raises(
        InputError, match=r"3 distinct times cannot make 4 blocks \(burn-in, 2 fold"
    ):
        divide_by_time(time, n_folds=2, test_size=0.1)
    with pytest.raises(InputError, match=r"cannot make 4 blocks \(burn-in, 3 folds\), as rows of"):
        divide_by_time(time, n_folds=3, test_size=0)
