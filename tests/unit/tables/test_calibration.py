"""The table of calibration: a row per method and label, percent and errors."""

import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.calibration import calibration_summary

COLUMNS = ["estimator", "method", "output", "snr", "statistic", "value", "standard_error", "n"]


def table():
    rows = [
        ("net", method, output, snr, statistic, value, error, n)
        for method in ("jacobian", "two_jacobians")
        for output in ("teff", "joint")
        for snr, n in (("all", 900), ("20-30", 100))
        for statistic, value, error in (
            ("coverage_68", 0.701, 0.012),
            ("chi2_per_n", 0.97, 0.03),
            ("mean_z", 0.0, 0.1),
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_rows_and_columns():
    found = calibration_summary(table(), {"teff": "Teff (K)"})
    assert found.index.names == ["Estimator", "Method", "Label", "S/N", "n"]
    assert found.index.tolist() == [
        ("net", method, label, "all", 900)
        for method in ("jacobian", "two_jacobians")
        for label in ("Teff (K)", "all labels")
    ]
    assert found.columns.tolist() == ["68 %", "mean of z²"]
    assert str(found.iloc[0, 0]) == "70.1 ± 1.2" and str(found.iloc[0, 1]) == "0.970 ± 0.030"


def test_without_bins_there_is_no_column_of_them():
    found = calibration_summary(table().query("snr == 'all'"))
    assert found.index.names == ["Estimator", "Method", "Label", "n"] and len(found) == 4


def test_bins():
    found = calibration_summary(table(), snr=("20-30",))
    assert set(found.index.get_level_values("S/N")) == {"20–30"}


def test_missing_columns():
    with pytest.raises(InputError, match="missing method"):
        calibration_summary(table().drop(columns="method"))


def test_what_is_guaranteed_stands_beside_what_was_covered():
    found = calibration_summary(table().assign(guarantee=[0.36] + 23 * [float("nan")]))
    assert found.columns.tolist() == ["68 %", "mean of z²", "68 %, at least"]
    shown = found["68 %, at least"].tolist()
    assert shown[0].value == pytest.approx(36) and shown[1:] == [None] * 3
