"""Scores and calibration of probabilities of classes as a table of a paper."""

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns

COLUMNS = (
    "estimator",
    "method",
    "temperature",
    "statistic",
    "value",
    "standard_error",
    "n",
)
TEMPERATURE_COLUMNS = ("estimator", "method", "temperature", "standard_error")
_STATISTICS = {
    "accuracy": "Accuracy",
    "log_loss": "Log loss (nat)",
    "log_loss_minus_plain": "Log loss − plain",
    "brier": "Brier score",
    "brier_minus_plain": "Brier − plain",
    "expected_calibration_error": "ECE",
    "calibrated_error": "ECE if calibrated",
    "entropy": "Entropy (nat)",
    "excess": "Log loss − entropy",
}


def class_summary(calibration: pd.DataFrame, temperatures: pd.DataFrame) -> pd.DataFrame:
    """Lay out scores with one row per network, method, and before or after its temperature.

    Parameters
    ----------
    calibration : DataFrame
        Rows of one study: `COLUMNS`.
    temperatures : DataFrame
        Of its networks: `TEMPERATURE_COLUMNS`.

    Returns
    -------
    DataFrame
        Index Estimator, Method, n. Columns are the temperature (1 before) and the statistics of
        `starstack.uncertainty.class_calibration.class_tables`, each a
        :class:`~starstack.tables.measurement.Measurement`.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(calibration, COLUMNS, "class_calibration")
    require_columns(temperatures, TEMPERATURE_COLUMNS, "temperatures")
    chosen = {
        (row["estimator"], row["method"]): Measurement(row["temperature"], row["standard_error"])
        for row in temperatures.to_dict("records")
    }
    cells: dict[tuple, dict[str, object]] = {}
    for row in calibration.to_dict("records"):
        if row["statistic"] not in _STATISTICS:
            continue
        after = row["temperature"] == "after"
        estimator, method = row["estimator"], row["method"]
        key = (estimator, method + (", temperature" if after else ""), row["n"])
        own = cells.setdefault(key, {"Temperature": chosen[estimator, method] if after else "1"})
        own[_STATISTICS[row["statistic"]]] = Measurement(row["value"], row["standard_error"])
    return pd.DataFrame(
        list(cells.values()),
        columns=["Temperature", *_STATISTICS.values()],
        index=pd.MultiIndex.from_tuples(list(cells), names=["Estimator", "Method", "n"]),
        dtype=object,
    )
