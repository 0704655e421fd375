"""Batches from a file: every row once, in an order that can be repeated, with fresh noise."""

from dataclasses import replace
from itertools import permutations

import h5py
import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import noise_correlation
from starstack.errors import InputError
from starstack.networks.scaling import Scaler
from starstack.networks.streaming import (
    Noise,
    Stream,
    iter_blocks,
    read_rows,
    shuffled_batches,
)

N, P = 103, 7
# In float32 a row is known by its values.
TABLE = (np.arange(N)[:, None] + np.arange(P) / 10).astype(np.float32)


def data(**tables):
    tables = {"X": TABLE, **tables}
    return Dataset(
        name="made",
        task="regression",
        y=np.arange(float(N)),
        row_id=np.arange(N).astype(str),
        feature_names=tuple(f"x{i}" for i in range(P)),
        target_names=("y",),
        **tables,
    )


def stream(dataset=None, rows=None, **options):
    options = {"seed": 3, "batch_size": 8, "block_rows": 5, "buffer_rows": 20} | options
    return Stream(
        dataset=data() if dataset is None else dataset,
        rows=np.arange(N) if rows is None else rows,
        targets=np.arange(N, dtype=np.float32)[:, None],
        weights=None,
        input_scaler=Scaler(0.0, 1.0),
        input_shape=(P,),
        **options,
    )


@pytest.fixture
def table_on_disk(tmp_path):
    with h5py.File(tmp_path / "table.h5", "w") as file:
        yield file.create_dataset("X", data=TABLE)


@pytest.mark.parametrize("rows", [[], [4], [2, 3, 4, 5], [0, 2, 3, 90], list(range(0, N, 2))])
def test_rows_are_read_from_a_file_as_from_memory(table_on_disk, rows):
    rows = np.array(rows, dtype=int)
    np.testing.assert_array_equal(read_rows(table_on_disk, rows), TABLE[rows])
    blocks = [np.empty((0, P)), *iter_blocks(table_on_disk, rows, 3)]
    np.testing.assert_array_equal(np.concatenate(blocks), TABLE[rows])


