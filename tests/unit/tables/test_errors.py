import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.errors import errors_table
from starstack.tables.measurement import Measurement

COLUMNS = ["study", "estimator", "role", "output", "snr", "statistic", "value"]
COLUMNS += ["standard_error", "n"]


def errors():
    rows = [
        ("s", name, role, output, snr, statistic, value, 0.5, n)
        for name, role in (("ridge", "base"), ("net", "network"))
        for snr, n in (("all", 30), ("20-50", 10))
        for output, scale in (("teff", 100.0), ("logg", 0.1))
        for statistic, value in (("median", scale), ("mad_scatter", 2 * scale))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_one_row_per_estimator_and_bin_and_base_models_over_all_rows_only():
    table = errors_table(errors())
    assert table.index.tolist() == [("ridge", "all", 30), ("net", "all", 30), ("net", "20–50", 10)]
    assert table.index.names == ["Estimator", "S/N", "n"]


def test_without_bins_there_is_no_column_of_them():
    table = errors_table(errors().query("snr == 'all'"))
    assert table.index.names == ["Estimator", "n"] and len(table) == 2


def test_cells_are_values_with_errors_in_the_order_of_the_data():
    table = errors_table(errors())
    assert table.columns.tolist()[:2] == [("teff", "bias"), ("teff", "MAD scatter")]
    assert table.loc[("net", "20–50", 10), ("logg", "MAD scatter")] == Measurement(0.2, 0.5)


def test_targets_bear_their_words_and_units():
    table = errors_table(errors(), {"teff": "Teff (K)"})
    assert list(dict.fromkeys(target for target, _ in table.columns)) == ["Teff (K)", "logg"]


def test_missing_columns_are_named():
    with pytest.raises(InputError, match="snr"):
        errors_table(errors().drop(columns="snr"))
