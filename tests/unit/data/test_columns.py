"""Columns as they came, turned into names, numbers, times and class codes."""

import time

import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder

from starstack.data.columns import as_codes, as_names, as_numbers, as_times
from starstack.errors import InputError

ROWS = np.array(["r0", "r1", "r2", "r3"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "007", " b ", "NA"], ["a", "007", " b ", "NA"]),
        ([3, -1, 10**15, 0], ["3", "-1", "1000000000000000", "0"]),
        ([3.0, -1.0, 1e15, -0.0], ["3", "-1", "1000000000000000", "0"]),
        ([True, False, True, True], ["True", "False", "True", "True"]),
        (np.array(["x", 1, "y", 2], dtype=object), ["x", "1", "y", "2"]),
        (np.array([1, 2, 3, 255], dtype=np.uint8), ["1", "2", "3", "255"]),
    ],
)
def test_names_are_text(values, expected):
    names = as_names(np.asarray(values), "group", "data set 'a'")
    assert names.tolist() == expected
    assert names.dtype.kind == "U"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "", "b", ""], "group is missing in row 'r1', and in 2 of 4 rows"),
        ([1.0, 2.0, np.nan, 3.0], "group is missing in row 'r2', and in 1 of 4 rows"),
        (np.array(["a", "b", "c", "nan"], dtype=object), "group is missing in row 'r3'"),
        ([1.0, 2.5, 3.0, 4.0], "group is 2.5 in row 'r1', a fraction"),
        (np.zeros(4, dtype=complex), "group has type complex128; expected text"),
    ],
)
def test_names_that_are_none(values, message):
    with pytest.raises(InputError, match=f"^data set 'a': {message}"):
        as_names(np.asarray(values), "group", "data set 'a'", ROWS)


def test_rows_are_counted_from_one_while_they_have_no_names():
    with pytest.raises(InputError, match="row id is missing in row '2'"):
        as_names(np.array(["a", "", "b"]), "row id", "data set 'a'")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0]),
        ([True, False, True, True], [1.0, 0.0, 1.0, 1.0]),
        (
            np.array([0.1, 0.2, np.nan, 1], dtype=np.float32),
            [np.float32(0.1), np.float32(0.2), np.nan, 1.0],
        ),
        (["0.1", "1e-3", "", "inf"], [0.1, 0.001, np.nan, np.inf]),
        (np.array(["NA", "nan", "None", 4], dtype=object), [np.nan, np.nan, np.nan, 4.0]),
        (["True", "false", "TRUE", "-0.0"], [1.0, 0.0, 1.0, -0.0]),
    ],
)
def test_numbers(values, expected):
    numbers = as_numbers(np.asarray(values), "column 'flux'", "data set 'a'", ROWS)
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, np.array(expected, dtype=np.float64))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "bright", "x"], "column 'flux' is 'bright' in row 'r2', which is not a number"),
        (np.zeros(4, dtype=complex), "column 'flux' has type complex128; expected numbers"),
    ],
)
def test_numbers_that_are_none(values, message):
    with pytest.raises(InputError, match=f"^data set 'a': {message}"):
        as_numbers(np.asarray(values), "column 'flux'", "data set 'a'", ROWS)


def test_dates_are_seconds_since_1970():
    dates = [
        "1970-01-01",
        "2024-02-29T12:00:00",
        "1969-12-31T23:59:59.5Z",
        "2024-03-01T00:00+01:00",
    ]
    # 2024-01-01 is day 19723; February 29 is 59 days later, and UTC is an hour behind +01:00.
    expected = [0.0, (19723 + 59) * 86400 + 43200, -0.5, (19723 + 60) * 86400 - 3600]
    np.testing.assert_array_equal(as_times(np.array(dates), "data set 'a'", ROWS), expected)


def test_dates_without_a_zone_do_not_depend_on_where_the_machine_is(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert as_times(np.array(["1970-01-02"]), "data set 'a'", ROWS).tolist() == [86400.0]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "values", [[2459000.5, 1, 2, 3], ["2459000.5", "1", "2", "3"], np.array([2459000.5, 1, 2, 3])]
)
def test_times_that_are_numbers_stay_as_they_are(values):
    times = as_times(np.asarray(values), "data set 'a'", ROWS)
    assert times.tolist() == [2459000.5, 1, 2, 3]


def test_missing_times_are_nan_for_the_check_to_find():
    dates = np.array(["2024-01-01", "", "nan", "2024-01-02"], dtype=object)
    assert np.isnan(as_times(dates, "data set 'a'", ROWS)).tolist() == [False, True, True, False]
    numbers = np.array(["", "1", "nan", "2"], dtype=object)
    assert np.isnan(as_times(numbers, "data set 'a'", ROWS)).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2024-01-01", "31.12.2024", "2024-01-02", "x"], "time is '31.12.2024' in row 'r1'; exp"),
        (["", "2024-01-02", "2024-01-03", "7.5"], "time is '7.5' in row 'r3'; expected all num"),
        (["1", "2", "later", "3"], "time is 'later' in row 'r2', which is not a number"),
    ],
)
def test_times_that_are_neither(values, message):
    with pytest.raises(InputError, match=f"^data set 'a': {message}"):
        as_times(np.array(values), "data set 'a'", ROWS)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b", "C"], ("C", "a", "b")),
        (["10", "9", "-1", "10"], ("-1", "9", "10")),
        (["10", "9", "x", "10"], ("10", "9", "x")),
        ([10, 9, -1, 10], ("-1", "9", "10")),
        ([-1.0, 1.0, 1.0, -1.0], ("-1", "1")),
        ([True, False, False, True], ("False", "True")),
        (["01", "1", "2", "1"], ("01", "1", "2")),
        (["NA", "SA", "NA", "None"], ("NA", "None", "SA")),
    ],
)
def test_codes_name_their_classes(labels, classes):
    codes, names = as_codes(np.array(labels), "target", "data set 'a'", ROWS)
    assert names == classes
    assert codes.dtype == np.int64
    # Decoding gives the labels back, as text.
    decoded = [names[code] for code in codes]
    assert decoded == [str(int(v)) if isinstance(v, float) else str(v) for v in labels]


@pytest.mark.parametrize("seed", range(5))
def test_codes_equal_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    rows = np.arange(200).astype(str)
    for labels in (rng.integers(-30, 30, 200), rng.choice(["b", "a", "ab", "Z"], 200)):
        codes, _ = as_codes(labels, "target", "data set 'a'", rows)
        np.testing.assert_array_equal(codes, LabelEncoder().fit_transform(labels))
        as_text, _ = as_codes(labels.astype(str), "target", "data set 'a'", rows)
        np.testing.assert_array_equal(as_text, codes)
        as_objects, _ = as_codes(labels.astype(str).astype(object), "target", "", rows)
        np.testing.assert_array_equal(as_objects, codes)


def test_given_class_names_follow_the_labels_that_occur():
    codes, classes = as_codes(np.array([2, 0, 2]), "target", "", ROWS, ("zero", "one", "two"))
    assert classes == ("zero", "two")
    assert codes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, 2.0, 2.5, 3.5], "target is 2.5 in row 'r2', a fraction"),
        (["1", "0.25", "2.5", "3"], "target is 0.25 in row 'r1', a fraction"),
        (["a", "b", "", "a"], "target is missing in row 'r2', and in 1 of 4 rows"),
        ([0.0, np.nan, 1.0, 1.0], "target is missing in row 'r1', and in 1 of 4 rows"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(InputError, match=f"^data set 'a': {message}"):
        as_codes(np.array(labels), "target", "data set 'a'", ROWS)
