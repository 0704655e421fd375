"""Calibration of predicted errors as a table of a paper."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns, without_unknown_snr

COLUMNS = ("estimator", "method", "output", "snr", "statistic", "value", "standard_error", "n")
_STATISTICS = {
    "coverage_50": "50 %",
    "coverage_68": "68 %",
    "coverage_90": "90 %",
    "coverage_95": "95 %",
    "coverage_99": "99 %",
    "chi2_per_n": "mean of z²",
    "sharpness": "σ (rms)",
    "nll": "−log likelihood",
}
JOINT = "all labels"
# Beside the coverage, the least one that was proved, for the two levels that papers state.
_PROVED = {"coverage_68": "68 %, at least", "coverage_95": "95 %, at least"}


def calibration_summary(
    calibration: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    *,
    snr: Sequence[str] = ("all",),
) -> pd.DataFrame:
    """Lay out calibration with one row per method, label and bin of signal-to-noise ratio.

    Parameters
    ----------
    calibration : DataFrame
        Rows of one study: `COLUMNS`.
    labels : mapping of str to str, optional
        Words and unit of a label by its name, such as ``{"teff": "Teff (K)"}``.
    snr : sequence of str, optional
        Which bins; all rows together by default.

    Returns
    -------
    DataFrame
        Index Estimator, Method, Label, S/N (where it is known), n. Columns are the coverage of
        the central intervals in percent, the mean of z² (χ² per row; of all labels together, per
        label), the root mean square of the predicted error and minus the log likelihood, each a
        :class:`~starstack.tables.measurement.Measurement`. Where a method promises a least
        coverage (column ``guarantee``), that of 68 and 95 % in percent.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(calibration, COLUMNS, "calibration")
    kept = calibration[calibration["snr"].isin(list(snr))]
    cells: dict[tuple, dict[str, Measurement]] = {}
    for row in kept.to_dict("records"):
        if row["statistic"] not in _STATISTICS:
            continue
        output = row["output"]
        words = JOINT if output == "joint" else (labels or {}).get(output, output)
        key = (row["estimator"], row["method"], words, row["snr"].replace("-", "–"), row["n"])
        percent = 100 if row["statistic"].startswith("coverage_") else 1
        cells.setdefault(key, {})[_STATISTICS[row["statistic"]]] = Measurement(
            percent * row["value"], percent * row["standard_error"]
        )
        least = row.get("guarantee", math.nan)
        if row["statistic"] in _PROVED and math.isfinite(least):
            cells[key][_PROVED[row["statistic"]]] = Measurement(100 * least)
    names = [
        name
        for name in (*_STATISTICS.values(), *_PROVED.values())
        if any(name in cell for cell in cells.values())
    ]
    table = pd.DataFrame(
        [[cell.get(name) for name in names] for cell in cells.values()],
        index=pd.MultiIndex.from_tuples(
            list(cells), names=["Estimator", "Method", "Label", "S/N", "n"]
        ),
        columns=names,
        dtype=object,
    )
    return without_unknown_snr(table, calibration["snr"])
