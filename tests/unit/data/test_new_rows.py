import numpy as np
import pandas as pd
import pytest

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
