"""The table of joint fits: one line per run that differs, numbers as a reader wants them."""

import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.projection import certificate_table
from starstack.tables.results import RESULT_TABLES


def certificates():
    rows = []
    for init, escape, saddles, status in (
        ("zeros", "no", 1, "saddle"),
        ("zeros", "yes", 1, "minimum"),
        ("orthogonal", "no", 0, "minimum"),
        ("orthogonal", "yes", 0, "minimum"),
    ):
        row = {name: kind() for name, kind in RESULT_TABLES["projection_certificates"].items()}
        row |= {"init": init, "escape": escape, "saddles": saddles, "status": status}
        row |= {"smallest_eigenvalue": -2.34, "null_directions_found": -1, "alpha": 0.1}
        rows.append(row)
    return pd.DataFrame(rows)


def test_a_run_that_met_no_saddle_is_one_line():
    table = certificate_table(certificates())
    assert table["Start"].tolist() == ["zeros", "zeros", "orthogonal"]
    assert table["Escape"].tolist() == ["no", "yes", "–"]
    assert table["End"].tolist() == ["saddle", "minimum", "minimum"]


def test_what_all_runs_share_is_left_out():
    assert "Penalty" not in certificate_table(certificates())
    several = pd.concat([certificates(), certificates().assign(alpha=0.5)])
    assert certificate_table(several)["Penalty"].tolist() == ["0.1"] * 3 + ["0.5"] * 3


def test_numbers_are_readable():
    table = certificate_table(certificates())
    assert set(table["Smallest eigenvalue"]) == {"−2.3e+00"}
    assert set(table["Null directions"]) == {None}
    small = certificate_table(certificates().assign(loss=5e-7))
    assert {str(loss) for loss in small["Loss"]} == {"5.000e-07"}
    assert table["derived"].tolist() == [None, 0, 0]


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match="empty table"):
        certificate_table(certificates().iloc[:0])
