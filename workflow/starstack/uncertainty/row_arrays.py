"""Arrays of named rows in an HDF5 file, as one rule hands them to another."""

from collections.abc import Mapping, Sequence
from os import PathLike

import h5py
import numpy as np

from starstack.errors import InputError


def write_row_arrays(
    path: str | PathLike[str],
    row_id: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, str],
) -> None:
    """Write ``row_id`` and arrays by name, without times: the same rows give the same bytes.

    Parameters
    ----------
    path : path
    row_id : ndarray of str, shape (n,)
        Names of the rows.
    arrays : mapping of str to ndarray, shape (n, …)
    attributes : mapping of str to str
        What made them.
    """
    with h5py.File(path, "w") as file:
        for key, value in sorted(attributes.items()):
            file.attrs[key] = value
        names = np.char.encode(row_id.astype(str), "utf-8")
        file.create_dataset("row_id", data=names, track_times=False)
        for name, values in arrays.items():
            file.create_dataset(name, data=values, track_times=False)


def read_row_arrays(
    path: str | PathLike[str], names: Sequence[str], what: str, rule: str
) -> tuple[np.ndarray, ...]:
    """Read ``row_id`` and the named arrays that `write_row_arrays` wrote.

    Parameters
    ----------
    path : path
    names : sequence of str
        Which arrays.
    what, rule : str
        What the file holds, and the rule that makes it, for the message.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has none of a name.
    """
    try:
        with h5py.File(path, "r") as file:
            row_id = np.char.decode(file["row_id"][()], "utf-8")
            return (row_id, *(file[name][()] for name in names))
    except (OSError, KeyError) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"{path}: is not a whole file of {what} ({text}); run {rule} again"
        ) from error
