"""Keep a data set in one HDF5 file: the same contents give the same bytes."""

from os import PathLike

import h5py
import numpy as np

from starstack import __version__
from starstack.data.dataset import ARRAYS, NAMES, Dataset
from starstack.errors import InputError


def write_dataset(dataset: Dataset, path: str | PathLike[str]) -> None:
    """Write a data set to `path`, replacing what is there.

    The provenance becomes attributes of the file, with ``library_version`` and ``data_sha256``
    added. Times of creation are not recorded and text has fixed width, so that equal data sets
    make equal files.

    Parameters
    ----------
    dataset : Dataset
        A data set that `starstack.data.checks.check_dataset` has passed.
    path : path
        The file; a caller that may be killed moves it into place itself.
    """
    attributes = dataset.provenance | {
        "name": dataset.name,
        "task": dataset.task,
        "library_version": __version__,
        "data_sha256": dataset.sha256(),
    }
    with h5py.File(path, "w") as file:
        for key in sorted(attributes):
            file.attrs[key] = str(attributes[key])
        for part in ARRAYS:
            if (values := getattr(dataset, part)) is not None:
                file.create_dataset(part, data=_stored(values), track_times=False)
        for part in NAMES:
            names = np.array(getattr(dataset, part), dtype=np.str_)
            file.create_dataset(part, data=_stored(names), track_times=False)


def read_dataset(path: str | PathLike[str]) -> Dataset:
    """Read what `write_dataset` wrote.

    Returns
    -------
    Dataset
        Its provenance also holds ``library_version`` and ``data_sha256``.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds something else.
    """
    where = f"data file {path}"
    try:
        with h5py.File(path, "r") as file:
            provenance = {key: str(value) for key, value in file.attrs.items()}
            parts = {part: _loaded(file[part]) for part in (*ARRAYS, *NAMES) if part in file}
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file") from None
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{where}: cannot be read as HDF5 ({' '.join(str(error).split())}); remove it and "
            "load the data again"
        ) from error
    if lacking := [part for part in ("X", "y", "row_id", *NAMES) if part not in parts]:
        raise InputError(
            f"{where}: holds no '{lacking[0]}', so it was not written by starstack; read it with "
            "data: {source: hdf5, …}"
        )
    names = {part: tuple(parts.pop(part).tolist()) for part in NAMES}
    dataset = Dataset(
        name=provenance.pop("name", ""),
        task=provenance.pop("task", ""),
        provenance=provenance,
        **parts,
        **names,
    )
    if dataset.sha256() != provenance.get("data_sha256"):
        raise InputError(
            f"{where}: the contents do not have the recorded SHA-256, so the file is damaged; "
            "remove it and load the data again"
        )
    return dataset


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
