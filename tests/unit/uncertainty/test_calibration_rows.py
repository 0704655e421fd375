"""Too few rows to recalibrate error bars with are found before a network is trained."""

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.uncertainty.calibration_rows import check_calibration_rows

N = 400


def dataset(group=None):
    return Dataset(
        name="stars",
        task="regression",
        X=None,
        y=np.arange(float(N)),
        row_id=np.arange(N).astype(str),
        feature_names=("a", "b"),
        target_names=("t",),
        group=group,
    )


def check(fraction, group=None):
    check_calibration_rows(dataset(group), np.arange(300), fraction, 5, "config: net")


def test_too_few_rows_are_one_line_that_names_the_key():
    with pytest.raises(InputError) as caught:
        check(0.33)  # round(0.33 * 300) = 99
    assert str(caught.value) == (
        "config: net: 99 of 300 training rows are held out to recalibrate error bars; expected at "
        "least 100: raise training.validation_fraction (0.33), or set uncertainty.recalibration: "
        "none"
    )
    check(1 / 3)


def test_groups_are_held_out_whole():
    stars = (np.arange(N) // 30).astype(str)  # ten stars of 30 rows among those to train on
    with pytest.raises(InputError, match="net: 90 of 300"):
        check(0.3, stars)
    check(0.31, stars)
