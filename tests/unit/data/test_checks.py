"""Each fault of a data set is one clear line that names the data set and the column or row."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.data.checks import check_block, check_dataset, check_header
from starstack.data.dataset import Dataset
from starstack.errors import InputError

N = 6


def classification(**changes):
    dataset = Dataset(
        name="stars",
        task="classification",
        X=np.arange(2.0 * N).reshape(N, 2),
        y=np.array([0, 1, 2, 0, 1, 2]),
        row_id=np.array(["s0", "s1", "s2", "s3", "s4", "s5"]),
        feature_names=("flux", "width"),
        target_names=("kind",),
        classes=("dwarf", "giant", "hot"),
        group=np.array(["a", "a", "b", "b", "c", "c"]),
        time=np.arange(1.0 * N),
        sample_weight=np.ones(N),
    )
    return replace(dataset, **changes)


def regression(**changes):
    numbers = {
        "task": "regression",
        "y": np.column_stack([np.arange(1.0 * N), np.arange(1.0 * N) ** 2]),
        "target_names": ("teff", "logg"),
        "classes": (),
    }
    return classification(**(numbers | changes))


def spoiled(values, at, value):
    values = np.array(values, dtype=float)
    values[at] = value
    return values


X = np.arange(2.0 * N).reshape(N, 2)
Y = regression().y

CASES = {
    "task": (classification(task="ranking"), "task is 'ranking'; expected one of regression, cl"),
    "no rows": (
        classification(
            X=np.ones((0, 2)),
            y=np.ones(0, int),
            row_id=np.array([], str),
            **dict.fromkeys(("group", "time", "sample_weight")),
        ),
        "has no rows",
    ),
    "no columns": (classification(X=np.ones((N, 0)), feature_names=()), "has no feature columns"),
    "X not a table": (classification(X=np.ones(N)), r"X has shape \(6,\)"),
    "X not numbers": (classification(X=X.astype(object)), "type object; expected a table of float"),
    "X NaN": (
        classification(X=spoiled(X, (slice(3, 5), 1), np.nan)),
        r"column 'width' is missing \(NaN\) in row 's3', and not finite in 2 of 6 rows",
    ),
    "X infinite": (
        classification(X=spoiled(X, (5, 0), -np.inf)),
        "column 'flux' is infinite in row 's5', and not finite in 1 of 6 rows",
    ),
    "X opposite infinities": (
        classification(X=spoiled(spoiled(X, (2, 0), -np.inf), (1, 0), np.inf)),
        "column 'flux' is infinite in row 's1', and not finite in 2 of 6 rows",
    ),
    "y NaN": (
        regression(y=spoiled(Y, (4, 1), np.nan)),
        r"target 'logg' is missing \(NaN\) in row 's4', and not finite in 1 of 6 rows",
    ),
    "y infinite": (
        regression(y=spoiled(Y[:, 0], 2, np.inf), target_names=("teff",)),
        "target 'teff' is infinite in row 's2'",
    ),
    "y short": (classification(y=np.array([0, 1])), "X has 6, y has 2, row_id has 6"),
    "ids short": (classification(row_id=np.array(["s0"])), "row_id has 1"),
    "group short": (classification(group=np.array(["a"])), "group has 1"),
    "time long": (classification(time=np.ones(7)), "time has 7"),
    "weight short": (classification(sample_weight=np.ones(5)), "sample_weight has 5"),
    "one class": (
        classification(y=np.full(N, 1)),
        "target 'kind' is 'giant' in every row; classification needs at least two classes",
    ),
    "one class name": (
        classification(y=np.zeros(N, int), classes=("dwarf",)),
        "target 'kind' is 'dwarf' in every row",
    ),
    "single member": (
        classification(y=np.array([0, 1, 2, 0, 1, 1])),
        r"class 'hot' of target 'kind' has only 1 row \(1 of 3 classes have fewer than 2\)",
    ),
    "class without members": (
        classification(y=np.array([0, 1, 1, 0, 1, 1])),
        "class 'hot' of target 'kind' has no rows",
    ),
    "as many classes as rows": (
        classification(y=np.arange(N), classes=tuple("abcdef")),
        r"as many classes as rows \(6\); it looks like an identifier or a quantity",
    ),
    "codes beyond names": (
        classification(y=np.array([0, 1, 3, 0, 1, 3])),
        "codes from 0 to 3 but 3 class names",
    ),
    "negative code": (classification(y=np.array([0, 1, -1, 0, 1, -1])), "codes from -1 to 1"),
    "codes not whole": (classification(y=np.linspace(0, 1, N)), "type float64; expected one col"),
    "class names repeat": (classification(classes=("dwarf", "hot", "hot")), "two classes of the"),
    "two label columns": (
        classification(y=np.zeros((N, 2), int), target_names=("kind", "type")),
        r"has shape \(6, 2\)",
    ),
    "ids repeat": (
        classification(row_id=np.array(["s0", "s1", "s1", "s3", "s1", "s5"])),
        "row id 's1' occurs 3 times",
    ),
    "id empty": (
        classification(row_id=np.array(["s0", "s1", "", "s3", "s4", "s5"])),
        "row id '' of row 3 must be printable",
    ),
    "id with a line break": (
        classification(row_id=np.array(["s0", "s\n1", "s2", "s3", "s4", "s5"])),
        r"row id 's\\n1' of row 2 must be printable",
    ),
    "feature names repeat": (
        classification(feature_names=("flux", "flux")),
        "feature name 'flux' occurs 2 times",
    ),
    "feature name empty": (classification(feature_names=("flux", "")), "column 2 is named ''"),
    "too few feature names": (classification(feature_names=("flux",)), "1 feature names for 2 col"),
    "target names repeat": (regression(target_names=("teff", "teff")), "target name 'teff' occurs"),
    "too few target names": (regression(target_names=("teff",)), "1 target names for 2 columns"),
    "target among features": (
        regression(feature_names=("flux", "logg")),
        "'logg' is both a feature and the target",
    ),
    "constant target": (
        regression(y=spoiled(Y, (slice(None), 1), 4.5)),
        "target 'logg' is 4.5 in every row",
    ),
    "regression codes": (regression(y=np.arange(N), target_names=("teff",)), "type int64; expect"),
    "regression with classes": (regression(classes=("a", "b")), "has no classes"),
    "group missing": (
        classification(group=np.array(["a", "a", "b", "", "c", "c"])),
        "the group of row 's3' is missing",
    ),
    "time missing": (
        classification(time=spoiled(np.arange(6), 1, np.nan)),
        r"time is missing \(NaN\) in row 's1'",
    ),
    "time infinite": (classification(time=spoiled(np.arange(6), 0, np.inf)), "time is infinite in"),
    "weight negative": (
        classification(sample_weight=spoiled(np.ones(N), 2, -0.5)),
        "sample weight -0.5 of row 's2' is negative",
    ),
    "weights all zero": (classification(sample_weight=np.zeros(N)), "all sample weights are 0"),
    "weight missing": (
        classification(sample_weight=spoiled(np.ones(N), 2, np.nan)),
        r"sample weight is missing \(NaN\) in row 's2'",
    ),
}

TABLE = np.linspace(0.9, 1.1, 2 * N).reshape(N, 2).astype(np.float32)
ERROR = np.full((N, 2), 0.1, dtype=np.float32)


def spectra(**changes):
    tables = {
        "X": TABLE,
        "X_error": ERROR,
        "X_noiseless": TABLE,
        "wavelength": np.array([15200.0, 15200.2]),
        "row_values": {"snr": np.full(N, 50.0)},
    }
    return regression(**(tables | changes))


def spoiled_table(table, at, value):
    return spoiled(table, at, value).astype(np.float32)


CASES |= {
    "errors of another shape": (
        spectra(X_error=ERROR[:, :1]),
        r"X_error has shape \(6, 1\) and type float32; expected float32 of shape \(6, 2\)",
    ),
    "noiseless of another type": (
        spectra(X_noiseless=TABLE.astype(float)),
        "X_noiseless has shape .* and type float64; expected float32",
    ),
    "X of half precision": (spectra(X=TABLE.astype(np.float16)), "type float16; expected a table"),
    "error zero": (
        spectra(X_error=spoiled_table(ERROR, (slice(2, 4), 1), 0.0)),
        "error of column 'width' is 0 in row 's2', and not above 0 in 2 values of 2 rows",
    ),
    "error negative": (
        spectra(X_error=spoiled_table(ERROR, (5, 0), -0.5)),
        "error of column 'flux' is -0.5 in row 's5', and not above 0 in 1 values of 1 rows",
    ),
    "error NaN": (
        spectra(X_error=spoiled_table(ERROR, (1, 0), np.nan)),
        "error of column 'flux' is nan in row 's1'",
    ),
    "all masked": (
        spectra(X_error=spoiled_table(ERROR, (slice(3, 5), slice(None)), np.inf)),
        "row 's3' has no good pixel, all are missing or masked, and so have 2 of these 6 rows",
    ),
    "noiseless NaN": (
        spectra(X_noiseless=spoiled_table(TABLE, (4, 1), np.nan)),
        r"noiseless column 'width' is missing \(NaN\) in row 's4'",
    ),
    "wavelength short": (spectra(wavelength=np.array([15200.0])), r"wavelength has shape \(1,\)"),
    "wavelength descending": (
        spectra(wavelength=np.array([15201.0, 15200.0])),
        "must be positive and increase; they run from 15201 to 15200",
    ),
    "row value short": (spectra(row_values={"snr": np.ones(4)}), "row value snr has 4"),
    "row value text": (
        spectra(row_values={"snr": np.full(N, "a")}),
        "row value 'snr' has shape .* expected one float64 per row",
    ),
    "row value with a slash": (
        spectra(row_values={"a/b": np.ones(N)}),
        "row value 'a/b' has a slash in its name",
    ),
}


@pytest.mark.parametrize(("dataset", "message"), CASES.values(), ids=CASES.keys())
def test_fault_is_refused_in_one_line(dataset, message):
    with pytest.raises(InputError, match=message) as caught:
        check_dataset(dataset)
    assert str(caught.value).startswith("data set 'stars': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "dataset",
    [
        classification(),
        regression(),
        regression(y=Y[:, 0], target_names=("teff",)),
        classification(group=None, time=None, sample_weight=None),
        classification(sample_weight=np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1e-9])),
        classification(X=np.ones((N, 2))),
        classification(X=TABLE),
        spectra(),
        spectra(X_error=spoiled_table(ERROR, (3, 1), np.inf)),
        classification(y=np.array([0, 1, 0, 1, 0, 1], dtype=np.int8), classes=("a", "b")),
    ],
)
def test_good_data_pass(dataset):
    check_dataset(dataset)


def test_a_sum_that_overflows_is_not_taken_for_an_infinity():
    check_dataset(classification(X=np.full((N, 2), 1e308)))


def test_a_header_and_its_blocks_are_checked_apart():
    header = spectra(**dict.fromkeys(("X", "X_error", "X_noiseless")))
    check_header(header)
    with pytest.raises(InputError, match="row id 's0' occurs 2 times"):
        check_header(replace(header, row_id=np.array(["s0", "s0", "s2", "s3", "s4", "s5"])))
    block = {"X": TABLE[2:4], "X_error": ERROR[2:4]}
    check_block(block, header.row_id[2:4], header.feature_names, "data set 'stars'")
    block["X_error"] = spoiled_table(ERROR[2:4], (1, 0), 0.0)
    with pytest.raises(InputError, match="is 0 in row 's3'"):
        check_block(block, header.row_id[2:4], header.feature_names, "data set 'stars'")
