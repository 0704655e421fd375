"""Keep a data set in one HDF5 file: the same contents give the same bytes.

Every array is stored whole and in one piece (HDF5's contiguous layout), so that any block of rows
is one straight read, without a cache of chunks and without a decoder, and so that the bytes do not
depend on the blocks that a table was written in.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike

import h5py
import numpy as np

from starstack import __version__
from starstack.data.dataset import ARRAYS, NAMES, TABLES, Dataset, TableDigest
from starstack.errors import InputError

_ROW_VALUES = "row_values"


def write_dataset(dataset: Dataset, path: str | PathLike[str]) -> None:
    """Write a data set to `path`, replacing what is there.

    The provenance becomes attributes of the file, with ``library_version`` and ``data_sha256``
    added. Times of creation are not recorded and text has fixed width, so that equal data sets
    make equal files.

    Parameters
    ----------
    dataset : Dataset
        A data set that `starstack.data.checks.check_dataset` has passed, its tables in memory.
    path : path
        The file; a caller that may be killed moves it into place itself.

    Raises
    ------
    ValueError
        If a table of the data set is still in the file that it was read from.
    """
    tables = {table: getattr(dataset, table) for table in TABLES}
    for table, values in tables.items():
        if table in dataset.table_sha256 and not isinstance(values, np.ndarray):
            raise ValueError(f"{table} was not read; read_dataset(path, arrays=({table!r}, …))")
    block = {table: values for table, values in tables.items() if values is not None}
    write_dataset_blocks(dataset, [block], path)


def write_dataset_blocks(
    header: Dataset, blocks: Iterable[Mapping[str, np.ndarray]], path: str | PathLike[str]
) -> None:
    """Write a data set of which the tables come in blocks of rows, one block in memory at a time.

    The bytes are those of `write_dataset`, whatever the size of the blocks.

    Parameters
    ----------
    header : Dataset
        All but the tables; what it has for `X`, `X_error` and `X_noiseless` is not looked at.
    blocks : iterable of mappings
        ``{"X": …, "X_error": …, "X_noiseless": …}``, each of shape (rows of the block, p), in the
        order of the rows. The first block says which tables there are, and their types.
    path : path
        The file; a caller that may be killed moves it into place itself.

    Raises
    ------
    ValueError
        If the blocks together have more or fewer rows than the header.
    """
    shape = (header.n_rows, len(header.feature_names))
    tables: dict[str, h5py.Dataset] = {}
    digests: dict[str, TableDigest] = {}
    done = 0
    with h5py.File(path, "w") as file:
        for part in ARRAYS:
            if (values := getattr(header, part)) is not None:
                file.create_dataset(part, data=_stored(values), track_times=False)
        for part in NAMES:
            names = np.array(getattr(header, part), dtype=np.str_)
            file.create_dataset(part, data=_stored(names), track_times=False)
        for name in sorted(header.row_values):
            values = _stored(header.row_values[name])
            file.create_dataset(f"{_ROW_VALUES}/{name}", data=values, track_times=False)
        for block in blocks:
            for table in TABLES if done == 0 else ():
                if table in block:
                    dtype = block[table].dtype.newbyteorder("<")
                    # Without "never", every byte would be written twice: as zero, then as itself.
                    tables[table] = file.create_dataset(
                        table, shape, dtype, track_times=False, fill_time="never"
                    )
                    digests[table] = TableDigest(dtype, shape)
            rows = slice(done, done + len(block["X"]))
            done = rows.stop
            if done > header.n_rows:
                break
            for table, stored in tables.items():
                stored[rows] = block[table]
                digests[table].update(block[table])
        if done != header.n_rows:
            raise ValueError(f"blocks have {done} rows, the header has {header.n_rows}")
        hashes = {table: digest.hexdigest() for table, digest in digests.items()}
        for table, value in hashes.items():
            tables[table].attrs["sha256"] = value
        bare = replace(header, **dict.fromkeys(TABLES), table_sha256=hashes)
        attributes = header.provenance | {
            "name": header.name,
            "task": header.task,
            "library_version": __version__,
            "data_sha256": bare.sha256(),
        }
        for key in sorted(attributes):
            file.attrs[key] = str(attributes[key])


def read_dataset(path: str | PathLike[str], arrays: Collection[str] = ("X",)) -> Dataset:
    """Read what `write_dataset` wrote.

    Parameters
    ----------
    path : path
        The file.
    arrays : collection of str
        Those of the tables ``"X"``, ``"X_error"`` and ``"X_noiseless"`` to read into memory; the
        others are None.

    Returns
    -------
    Dataset
        Its provenance also holds ``library_version`` and ``data_sha256``. What was read has been
        compared with its SHA-256.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds something else, or has none of a table that is
        asked for.
    """
    where = f"data file {path}"
    with open_dataset(path) as opened:
        for table in arrays:
            if table in TABLES and getattr(opened, table) is None:
                present = ", ".join(t for t in TABLES if getattr(opened, t) is not None)
                raise InputError(f"{where}: holds no {table}, only {present}; use a source with it")
        with _readable(where):
            tables = {
                table: _loaded(getattr(opened, table)) if table in arrays else None
                for table in TABLES
            }
        dataset = replace(opened, **tables)
    if dataset.sha256() != dataset.provenance.get("data_sha256"):
        raise InputError(
            f"{where}: the contents do not have the recorded SHA-256, so the file is damaged; "
            "remove it and load the data again"
        )
    return dataset


@contextmanager
def open_dataset(path: str | PathLike[str]) -> Iterator[Dataset]:
    """Open what `write_dataset` wrote, without reading the tables.

    Within the block, `X`, `X_error` and `X_noiseless` are arrays of the open file, from which
    slices can be read. The recorded SHA-256 is taken as it is; see `read_dataset`.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds something else.
    """
    where = f"data file {path}"
    with _readable(where):
        file = h5py.File(path, "r")
    with file:
        with _readable(where):
            dataset = _opened(file, where)
        yield dataset


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn what h5py raises into one line."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file") from None
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{where}: cannot be read as HDF5 ({' '.join(str(error).split())}); remove it and "
            "load the data again"
        ) from error


def _opened(file: h5py.File, where: str) -> Dataset:
    if lacking := [part for part in ("X", "y", "row_id", *NAMES) if part not in file]:
        raise InputError(
            f"{where}: holds no '{lacking[0]}', so it was not written by starstack; read it with "
            "data: {source: hdf5, …}"
        )
    provenance = {key: str(value) for key, value in file.attrs.items()}
    tables = {table: file[table] for table in TABLES if table in file}
    return Dataset(
        name=provenance.pop("name", ""),
        task=provenance.pop("task", ""),
        provenance=provenance,
        table_sha256={table: str(stored.attrs["sha256"]) for table, stored in tables.items()},
        row_values={name: _loaded(stored) for name, stored in file.get(_ROW_VALUES, {}).items()},
        **tables,
        **{part: _loaded(file[part]) for part in ARRAYS if part in file},
        **{part: tuple(_loaded(file[part]).tolist()) for part in NAMES},
    )


def _stored(values: np.ndarray) -> np.ndarray:
    """Return text as fixed-width UTF-8 and numbers as little-endian."""
    if values.dtype.kind != "U":
        return values.astype(values.dtype.newbyteorder("<"), copy=False)
    encoded = np.char.encode(values, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", encoded.dtype.itemsize))


def _loaded(stored: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(stored.dtype):
        return stored.asstr()[...].astype(np.str_)
    values = stored[...]
    return values.astype(values.dtype.newbyteorder("="), copy=False)
