"""Rows in order and in batches of one shape, from memory and from files."""

import h5py
import numpy as np
import pytest

from starstack.autodiff.batches import Batches, as_batches
from starstack.errors import InputError

X = np.arange(22.0).reshape(11, 2)
Y = np.arange(11) * 10


def rows_of(batches):
    return np.concatenate([batch.x[: batch.n] for batch in batches])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 256])
def test_every_row_counts_once_and_all_batches_have_one_shape(batch_size):
    weight = np.linspace(0.5, 2, 11)
    batches = Batches(X, Y, weight, batch_size=batch_size)
    np.testing.assert_array_equal(rows_of(batches), X)
    found = list(batches)
    assert len(found) == len(batches)
    assert {batch.x.shape for batch in found} == {(min(batch_size, 11), 2)}
    assert sum(batch.weight @ batch.y for batch in found) == pytest.approx(weight @ Y)
    assert batches.total_weight == pytest.approx(weight.sum())
    assert batches.n_rows == 11


def test_rows_that_fill_up_have_weight_zero_and_finite_values():
    *_, last = Batches(X, Y, batch_size=4)
    assert last.n == 3
    assert last.weight.tolist() == [1, 1, 1, 0]
    np.testing.assert_array_equal(last.x[3], X[10])


@pytest.mark.parametrize("rows", [[10, 0, 5, 5, 1], [3], list(range(10, -1, -1))])
def test_rows_in_any_order_from_memory_and_from_a_file(rows, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"], file["y"] = X, Y
        for x, y in ((X, Y), (file["X"], file["y"])):
            batches = Batches(x, y, batch_size=2, rows=rows)
            np.testing.assert_array_equal(rows_of(batches), X[rows])
            assert np.concatenate([b.y[: b.n] for b in batches]).tolist() == Y[rows].tolist()


def test_rows_far_apart_in_a_file(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = np.arange(1000.0)[:, None]
        batches = Batches(file["X"], rows=[999, 0, 999, 500])
        assert rows_of(batches)[:, 0].tolist() == [999, 0, 999, 500]


def test_weights_follow_the_rows():
    batches = Batches(X, Y, np.arange(11.0), rows=[4, 2], batch_size=2)
    assert next(iter(batches)).weight.tolist() == [4, 2]


def test_transforms_see_blocks_of_raw_rows():
    batches = Batches(
        X, Y, batch_size=4, transform=lambda x: x / 2, target_transform=lambda y: y[:, None] - 1
    )
    np.testing.assert_array_equal(rows_of(batches), X / 2)
    assert next(iter(batches)).y.shape == (4, 1)


def test_each_batch_alone():
    first, _, last = Batches(X, Y, np.arange(11.0), batch_size=4).parts()
    assert (first.n_rows, first.batch_size, first.total_weight) == (4, 4, 6.0)
    assert (last.n_rows, last.batch_size, last.total_weight) == (3, 4, 27.0)
    np.testing.assert_array_equal(rows_of(first), X[:4])
    np.testing.assert_array_equal(rows_of(last), X[8:])


def test_tuples_become_batches():
    assert as_batches((X, Y)).n_rows == 11
    batches = Batches(X)
    assert as_batches(batches) is batches
    with pytest.raises(InputError, match="data is a ndarray"):
        as_batches(X)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, Y[:5]), {}, "y has 5 rows for 11 rows of X"),
        ((X, Y, np.ones(3)), {}, r"sample_weight has shape \(3,\)"),
        ((X, Y, -np.ones(11)), {}, "negative or not finite"),
        ((X, Y), {"rows": [11]}, "X has rows 0 to 10"),
        ((X, Y), {"rows": []}, "no rows"),
        ((X, Y), {"rows": np.ones(11, dtype=bool)}, "flatnonzero"),
        ((X, Y), {"batch_size": 0}, "batch_size is 0"),
        ((np.array([["a"]]),), {}, "expected numbers"),
        (([np.ones((3, 2)), np.ones((3, 4))],), {}, "X .* one array"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        Batches(*arguments, **options)


def test_a_transform_that_loses_rows_is_refused():
    with pytest.raises(InputError, match="transform made shape"):
        list(Batches(X, transform=lambda x: x[:1]))
