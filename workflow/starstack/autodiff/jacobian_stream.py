"""Input Jacobians of a whole data set: statistics on the way, and all of them in a file if wanted.

50,000 spectra × 3 labels × 7213 pixels are 4.3 GB. One batch is in memory at a time; means are
summed in float64. Quantiles are exact where all Jacobians are kept in the file: a second pass reads
it in blocks of columns. Otherwise they are those of a random sample of rows, drawn before the
first and held in memory; with `sample_rows` at least the number of rows that is exact, too.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.jacobian import InputJacobian
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

PROBABILITIES = (0.16, 0.5, 0.84)
# Rows and columns of a chunk of the file: a batch writes whole chunks, and a block of columns reads
# no others.
CHUNK = (256, 1, 512)
# Bytes of one block of columns, of which the quantiles take two copies.
BLOCK_BYTES = 32_000_000
# Jacobians between two lines of the log.
LOG_EVERY = 5000


@dataclass(frozen=True, eq=False)
class JacobianSummary:
    """Statistics of ∂output/∂input over the rows of a data set.

    Attributes
    ----------
    mean, mean_absolute, root_mean_square : ndarray of float64, shape (k, p)
        Over all rows.
    quantiles : ndarray of float64, shape (q, k, p)
        By linear interpolation, as ``numpy.quantile``.
    probabilities : tuple of float
        Of the quantiles.
    n_rows : int
        Rows of the data set.
    quantile_rows : int
        Rows that the quantiles were taken of.
    """

    mean: np.ndarray
    mean_absolute: np.ndarray
    root_mean_square: np.ndarray
    quantiles: np.ndarray
    probabilities: tuple[float, ...]
    n_rows: int
    quantile_rows: int

    def write(self, path: str | PathLike[str], attributes: Mapping[str, Any] | None = None) -> None:
        """Write the statistics into an HDF5 file, as ``/statistics``; attributes to its root."""
        with h5py.File(path, "a") as file:
            file.pop("statistics", None)
            group = file.create_group("statistics")
            for name in ("mean", "mean_absolute", "root_mean_square", "quantiles"):
                group.create_dataset(name, data=getattr(self, name), track_times=False)
            group.attrs["probabilities"] = self.probabilities
            group.attrs["n_rows"], group.attrs["quantile_rows"] = self.n_rows, self.quantile_rows
            for key, value in sorted((attributes or {}).items()):
                file.attrs[key] = value


def read_summary(path: str | PathLike[str]) -> JacobianSummary:
    """Read what `JacobianSummary.write` wrote.

    Raises
    ------
    InputError
        If the file holds no statistics of Jacobians.
    """
    with h5py.File(path, "r") as file:
        if "statistics" not in file:
            raise InputError(f"{path}: holds no statistics of Jacobians; make it again")
        group = file["statistics"]
        arrays = {name: values[...] for name, values in group.items()}
        return JacobianSummary(
            **arrays,
            probabilities=tuple(group.attrs["probabilities"].tolist()),
            n_rows=int(group.attrs["n_rows"]),
            quantile_rows=int(group.attrs["quantile_rows"]),
        )


def stream_input_jacobian(
    model: "keras.Model",
    X: Any,
    path: str | PathLike[str] | None = None,
    *,
    rows: np.ndarray | None = None,
    row_id: np.ndarray | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    input_scale: np.ndarray | float | None = None,
    target_scale: np.ndarray | float | None = None,
    batch_size: int = 256,
    probabilities: Sequence[float] = PROBABILITIES,
    sample_rows: int = 1000,
    seed: int = 0,
) -> JacobianSummary:
    """Differentiate the outputs with respect to the inputs, over a data set in bounded memory.

    Parameters
    ----------
    model : keras.Model
        See `starstack.autodiff.jacobian.input_jacobian`, also for the scales.
    X : array or h5py dataset of shape (n, …)
        Raw rows; a file is read a batch at a time.
    path : path, optional
        Where to write all Jacobians: an HDF5 file with ``/jacobian`` (n, k, p), float32, and
        ``/row_id``. It is there once it is whole, and replaces one that was there before.
    rows : ndarray of int, optional
        Positions of the rows to use; all by default.
    row_id : ndarray of str, shape (rows of X,), optional
        Names of the rows of X; their positions by default.
    transform : callable, optional
        From raw rows to what the model takes, such as the ``transform`` of a scaler.
    input_scale, target_scale : float or array, optional
        What turns the derivatives into physical units.
    batch_size : int
        Rows at once.
    probabilities : sequence of float
        Which quantiles to take.
    sample_rows : int
        Rows that the quantiles are taken of where no file is written.
    seed : int
        Draws these rows.

    Returns
    -------
    JacobianSummary

    Raises
    ------
    InputError
        If a derivative is NaN or infinite, `path` lies in no folder or is the file of X, an option
        is out of its range, or for what `input_jacobian` refuses.
    """
    data = Batches(X, rows=rows, transform=transform, batch_size=batch_size)
    _check_options(len(X), row_id, probabilities, sample_rows)
    if path is not None and _is_file_of(X, Path(path)):
        raise InputError(f"{path}: is the file of X, which it would replace; name another")
    positions = np.arange(data.n_rows) if rows is None else np.asarray(rows)
    names = positions.astype(str) if row_id is None else np.asarray(row_id)[positions].astype(str)
    function = InputJacobian(
        model, input_scale=input_scale, target_scale=target_scale, batch_size=data.batch_size
    )
    sink = _Sample(data.n_rows, sample_rows, seed) if path is None else _File(path, names)
    sums = None
    try:
        done = 0
        for batch in data:
            ((_, inputs),) = function.batches(batch.x, names[done:])
            jacobian = function.of_batch(inputs)[: batch.n]
            sums = sums or _Sums(jacobian.shape[1:])
            sums.add(jacobian, names[done:])
            sink.add(jacobian, done)
            if (done + batch.n) // LOG_EVERY > done // LOG_EVERY or done + batch.n == data.n_rows:
                logger.info("input Jacobians: %d of %d rows", done + batch.n, data.n_rows)
            done += batch.n
        quantiles = sink.quantiles(probabilities)
        sink.keep()
    finally:
        sink.close()
    return JacobianSummary(
        mean=sums.first / done,
        mean_absolute=sums.absolute / done,
        root_mean_square=np.sqrt(sums.squares / done),
        quantiles=quantiles,
        probabilities=tuple(map(float, probabilities)),
        n_rows=done,
        quantile_rows=sink.n_rows,
    )


def _check_options(
    n_rows: int, row_id: np.ndarray | None, probabilities: Sequence[float], sample_rows: int
) -> None:
    if row_id is not None and np.shape(row_id) != (n_rows,):
        raise InputError(
            f"row_id has shape {np.shape(row_id)}; expected ({n_rows},), as X has rows"
        )
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 1 or not given.size or not ((given >= 0) & (given <= 1)).all():
        raise InputError(f"probabilities: expected numbers from 0 to 1, got {probabilities!r}")
    if int(sample_rows) != sample_rows or sample_rows < 1:
        raise InputError(f"sample_rows is {sample_rows!r}; expected a whole number from 1")


class _Sums:
    """Running sums over rows, in float64."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.first, self.absolute, self.squares = (np.zeros(shape) for _ in range(3))

    def add(self, jacobian: np.ndarray, names: np.ndarray) -> None:
        squares = np.einsum("nkp,nkp->kp", jacobian, jacobian, dtype=np.float64)
        if not np.isfinite(squares).all():
            bad = int(np.flatnonzero(~np.isfinite(jacobian).all(axis=(1, 2)))[0])
            raise InputError(
                f"input Jacobian of row '{names[bad]}' is NaN or infinite; look for such values in "
                "the row and in the weights"
            )
        self.squares += squares
        self.first += jacobian.sum(axis=0, dtype=np.float64)
        self.absolute += np.abs(jacobian).sum(axis=0, dtype=np.float64)


