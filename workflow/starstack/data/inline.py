"""A few rows that are written in the configuration itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from starstack.data.columns import Columns
from starstack.errors import InputError


def read_inline(
    where: str, task: str, *, rows: Sequence[Sequence[float]], labels: Sequence[Any]
) -> Columns:
    """Make columns of rows and labels.

    Parameters
    ----------
    where : str
        The data set, for the messages.
    task : str
        Unused: the labels are what they are.
    rows : sequence of sequence of float
        The features, one list per row.
    labels : sequence
        The target, one value per row.

    Raises
    ------
    InputError
        If rows differ in length.

    Examples
    --------
    >>> rows = [[1, 2], [3, 4]]
    >>> columns = read_inline("data set 'a'", "classification", rows=rows, labels=[0, 1])
    >>> columns.X.shape, list(columns.feature_names)
    ((2, 2), ['x0', 'x1'])
    """
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1:
        raise InputError(
            f"{where}: expected rows of one length, got {lengths[0]} to {lengths[-1]} numbers; "
            "write one number per feature in each row"
        )
    X = np.array(rows, dtype=np.float64)
    return Columns(
        X=X,
        feature_names=[f"x{index}" for index in range(X.shape[1])],
        targets=[np.array(labels)],
        target_names=["target"],
        provenance={"source": "inline"},
    )
