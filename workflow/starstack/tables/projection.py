"""The readable table of joint fits: where each run ended, and what is proved of the end."""

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns

# Columns of the result table, and what a reader sees.
_RUN = {
    "alpha": "Penalty",
    "intercept": "Intercept",
    "init": "Start",
    "solver": "Solver",
    "escape": "Escape",
}
_END = {
    "status": "End",
    "iterations": "Iterations",
    "saddles": "Saddles met",
    "loss": "Loss",
    "gradient_norm": "Gradient norm",
    "smallest_eigenvalue": "Smallest eigenvalue",
    "null_directions_found": "Null directions",
    "null_directions_derived": "derived",
    "is_global": "Global",
}


def certificate_table(certificates: pd.DataFrame) -> pd.DataFrame:
    """Lay out certificates with one row per run.

    Parameters
    ----------
    certificates : DataFrame
        Rows of projection/certificates.csv of one study.

    Returns
    -------
    DataFrame
        Runs that differ in the escape only, and met no saddle, are one row. What is the same in
        all runs is left out, but for start, solver and escape. The loss has four digits, gradient
        norm and smallest eigenvalue are text in two, since they span many powers of ten. Null
        directions are those of minima; a number that was not counted is an empty cell.

    Raises
    ------
    InputError
        If columns are missing or the table is empty.
    """
    require_columns(certificates, (*_RUN, *_END), "projection certificates")
    table = certificates.copy()
    same = (table["escape"] == "yes") & (table["saddles"] == 0)
    table = table[~same]
    table.loc[table["saddles"] == 0, "escape"] = "–"
    for column in ("gradient_norm", "smallest_eigenvalue"):
        table[column] = [f"{value:.1e}".replace("-", "−") for value in table[column]]
    table["alpha"] = [f"{value:g}" for value in table["alpha"]]
    table["loss"] = [Measurement(value) for value in table["loss"]]
    for column in ("null_directions_found", "null_directions_derived"):
        counts = zip(table[column], table["status"], strict=True)
        told = [int(n) if n >= 0 and status == "minimum" else None for n, status in counts]
        table[column] = pd.Series(told, index=table.index, dtype=object)
    told = [c for c in _RUN if c in ("init", "solver", "escape") or table[c].nunique() > 1]
    return table[[*told, *_END]].rename(columns=_RUN | _END).reset_index(drop=True)
