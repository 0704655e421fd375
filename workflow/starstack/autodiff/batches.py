"""Rows in a fixed order and in batches of one shape, from memory or from a file."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from starstack.errors import InputError

Table = Any  # of shape (n, …): an ndarray, or an array of an open HDF5 file
# Rows of a file that lie further apart than this are read one by one.
SPARSE = 8


class Batch(NamedTuple):
    """Rows of one batch; those from ``n`` on only fill it up and have weight zero."""

    x: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray
    n: int


class Batches:
    """A data set as batches of one static shape, always in the same order.

    The last batch is filled up by repeating its last row with weight zero, so that what runs on
    batches is compiled once and sums over rows are exact whatever the batch size.

    Parameters
    ----------
    X : array or h5py dataset of shape (n, …)
        Inputs. A file is read a batch at a time.
    y : array or h5py dataset of shape (n,) or (n, …), optional
        Targets; may be left out where no loss is taken.
    sample_weight : array of shape (n,), optional
        Finite and not negative; 1 by default.
    batch_size : int
        Rows per batch, at most the number of rows.
    rows : array of int, optional
        Positions of the rows to use, in this order; all by default.
    transform, target_transform : callable, optional
        Turn a block of raw rows into what the model takes and is trained on, such as
        ``Scaler.transform``. They must treat each row by itself.

    Attributes
    ----------
    n_rows : int
        Rows per pass.
    total_weight : float
        Sum of their weights.

    Examples
    --------
    >>> batches = Batches(np.arange(5.0)[:, None], batch_size=2)
    >>> [(batch.x[:, 0].tolist(), batch.weight.tolist()) for batch in batches]
    [([0.0, 1.0], [1.0, 1.0]), ([2.0, 3.0], [1.0, 1.0]), ([4.0, 4.0], [1.0, 0.0])]
    """

    def __init__(
        self,
        X: Table,
        y: Table | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        batch_size: int = 256,
        rows: np.ndarray | None = None,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        target_transform: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        X, y = _as_table(X, "X"), None if y is None else _as_table(y, "y")
        n_table = len(X)
        if y is not None and len(y) != n_table:
            raise InputError(f"y has {len(y)} rows for {n_table} rows of X")
        self._rows = np.arange(n_table) if rows is None else np.asarray(rows)
        if self._rows.ndim != 1 or (len(self._rows) and self._rows.dtype.kind not in "iu"):
            raise InputError(
                f"rows have shape {self._rows.shape} and type {self._rows.dtype}; expected a list "
                "of positions (np.flatnonzero makes one of a mask)"
            )
        if not len(self._rows):
            raise InputError("there are no rows; expected at least one")
        if self._rows.min() < 0 or self._rows.max() >= n_table:
            raise InputError(
                f"rows go from {self._rows.min()} to {self._rows.max()}; X has rows 0 to "
                f"{n_table - 1}"
            )
        if int(batch_size) != batch_size or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; expected a whole number from 1")
        self._X, self._y = X, y
        self._weight = _weights(sample_weight, n_table)[self._rows]
        self._transform, self._target_transform = transform, target_transform
        self.n_rows = len(self._rows)
        self.batch_size = min(int(batch_size), self.n_rows)
        self.total_weight = float(self._weight.sum())

    @property
    def has_targets(self) -> bool:
        """Whether there are targets."""
        return self._y is not None

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Read the batches in order."""
        for start in range(0, self.n_rows, self.batch_size):
            rows = self._rows[start : start + self.batch_size]
            x = _apply(self._transform, _read(self._X, rows), "transform")
            y = None
            if self._y is not None:
                y = _apply(self._target_transform, _read(self._y, rows), "target_transform")
            missing = self.batch_size - len(rows)
            weight = np.pad(self._weight[start : start + len(rows)], (0, missing))
            yield Batch(_fill(x, missing), _fill(y, missing), weight, len(rows))

    def parts(self) -> Iterator["Batches"]:
        """Yield the rows of each batch as a data set of its own, of batches as large."""
        for start in range(0, self.n_rows, self.batch_size):
            part, rows = object.__new__(Batches), slice(start, start + self.batch_size)
            part.__dict__ |= self.__dict__
            part._rows, part._weight = self._rows[rows], self._weight[rows]
            part.n_rows, part.total_weight = len(part._rows), float(part._weight.sum())
            yield part


def as_batches(data: "Batches | tuple", batch_size: int = 256) -> Batches:
    """Return batches as they are; make them of ``(X, y)`` or ``(X, y, sample_weight)``."""
    if isinstance(data, Batches):
        return data
    if isinstance(data, tuple) and 2 <= len(data) <= 3:
        return Batches(*data, batch_size=batch_size)
    raise InputError(
        f"data is a {type(data).__name__}; expected Batches, (X, y) or (X, y, sample_weight)"
    )


def _as_table(values: Table, name: str) -> Table:
    """Keep what is read in slices, such as an HDF5 array; make an ndarray of all else."""
    if not (hasattr(values, "shape") and hasattr(values, "dtype") and hasattr(values, "chunks")):
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise InputError(
                f"{name} is a list of parts of several shapes; expected one array, one row per "
                "example"
            ) from error
    if not values.shape or values.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has shape {values.shape} and type {values.dtype}; expected numbers, one row "
            "per example"
        )
    return values


def _weights(sample_weight: np.ndarray | None, n_rows: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n_rows)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_rows,):
        raise InputError(f"sample_weight has shape {weight.shape}; expected ({n_rows},)")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise InputError("sample_weight has values that are negative or not finite")
    return weight


def _read(table: Table, rows: np.ndarray) -> np.ndarray:
    """Read rows in any order; HDF5 itself takes rising positions only."""
    if isinstance(table, np.ndarray):
        return table[rows]
    first, last = rows.min(), rows.max() + 1
    if last - first <= SPARSE * len(rows):
        return table[first:last][rows - first]
    wanted, places = np.unique(rows, return_inverse=True)
    return table[wanted][places]


def _apply(transform: Callable | None, block: np.ndarray, name: str) -> np.ndarray:
    if transform is None:
        return block
    made = np.asarray(transform(block))
    if not made.shape or len(made) != len(block):
        raise InputError(f"{name} made shape {made.shape} of {len(block)} rows; expected one each")
    return made


def _fill(block: np.ndarray | None, missing: int) -> np.ndarray | None:
    if block is None or not missing:
        return block
    return np.concatenate([block, np.repeat(block[-1:], missing, axis=0)])
