"""J·G as a table: every pair in its cell."""

import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.jacobian import identity_table


def identity():
    names = ("teff", "fe_h")
    return pd.DataFrame(
        [
            {
                "network": network,
                "output": output,
                "label": label,
                "mean": 10.0 * i + j,
                "standard_error": 0.5,
                "spread": 1.23456,
                "n": 40,
                "unit": "K/dex",
            }
            for network in ("dense", "cnn")
            for i, output in enumerate(names)
            for j, label in enumerate(names)
        ]
    )


def test_every_pair_has_its_cell():
    table = identity_table(identity(), {"teff": "Teff (K)"})
    assert table.index.tolist() == [
        (network, output, 40) for network in ("dense", "cnn") for output in ("Teff (K)", "fe_h")
    ]
    cell = table.loc[("cnn", "fe_h", 40)]
    assert str(cell["per Teff (K)", "mean"]) == "10.00 ± 0.50"
    assert str(cell["per fe_h", "mean"]) == "11.00 ± 0.50"
    assert cell["per fe_h", "spread"].latex() == "$1.23$"


@pytest.mark.parametrize(("spread", "shown"), [(213.79, "$214$"), (0.511, "$0.511$")])
def test_a_spread_has_three_digits(spread, shown):
    table = identity_table(identity().assign(spread=spread))
    assert table.iloc[0]["per teff", "spread"].latex() == shown


def test_missing_columns_are_named():
    with pytest.raises(InputError, match="spread"):
        identity_table(identity().drop(columns="spread"))
