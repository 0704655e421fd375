"""The table of the error budget of every row, read back."""

from pathlib import Path

import pandas as pd

from starstack.tables.results import read_table

CORRELATION = "correlation_"


def read_budget_table(path: str | Path) -> pd.DataFrame:
    """Read the table of an error budget with its correlations, one column for each label.

    Raises
    ------
    InputError
        If columns are missing.
    """
    table = read_table(path, "error_budget")
    header = pd.read_csv(path, nrows=0, encoding="utf-8").columns
    names = [name for name in header if name.startswith(CORRELATION)]
    correlations = pd.read_csv(path, usecols=names, encoding="utf-8", float_precision="round_trip")
    return table.join(correlations[names])
