"""Bias, MAD scatter and standard deviation of predicted labels as a table of a paper."""

from collections.abc import Mapping

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns, without_unknown_snr

_STATISTICS = {
    "median": "bias",
    "mad_scatter": "MAD scatter",
    "standard_deviation": "standard deviation",
}


def errors_table(errors: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Lay out errors with one row per estimator and bin of signal-to-noise ratio.

    Base models are given over all rows only: the table would be many pages long.

    Parameters
    ----------
    errors : DataFrame
        Rows of errors.csv of one study.
    labels : mapping of str to str, optional
        Words and unit of a target by its name, such as ``{"teff": "Teff (K)"}``.

    Returns
    -------
    DataFrame
        Index Estimator, S/N (where it is known), n; columns (target, statistic), each a
        :class:`~starstack.tables.measurement.Measurement` in the target's unit: the median of
        predicted minus observed, 1.4826 times the median absolute deviation, and the standard
        deviation.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    columns = ("estimator", "role", "output", "snr", "statistic", "value", "standard_error", "n")
    require_columns(errors, columns, "errors")
    kept = errors[(errors["snr"] == "all") | (errors["role"] != "base")]
    cells: dict[tuple, dict[tuple, Measurement]] = {}
    for row in kept.to_dict("records"):
        cell = cells.setdefault((row["estimator"], row["snr"].replace("-", "–"), row["n"]), {})
        statistic = _STATISTICS[row["statistic"]]
        target = (labels or {}).get(row["output"], row["output"])
        cell[target, statistic] = Measurement(row["value"], row["standard_error"])
    keys = list(dict.fromkeys(key for cell in cells.values() for key in cell))
    table = pd.DataFrame(
        [[cell.get(key) for key in keys] for cell in cells.values()],
        index=pd.MultiIndex.from_tuples(list(cells), names=["Estimator", "S/N", "n"]),
        columns=pd.MultiIndex.from_tuples(keys),
        dtype=object,
    )
    return without_unknown_snr(table, errors["snr"])
