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
    text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    for name in text.columns:
        if name.startswith(CORRELATION):
            table[name] = text[name].replace("", "nan").astype(float)
    return table