class _Sample:
    """A fixed random sample of the rows, in memory."""

    def __init__(self, n_rows: int, size: int, seed: int) -> None:
        self.n_rows = min(n_rows, size)
        chosen = np.random.default_rng(seed).choice(n_rows, self.n_rows, replace=False)
        self._chosen = np.sort(chosen)
        self._kept: list[np.ndarray] = []

    def add(self, jacobian: np.ndarray, start: int) -> None:
        first, last = np.searchsorted(self._chosen, [start, start + len(jacobian)])
        self._kept.append(jacobian[self._chosen[first:last] - start])

    def quantiles(self, probabilities: Sequence[float]) -> np.ndarray:
        _, k, p = self._kept[0].shape
        found = np.empty((len(probabilities), k, p))
        for output in range(k):
            for columns in _column_blocks(self.n_rows, p):
                block = np.concatenate([part[:, output, columns] for part in self._kept])
                found[:, output, columns] = np.quantile(block, probabilities, axis=0)
        return found

    def keep(self) -> None:
        pass

    def close(self) -> None:
        self._kept.clear()


def _is_file_of(X: Any, path: Path) -> bool:
    return isinstance(X, h5py.Dataset) and path.exists() and path.samefile(X.file.filename)


class _File:
    """All rows in an HDF5 file, under another name until it is whole."""

    def __init__(self, path: str | PathLike[str], names: np.ndarray) -> None:
        self.n_rows = len(names)
        self._path = Path(path)
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise InputError(f"{path}: expected the name of a file in a folder that exists")
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._file = h5py.File(self._part, "w")
        text = np.char.encode(names, "utf-8")
        self._file.create_dataset("row_id", data=text, track_times=False)
        self._table: h5py.Dataset | None = None

    def add(self, jacobian: np.ndarray, start: int) -> None:
        if self._table is None:
            shape = (self.n_rows, *jacobian.shape[1:])
            chunks = tuple(map(min, CHUNK, shape))
            self._table = self._file.create_dataset(
                "jacobian", shape, "<f4", chunks=chunks, track_times=False, fill_time="never"
            )
        self._table[start : start + len(jacobian)] = jacobian

    def quantiles(self, probabilities: Sequence[float]) -> np.ndarray:
        n_rows, k, p = self._table.shape
        found = np.empty((len(probabilities), k, p))
        for output in range(k):
            for columns in _column_blocks(n_rows, p):
                block = self._table[:, output, columns]
                found[:, output, columns] = np.quantile(block, probabilities, axis=0)
        logger.info("quantiles of %d rows taken from the file", n_rows)
        return found

    def keep(self) -> None:
        self._file.close()
        self._part.replace(self._path)

    def close(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def _column_blocks(n_rows: int, p: int) -> list[slice]:
    """Divide columns into blocks that fit the memory, whole chunks where they can be."""
    width = max(BLOCK_BYTES // (4 * n_rows), 1)
    if width > CHUNK[2]:
        width -= width % CHUNK[2]
    return [slice(start, min(start + width, p)) for start in range(0, p, width)]
