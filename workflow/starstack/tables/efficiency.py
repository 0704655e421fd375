"""Errors over the Cramér–Rao bound as a table of a paper."""

from collections.abc import Mapping

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns

COLUMNS = ("estimator", "bound", "output", "snr", "statistic", "value", "standard_error", "n")
_STATISTICS = {
    "rms_error": "Error (rms)",
    "rms_bound": "Bound (rms)",
    "error_over_bound": "Error / bound",
    "noise_over_bound": "Predicted noise part / bound",
}


def efficiency_summary(
    efficiency: pd.DataFrame, labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Lay out efficiencies with one row per network, bound, label and bin of S/N.

    Parameters
    ----------
    efficiency : DataFrame
        Rows of cramer_rao.csv of one study: `COLUMNS`.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    DataFrame
        Index Network, Bound, Label, S/N, n; root mean squares of error and bound in the unit of
        the label, and their ratios, each a
        :class:`~starstack.tables.measurement.Measurement`.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(efficiency, COLUMNS, "efficiency")
    words = dict(labels or {})
    cells: dict[tuple, dict[str, Measurement]] = {}
    for row in efficiency.to_dict("records"):
        output = words.get(row["output"], row["output"])
        key = (row["estimator"], row["bound"], output, row["snr"].replace("-", "–"), row["n"])
        name = _STATISTICS[row["statistic"]]
        cells.setdefault(key, {})[name] = Measurement(row["value"], row["standard_error"])
    names = [name for name in _STATISTICS.values() if any(name in cell for cell in cells.values())]
    return pd.DataFrame(
        [[cell.get(name) for name in names] for cell in cells.values()],
        index=pd.MultiIndex.from_tuples(
            list(cells), names=["Network", "Bound", "Label", "S/N", "n"]
        ),
        columns=names,
        dtype=object,
    )
