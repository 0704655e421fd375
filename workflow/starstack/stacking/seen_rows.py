"""Recognise rows by their content, so that nothing has to guess whether a row was trained on."""

import hashlib
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import sparse


def is_single_precision(X: object) -> bool:
    """Whether any of the columns holds floating-point numbers of less than 64 bits.

    Examples
    --------
    >>> is_single_precision(np.zeros((2, 2), dtype=np.float32)), is_single_precision([[1, 2]])
    (True, False)
    """
    dtypes = X.dtypes if hasattr(X, "columns") else [getattr(X, "dtype", np.dtype(float))]
    kinds = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]
    return any(getattr(d, "kind", "O") == "f" and d.itemsize < 8 for d in kinds)


def row_keys(X: object, precision: type = np.float64) -> np.ndarray:
    """Hash each row's values.

    Equal rows have equal keys wherever they stand, in a dense or a sparse matrix or a DataFrame;
    numbers are compared as floats, −0 equals 0 and every NaN every other. Columns of other types
    (strings, categories) are hashed as pandas does.

    Parameters
    ----------
    X : array, sparse matrix or DataFrame of shape (n, p)
        Rows.
    precision : type
        ``float64``, or ``float32`` to recognise rows of which one copy was rounded to it.

    Returns
    -------
    ndarray of shape (n,), hexadecimal bytes of length 32
        128-bit keys of numbers: the chance that two different rows among n share one is about
        n²/2¹²⁹. Keys of rows with columns of other types are as good as pandas' 64 bits.

    Examples
    --------
    >>> keys = row_keys(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
    (True, False)
    """
    if sparse.issparse(X):
        X = sparse.csr_array(X, dtype=precision, copy=True).astype(float)
        X.sum_duplicates()
        X.eliminate_zeros()
        data = np.where(np.isnan(X.data), np.nan, X.data)
        rows = ((X.indices[a:b], data[a:b]) for a, b in pairwise(X.indptr))
        return _digests(_entry_bytes(*row) for row in rows)
    try:
        if hasattr(X, "columns") and hasattr(X, "to_numpy"):
            values = X.to_numpy(dtype=float, na_value=np.nan)
        else:
            values = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        return _digests(key.tobytes() for key in _hash_columns(X, precision))
    values = values.astype(precision).astype(float)
    values = np.where(np.isnan(values), np.nan, values).reshape(len(values), -1)
    columns = map(np.flatnonzero, values)
    return _digests(_entry_bytes(c, row[c]) for c, row in zip(columns, values, strict=True))


def _entry_bytes(columns: np.ndarray, values: np.ndarray) -> bytes:
    """Bytes of a row's non-zero entries, the same for a dense and a sparse row."""
    return columns.astype(np.int64).tobytes() + values.tobytes()


def _hash_columns(X: object, precision: type) -> np.ndarray:
    frame = pd.DataFrame(X).infer_objects()
    frame.columns = range(frame.shape[1])
    # As float64: pandas hashes 1 and 1.0 differently.
    numbers = [i for i, dtype in frame.dtypes.items() if pd.api.types.is_numeric_dtype(dtype)]
    frame[numbers] = frame[numbers].astype(precision).astype(float) + 0.0
    return pd.util.hash_pandas_object(frame, index=False).to_numpy()


def _digests(rows: Iterable[bytes]) -> np.ndarray:
    return np.array([hashlib.blake2b(row, digest_size=16).hexdigest() for row in rows], dtype="S32")