@pytest.mark.parametrize(
    ("batch_size", "block_rows", "buffer_rows"), [(8, 5, 20), (10, 64, 1), (7, 1, 9), (200, 9, 500)]
)
def test_every_row_comes_once_in_batches_of_one_size(
    table_on_disk, batch_size, block_rows, buffer_rows
):
    rows = np.flatnonzero(np.arange(N) % 4)
    sizes = {"batch_size": batch_size, "block_rows": block_rows, "buffer_rows": buffer_rows}
    batches = list(shuffled_batches([table_on_disk], rows, np.random.default_rng(1), **sizes))
    size = min(batch_size, len(rows))
    assert [len(positions) for positions, _ in batches] == [size] * (len(rows) // size)
    positions = np.concatenate([positions for positions, _ in batches])
    assert len(np.unique(positions)) == len(positions) and set(positions) <= set(rows)
    assert not np.array_equal(positions, np.sort(positions))
    values = np.concatenate([values for _, (values,) in batches])
    np.testing.assert_array_equal(values, TABLE[positions])


def test_rows_left_out_are_others_in_each_epoch():
    def rows_of(epoch):
        return {float(y) for _, targets in stream().batches(epoch) for y in targets[:, 0]}

    kept = [rows_of(epoch) for epoch in range(4)]
    assert all(len(each) == 96 for each in kept)
    assert len(set.union(*kept)) == N


def test_with_all_rows_in_the_buffer_every_order_is_equally_likely():
    n_draws, table = 4800, np.arange(4.0)[:, None]
    counts = dict.fromkeys(permutations(range(4)), 0)
    for number in range(n_draws):
        rng = np.random.default_rng(number)
        drawn = shuffled_batches([table], np.arange(4), rng, batch_size=1, block_rows=2)
        counts[tuple(int(positions[0]) for positions, _ in drawn)] += 1
    expected = n_draws / 24
    chi_squared = sum((count - expected) ** 2 for count in counts.values()) / expected
    assert chi_squared < 23 + 4 * np.sqrt(2 * 23)


def test_an_epoch_is_a_function_of_seed_and_number():
    error = np.full((N, P), 0.5, np.float32)
    noisy = data(X_error=error)

    def targets(made, epoch):
        return np.concatenate([targets for _, targets in made.batches(epoch)])

    def inputs(made, epoch):
        return np.concatenate([inputs for inputs, _ in made.batches(epoch)])

    first = stream(noisy, noise=Noise())
    np.testing.assert_array_equal(inputs(first, 2), inputs(stream(noisy, noise=Noise()), 2))
    assert not np.array_equal(targets(first, 2), targets(first, 3))
    assert not np.array_equal(targets(first, 2), targets(stream(noisy, seed=4), 2))
    # Noise does not change the order.
    np.testing.assert_array_equal(targets(first, 2), targets(stream(), 2))


def test_noise_has_the_given_error_and_spares_masked_pixels():
    n, rng = 4000, np.random.default_rng(0)
    error = np.tile(np.array([0.1, 2.0, np.inf], np.float32), (n, 1))
    values = Noise().add(np.ones((n, 3), np.float32), error.copy(), rng)
    assert np.all(values[:, 2] == 1)
    for column, sigma in ((0, 0.1), (1, 2.0)):
        noise = (values[:, column] - 1) / sigma
        assert abs(noise.mean()) < 4 / np.sqrt(n)
        assert abs(noise.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 4 / np.sqrt(n)


def test_noise_of_each_row_is_scaled_log_uniformly():
    n, p, rng = 2000, 400, np.random.default_rng(0)
    values = Noise(0.5, 4.0).add(np.zeros((n, p), np.float32), np.ones((n, p), np.float32), rng)
    factor = np.log(np.sqrt(np.mean(values.astype(float) ** 2, axis=1)))
    low, high = np.log(0.5), np.log(4.0)
    # A uniform variable on [low, high]: mean in the middle, variance (high - low)² / 12.
    assert abs(factor.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * n)
    assert factor.var() == pytest.approx((high - low) ** 2 / 12, rel=0.1)


def test_noise_of_neighbours_is_correlated_where_the_data_say_so():
    n, p = 20_000, 5
    correlation = noise_correlation([0.4, 0.1], p, None)
    error = np.tile(np.array([1, 2, np.inf, 1, 3], np.float32), (n, 1))
    noise = Noise(correlation=correlation)
    values = noise.add(np.zeros((n, p), np.float32), error, np.random.default_rng(4))
    assert not values[:, 2].any()
    found = np.corrcoef(np.delete(values, 2, axis=1), rowvar=False)
    expected = np.array([[1, 0.4, 0, 0], [0.4, 1, 0.1, 0], [0, 0.1, 1, 0.4], [0, 0, 0.4, 1]])
    np.testing.assert_allclose(found, expected, atol=5 / np.sqrt(n))


def test_noise_goes_onto_noise_free_values_where_there_are_any():
    error, clean = np.full((N, P), 1e-3, np.float32), TABLE + 1000
    for tables, base in (({}, TABLE), ({"X_noiseless": clean}, clean)):
        noisy = stream(data(X_error=error, **tables), noise=Noise())
        for inputs, targets in noisy.batches(0):
            difference = inputs - base[targets[:, 0].astype(int)]
            assert 0 < np.abs(difference).max() < 0.1
        # What is validated is what was observed.
        (inputs, _), *_ = noisy.batches_in_order(np.arange(4))
        np.testing.assert_array_equal(inputs, TABLE[:4])


def test_inputs_are_scaled_and_shaped_and_weights_follow_their_rows():
    mean, scale = np.linspace(0, 1, P), 4.0
    made = Stream(
        dataset=data(),
        rows=np.arange(N),
        targets=np.arange(N, dtype=np.int32),
        weights=np.arange(N, dtype=np.float32) / 2,
        input_scaler=Scaler(mean, scale),
        input_shape=(P, 1),
        seed=1,
        batch_size=8,
    )
    for inputs, targets, weights in made.batches(0):
        np.testing.assert_allclose(inputs[:, :, 0], (TABLE[targets] - mean) / scale, rtol=1e-5)
        np.testing.assert_array_equal(weights, targets / 2)
    assert inputs.dtype == np.float32


@pytest.mark.parametrize("n_devices", [1, 2, 3])
@pytest.mark.parametrize("n_rows", [15, 103, 600])
def test_devices_can_share_every_batch_evenly(n_devices, n_rows):
    X = np.arange(600, dtype=np.float32)[:, None]
    made = Stream(
        dataset=replace(data(), X=X, y=X[:, 0], row_id=X[:, 0].astype(str), feature_names=("x",)),
        rows=np.arange(n_rows),
        targets=X,
        weights=np.full(600, 2, np.float32),
        input_scaler=Scaler(0.0, 1.0),
        input_shape=(1,),
        seed=1,
        batch_size=42,
        n_devices=n_devices,
    )
    assert {len(targets) for _, targets, _ in made.batches(0)} == {made.batch_rows}
    assert made.batch_rows == (42 if n_rows > 42 else n_rows // n_devices * n_devices)
    assert len(list(made.batches(0))) == made.n_batches
    blocks = list(made.batches_in_order(np.arange(n_rows)))
    assert len(blocks) == -(-n_rows // made.block_size)
    assert all(len(targets) % n_devices == 0 for _, targets, _ in blocks)
    inputs, targets, weights = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    # Every row counts once; what fills up the last block does not count.
    np.testing.assert_array_equal(inputs[weights > 0, 0], np.arange(n_rows))
    np.testing.assert_array_equal(targets, inputs)
    assert set(weights[:n_rows]) == {2} and not weights[n_rows:].any()
    assert len(weights) - n_rows < n_devices


def test_fewer_rows_than_devices_are_refused():
    with pytest.raises(
        InputError, match=r"2 rows to train on .* 3 devices cannot share; lower n_d"
    ):
        stream(rows=np.arange(2), n_devices=3)


def test_noise_without_errors_is_refused():
    with pytest.raises(InputError, match=r"'made': noise is to be drawn .* hold no errors of X"):
        stream(noise=Noise())
