"""J·G = I + D as a table of a paper."""

from collections.abc import Mapping

import pandas as pd

from starstack.tables.measurement import Measurement
from starstack.tables.summaries import require_columns


def identity_table(identity: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Lay out J·G with a row per network and predicted label, and a column per true label.

    Parameters
    ----------
    identity : DataFrame
        Rows of jacobian_identity.csv of one study.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    DataFrame
        Index Network, Prediction, n; for each true label the mean with its standard error, and the
        standard deviation over stars, both in the unit of the prediction over that of the label.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    columns = ("network", "output", "label", "mean", "standard_error", "spread", "n", "unit")
    require_columns(identity, columns, "jacobian_identity")
    words = dict(labels or {})
    cells: dict[tuple, dict[tuple, object]] = {}
    for row in identity.to_dict("records"):
        output = words.get(row["output"], row["output"])
        label = words.get(row["label"], row["label"])
        cell = cells.setdefault((row["network"], output, row["n"]), {})
        cell[f"per {label}", "mean"] = Measurement(row["mean"], row["standard_error"])
        cell[f"per {label}", "spread"] = Measurement(row["spread"], digits=3)
    keys = list(dict.fromkeys(key for cell in cells.values() for key in cell))
    return pd.DataFrame(
        [[cell.get(key) for key in keys] for cell in cells.values()],
        index=pd.MultiIndex.from_tuples(list(cells), names=["Network", "Prediction", "n"]),
        columns=pd.MultiIndex.from_tuples(keys),
        dtype=object,
    )
