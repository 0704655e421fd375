"""The result tables of a study: their columns, and CSV files that give back what was written.

A result table is long: one number per row, what it belongs to in the columns before it. Figures
and readable tables are made from these files and from nothing else.
"""

from pathlib import Path

import pandas as pd

from starstack.errors import InputError

# Columns in order; those with a type hold numbers, the others text.
RESULT_TABLES: dict[str, dict[str, type]] = {
    "scores": {
        "study": str,
        "estimator": str,
        "role": str,
        "figure": str,
        "metric": str,
        "output": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "differences": {
        "study": str,
        "meta_learner": str,
        "base_model": str,
        "metric": str,
        "output": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "weights": {
        "study": str,
        "meta_learner": str,
        "trained_on": str,
        "model": str,
        "meta_feature": str,
        "output": str,
        "weight": float,
    },
    "diversity": {
        "study": str,
        "statistic": str,
        "model_a": str,
        "model_b": str,
        "value": float,
        "n": int,
    },
    "predictions": {
        "study": str,
        "estimator": str,
        "role": str,
        "row_id": str,
        "output": str,
        "observed": float,
        "predicted": float,
    },
    "reliability": {
        "study": str,
        "estimator": str,
        "role": str,
        "output": str,
        "bin": int,
        "mean_predicted": float,
        "observed_frequency": float,
        "standard_error": float,
        "n": int,
    },
    "errors": {
        "study": str,
        "estimator": str,
        "role": str,
        "output": str,
        "snr": str,
        "statistic": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "history": {
        "study": str,
        "network": str,
        "epoch": int,
        "quantity": str,
        "value": float,
    },
    "runtime": {
        "study": str,
        "rule": str,
        "job": str,
        "seconds": float,
        "cpu_seconds": float,
        "max_rss_mb": float,
        "threads": int,
    },
}


def empty_table(name: str) -> pd.DataFrame:
    """Make a result table without rows, for a study that has nothing to put in it."""
    columns = RESULT_TABLES[name].items()
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns})


def write_csv(table: pd.DataFrame, path: str | Path, *, index: bool = False) -> None:
    """Write a table as CSV: the same table gives the same bytes on every platform.

    Floats are written with the fewest digits that give the same float back, lines end in LF, text
    is UTF-8, and a missing number is an empty field.

    Parameters
    ----------
    table : DataFrame
        Column names of several levels are joined by ", ", line breaks in them by a space.
    path : str or Path
        The file; it is overwritten.
    index : bool
        Whether to write the row names as well.
    """
    keys = [key if isinstance(key, tuple) else (key,) for key in table.columns]
    names = [", ".join(str(part) for part in key if part != "").replace("\n", " ") for key in keys]
    table = table.set_axis(names, axis="columns")
    with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
        table.to_csv(stream, index=index, lineterminator="\n")


def read_table(path: str | Path, name: str) -> pd.DataFrame:
    """Read a result table as it was written.

    Text stays text: a class called ``0`` or ``NA`` comes back as that string, an empty field as
    the empty string. Floats come back bit for bit (pandas' default parser may be off by one bit).

    Parameters
    ----------
    path : str or Path
        A CSV file.
    name : str
        A key of :data:`RESULT_TABLES`.

    Returns
    -------
    DataFrame
        The columns of the result table, in its order.

    Raises
    ------
    InputError
        If columns are missing.
    """
    text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    columns = RESULT_TABLES[name]
    missing = [column for column in columns if column not in text.columns]
    if missing:
        raise InputError(
            f"{path}: expected the columns of {name}.csv, missing {', '.join(missing)}; "
            "run the rule that writes this file again"
        )
    return pd.DataFrame(
        {
            column: text[column]
            if kind is str
            else text[column].replace("", "nan").astype(float).astype(kind)
            for column, kind in columns.items()
        }
    )
