"""New rows to predict: columns by name, as those of the training rows, and nothing missing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import numpy as np

from starstack.data.checks import check_block
from starstack.errors import InputError

_WHERE = "new rows"


def values_of(X: Any, feature_names: Sequence[str]) -> Any:
    """Give the values of a data frame whose columns are those of the training rows.

    Parameters
    ----------
    X : DataFrame or ndarray
        Numbers in an array are given back as they are, a masked array with NaN for what is masked.
        The columns of a data frame are taken as they stand where they are only numbered.
    feature_names : sequence of str
        Columns of the training rows; empty if they had no names.

    Returns
    -------
    ndarray of shape (n, p)
        Of float64, or `X` itself.

    Raises
    ------
    InputError
        If there are no rows and columns, X is a table of another kind or sparse, the columns have
        other names or another order, or a value is no number.

    Examples
    --------
    >>> import pandas as pd
    >>> values_of(pd.DataFrame({"colour": [1], "mag": [2]}), ["colour", "mag"]).tolist()
    [[1.0, 2.0]]
    """
    _check_table(X)
    if not hasattr(X, "columns"):
        return _numbers(X)
    given = X.columns.tolist()
    if feature_names and not all(isinstance(name, int) for name in given):
        for number, (found, wanted) in enumerate(zip_longest(given, feature_names), start=1):
            if found != wanted:
                was = "missing" if found is None else f"'{found}'"
                expected = "no more columns" if wanted is None else f"'{wanted}'"
                raise InputError(
                    f"{_WHERE}: column {number} is {was}, expected {expected}; give the "
                    f"{len(feature_names)} columns of the training rows, by name and in their order"
                )
    for name, kind in X.dtypes.items():
        if getattr(kind, "kind", "O") in "mMc":
            raise InputError(
                f"{_WHERE}: column '{name}' is of type {kind}; expected numbers, as it has in the "
                "training rows"
            )
    with _only_numbers():
        return X.to_numpy(dtype=np.float64, na_value=np.nan)


def names_of(X: Any) -> Sequence[object]:
    """Give the names of rows: the index of a data frame, else their numbers."""
    _check_table(X)
    return X.index if hasattr(X, "columns") else range(X.shape[0])


def check_values(
    values: np.ndarray, row_names: Sequence[object], feature_names: Sequence[str]
) -> None:
    """Refuse values that are missing or infinite.

    Parameters
    ----------
    values : ndarray of shape (n, p)
    row_names : sequence of length n
        What the message names.
    feature_names : sequence of str
        Of the columns; they are numbered if it is empty.

    Raises
    ------
    InputError
        Naming the first column, and its first row, that is not finite.
    """
    columns = feature_names or range(values.shape[1])
    check_block({"X": values}, row_names, columns, _WHERE)


def _numbers(X: Any) -> Any:
    """Give an array of numbers, those of Python's own types as float64."""
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if kind in "mMc":
        raise InputError(f"{_WHERE}: expected numbers, got values of type {X.dtype}")
    if np.ma.isMaskedArray(X):
        with _only_numbers():
            return np.ma.filled(X.astype(np.float64), np.nan)
    if kind in "biuf":
        return X
    with _only_numbers():
        return np.asarray(X, dtype=np.float64)


@contextmanager
def _only_numbers() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{_WHERE}: expected numbers in all columns ({' '.join(str(error).split())}); turn "
            "text into numbers as it was done for the training rows"
        ) from None


# Attributes of tables and matrices of other packages, and what makes an array or a data frame.
_OTHER_KINDS = {
    "to_pandas": "X.to_pandas()",  # Polars, Astropy, PyArrow
    "toarray": "X.toarray()",  # SciPy
}


def _check_table(X: Any) -> None:
    for attribute, remedy in _OTHER_KINDS.items():
        if hasattr(X, attribute):
            raise InputError(
                f"{_WHERE}: expected a pandas data frame or an array, got "
                f"{type(X).__module__.partition('.')[0]}'s {type(X).__name__}; give {remedy}"
            )
    if len(getattr(X, "shape", ())) < 2:
        raise InputError(
            f"{_WHERE}: expected a data frame or an array of rows and columns, got "
            f"{type(X).__name__}{f' of shape {X.shape}' if hasattr(X, 'shape') else ''}; give one "
            "row as X[:1]"
        )
