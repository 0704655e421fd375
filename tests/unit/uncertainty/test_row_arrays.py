import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.row_arrays import read_row_arrays, write_row_arrays

NAMES = np.array(["a", "ÅB"])
ARRAYS = {"mean": np.eye(2), "other": np.arange(2.0)}


def test_what_is_written_is_read_and_bytes_are_the_same(tmp_path):
    for name in ("first.h5", "second.h5"):
        write_row_arrays(tmp_path / name, NAMES, ARRAYS, {"study": "s"})
    row_id, mean = read_row_arrays(tmp_path / "first.h5", ["mean"], "rows", "make_rows")
    assert row_id.tolist() == NAMES.tolist()
    np.testing.assert_array_equal(mean, np.eye(2))
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_a_damaged_file_and_a_missing_array(tmp_path):
    path = tmp_path / "rows.h5"
    write_row_arrays(path, NAMES, ARRAYS, {})
    message = r"rows\.h5: is not a whole file of rows \(.*\); run make_rows again"
    with pytest.raises(InputError, match=message):
        read_row_arrays(path, ["absent"], "rows", "make_rows")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=message):
        read_row_arrays(path, ["mean"], "rows", "make_rows")
