import json

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from starstack.errors import InputError
from starstack.networks.scaling import Scaler, fit_scaler

RNG = np.random.default_rng(0)
# Columns of very different size, a large common offset, a constant one.
VALUES = RNG.normal(size=(103, 5)) * [1.0, 1e-6, 1e6, 3.0, 0.0] + [0.0, 2.0, 1e9, -7.0, 0.1]


def blocks(values, size):
    return [values[start : start + size] for start in range(0, len(values), size)]


@pytest.mark.parametrize("size", [1, 10, 103])
def test_standardising_is_that_of_scikit_learn_whatever_the_blocks(size):
    expected = StandardScaler().fit(VALUES)
    scaler = fit_scaler(blocks(VALUES, size), "per_feature")
    np.testing.assert_allclose(scaler.mean, expected.mean_, rtol=1e-14)
    np.testing.assert_allclose(scaler.scale, expected.scale_, rtol=1e-9)
    assert scaler.scale[4] == 1.0
    np.testing.assert_allclose(scaler.transform(VALUES), expected.transform(VALUES), atol=1e-8)


def test_weights_count_as_repetitions():
    weight = RNG.integers(0, 4, size=len(VALUES)).astype(float)
    scaler = fit_scaler(blocks(VALUES, 7), "per_feature", blocks(weight, 7))
    expected = fit_scaler([VALUES.repeat(weight.astype(int), axis=0)], "per_feature")
    np.testing.assert_allclose(scaler.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(scaler.scale, expected.scale, rtol=1e-9)


def test_a_common_scale_is_the_root_mean_square_over_all_columns():
    values = VALUES[:, [0, 3, 4]]  # the constant one counts too
    scaler = fit_scaler(blocks(values, 10), "common")
    np.testing.assert_allclose(scaler.mean, values.mean(axis=0), atol=1e-14)
    assert scaler.scale == pytest.approx(np.sqrt(values.var(axis=0).mean()), rel=1e-13)
    assert np.square(scaler.transform(values)).mean() == pytest.approx(1.0, rel=1e-12)


def test_constant_data_keep_the_scale_one():
    constant = np.full((5, 3), 0.1)
    assert fit_scaler([constant], "common").scale == 1.0
    assert fit_scaler([constant], "per_feature").scale.tolist() == [1.0] * 3


def test_single_precision_is_summed_in_double():
    values = np.full((4096, 1), 16777216.0, dtype=np.float32)
    values[::2] += 2.0
    scaler = fit_scaler(blocks(values, 100), "per_feature")
    assert scaler.mean.dtype == np.float64
    assert scaler.mean[0] == 16777217.0
    assert scaler.scale[0] == 1.0


def test_none_leaves_values_as_they_are_and_reads_nothing():
    scaler = fit_scaler(iter(()), "none")
    assert (scaler.mean, scaler.scale) == (0.0, 1.0)
    np.testing.assert_array_equal(scaler.transform(VALUES), VALUES)


@pytest.mark.parametrize("kind", ["per_feature", "common", "none"])
def test_there_and_back_also_through_json(kind):
    scaler = fit_scaler([VALUES], kind)
    read = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    assert np.array_equal(read.mean, scaler.mean) and np.array_equal(read.scale, scaler.scale)
    np.testing.assert_allclose(read.inverse(scaler.transform(VALUES)), VALUES, rtol=1e-14)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([VALUES], "minmax", "expected one of per_feature, common, none; got 'minmax'"),
        ([], "common", "expected at least one row"),
        ([np.array([[1.0, np.nan]])], "per_feature", "column 1 holds NaN"),
        ([np.array([[np.inf, 1.0]])], "common", "column 0 holds NaN, infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_cannot_be_scaled(values, kind, message):
    with pytest.raises(InputError, match=message):
        fit_scaler(values, kind)
