"""CSV files give back what was written, with the same bytes each time."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.results import RESULT_TABLES, read_table, write_csv

# Names that a CSV reader likes to turn into something else.
TRAPS = ["", "NA", "None", "nan", "007", "1e3", "True", 'quo"te', "com,ma", "Ångström"]


def fill(name, rng):
    """A result table of random numbers, bit patterns included, and awkward names."""
    columns = {}
    for column, kind in RESULT_TABLES[name].items():
        if kind is str:
            columns[column] = pd.Series(TRAPS, dtype=str)
        elif kind is int:
            columns[column] = rng.integers(1000, size=len(TRAPS))
        else:
            values = rng.normal(size=len(TRAPS)) * 10.0 ** rng.integers(-300, 300, len(TRAPS))
            columns[column] = np.concatenate([values[:-3], [np.nan, 0.1 + 0.2, 5e-324]])
    return pd.DataFrame(columns)


@pytest.mark.parametrize("name", RESULT_TABLES)
def test_round_trip_is_exact(name, tmp_path):
    table = fill(name, np.random.default_rng(5))
    write_csv(table, tmp_path / "a.csv")
    back = read_table(tmp_path / "a.csv", name)
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    write_csv(back, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_bytes_are_plain(tmp_path):
    table = pd.DataFrame({"name": ["é"], "value": [0.1], "n": [3], "gap": [np.nan]})
    write_csv(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == "name,value,n,gap\né,0.1,3,\n".encode()


def test_column_names_become_one_line(tmp_path):
    columns = pd.MultiIndex.from_tuples([("Accuracy", "test\nn = 9"), ("Accuracy", "")])
    table = pd.DataFrame([[1, 2]], columns=columns, index=pd.Index(["a"], name="Model"))
    write_csv(table, tmp_path / "a.csv", index=True)
    expected = 'Model,"Accuracy, test n = 9",Accuracy\na,1,2\n'
    assert (tmp_path / "a.csv").read_text() == expected
    assert table.columns.nlevels == 2  # the caller's table is as it was


def test_missing_columns_are_named(tmp_path):
    write_csv(pd.DataFrame({"study": ["a"], "rule": ["b"]}), tmp_path / "a.csv")
    with pytest.raises(InputError, match="missing job, seconds, cpu_seconds, max_rss_mb, threads"):
        read_table(tmp_path / "a.csv", "runtime")


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    write_csv(pd.DataFrame(columns=list(RESULT_TABLES["weights"])), tmp_path / "a.csv")
    back = read_table(tmp_path / "a.csv", "weights")
    assert back.empty and list(back.columns) == list(RESULT_TABLES["weights"])


def test_tables_do_not_load_matplotlib():
    modules = ["latex", "measurement", "quoted", "results", "summaries"]
    code = "".join(f"import starstack.tables.{name}\n" for name in modules)
    code += "import sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
