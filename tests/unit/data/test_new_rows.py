import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from starstack.data.new_rows import check_values, names_of, values_of
from starstack.errors import InputError

NAMES = ("colour", "mag")
FRAME = pd.DataFrame({"colour": [1, 2], "mag": [0.5, np.nan]}, index=["a", "b"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["mag", "colour"], "column 1 is 'mag', expected 'colour'; give the 2 columns"),
        (["colour", "magnitude"], "column 2 is 'magnitude', expected 'mag'"),
        (["colour"], "column 2 is missing, expected 'mag'"),
        (["colour", "mag", "id"], "column 3 is 'id', expected no more columns"),
    ],
)
def test_other_columns_are_refused_by_name(columns, message):
    frame = pd.DataFrame(np.ones((1, len(columns))), columns=columns)
    with pytest.raises(InputError, match=message):
        values_of(frame, NAMES)
    np.testing.assert_array_equal(values_of(frame, ()), frame.to_numpy())


def test_columns_without_names_are_taken_as_they_stand():
    np.testing.assert_array_equal(values_of(pd.DataFrame([[3, 4]]), NAMES), [[3.0, 4.0]])
    rows = np.ones((2, 2), np.float32)
    assert values_of(rows, NAMES) is rows
    assert list(names_of(rows)) == [0, 1]


def test_whatever_pandas_calls_missing_is_named_by_row_and_column():
    nullable = FRAME.convert_dtypes()
    for frame in (FRAME, nullable):
        with pytest.raises(InputError, match=r"column 'mag' is missing \(NaN\) in row 'b'"):
            check_values(values_of(frame, NAMES), names_of(frame), NAMES)
    with pytest.raises(InputError, match="column '1' is infinite in row '7'"):
        check_values(np.array([[0, np.inf]]), range(7, 8), ())


def test_text_is_no_number():
    with pytest.raises(InputError, match=r"expected numbers in all columns .*'red'.*; turn text"):
        values_of(pd.DataFrame({"colour": ["red"], "mag": [1.0]}), NAMES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (sparse.csr_array(np.eye(2)), r"expected a pandas .*, got scipy's csr_array; give X.toarr"),
        (np.array([["red", 1]], dtype=object), "expected numbers in all columns .*'red'"),
        (np.array([["red", "1"]]), "expected numbers in all columns .*'red'"),
        (np.array([["2020-01-01"] * 2], dtype="M8[D]"), "got values of type datetime64"),
        (np.ones((1, 2), complex), "got values of type complex128"),
        ([[1.0, 2.0]], "expected a data frame or an array of rows and columns, got list"),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        values_of(rows, NAMES)


def test_a_table_of_another_package_is_told_from_a_data_frame():
    class Table:
        columns, shape = ("colour", "mag"), (1, 2)

        def to_pandas(self): ...

    with pytest.raises(InputError, match=r"'s Table; give X.to_pandas\(\)"):
        names_of(Table())


def test_objects_that_are_numbers_are_taken():
    rows = values_of(np.array([[1, None], [2.5, 3]], dtype=object), NAMES)
    np.testing.assert_array_equal(rows, [[1, np.nan], [2.5, 3]])
    masked = np.ma.masked_array([[1, 2]], mask=[[False, True]])
    np.testing.assert_array_equal(values_of(masked, NAMES), [[1, np.nan]])
