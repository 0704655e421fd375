import numpy as np
import pandas as pd

from starstack.tables.budget import read_budget_table
from starstack.tables.results import RESULT_TABLES, write_csv


def test_correlations_come_back_beside_the_fixed_columns(tmp_path):
    columns = RESULT_TABLES["error_budget"]
    rows = {name: ["x", "y"] if kind is str else [0.1, 1 / 3] for name, kind in columns.items()}
    rows["row_id"] = ["007", "NA"]
    table = pd.DataFrame(rows | {"correlation_teff": [1.0, np.nan], "correlation_x": [0.1, 1 / 7]})
    write_csv(table, tmp_path / "budget.csv")
    pd.testing.assert_frame_equal(read_budget_table(tmp_path / "budget.csv"), table)
