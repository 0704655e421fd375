"""Vectors into tensors and sums of gradients back, without mixing them up."""

import keras
import numpy as np

from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.transfer import ALIGNMENT, Staging, Sum


def parameters():
    layers = [keras.layers.Dense(3, dtype="float32"), keras.layers.Dense(1, dtype="float64")]
    return FlatParameters(keras.Sequential([keras.Input((5,)), *layers]))


def test_parts_have_the_types_and_values_of_the_weights():
    flat = parameters()
    vector = np.random.default_rng(0).normal(size=flat.size)
    parts = Staging(flat).fill(vector)
    assert [part.dtype.name for part in parts] == ["float32", "float32", "float64", "float64"]
    for part, expected in zip(parts, flat.unpack(vector), strict=True):
        np.testing.assert_array_equal(part, expected.astype(part.dtype.as_numpy_dtype))


def test_each_fill_is_seen_by_what_runs_after_it():
    flat = parameters()
    staging = Staging(flat)
    for value in (1.0, 2.0):
        parts = staging.fill(np.full(flat.size, value))
        assert {float(np.unique(part)[0]) for part in parts} == {value}
    assert all(part.ctypes.data % ALIGNMENT == 0 for part in staging._parts)


def test_sums_are_taken_in_float64():
    flat = parameters()
    total = Sum(flat)
    small = [np.full(shape, 1e-9, dtype=np.float32) for shape in flat.shapes]
    total.add([np.ones(shape, dtype=np.float32) for shape in flat.shapes])
    for _ in range(10):
        total.add(small)
    np.testing.assert_allclose(total.times(2.0), 2 * (1 + 1e-8), rtol=1e-12)
