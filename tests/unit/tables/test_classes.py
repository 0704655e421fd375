"""The table of probabilities of classes."""

import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.classes import class_summary


def tables():
    calibration = pd.DataFrame(
        [
            ("cnn", "plain", time, statistic, value, 0.01, 450)
            for time, value in (("before", 0.11), ("after", 0.09))
            for statistic in ("log_loss", "brier", "accuracy", "something else")
        ],
        columns=["estimator", "method", "temperature", "statistic", "value", "standard_error", "n"],
    )
    temperatures = pd.DataFrame(
        [("cnn", "plain", 1.31, 0.12)],
        columns=["estimator", "method", "temperature", "standard_error"],
    )
    return calibration, temperatures


def test_each_method_has_a_row_before_and_one_after():
    table = class_summary(*tables())
    assert table.index.tolist() == [("cnn", "plain", 450), ("cnn", "plain, temperature", 450)]
    assert [str(cell) for cell in table["Temperature"]] == ["1", "1.31 ± 0.12"]
    assert [str(cell) for cell in table["Log loss (nat)"]] == ["0.110 ± 0.010", "0.090 ± 0.010"]
    assert table["Entropy (nat)"].isna().all()
    assert "something else" not in table.columns


def test_missing_columns_are_named():
    calibration, temperatures = tables()
    with pytest.raises(InputError, match="temperatures"):
        class_summary(calibration, temperatures.drop(columns="temperature"))
