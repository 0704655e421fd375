"""The arrays of an HDF5 or .npz file, or the columns of a CSV table, by name."""

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import h5py
import numpy as np

from starstack.data.names import not_among
from starstack.errors import InputError

# What reading a file that is cut short or of another kind was seen to raise.
_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Layout:
    """The names of the arrays in a file.

    Attributes
    ----------
    flux : str
        Spectra, shape (n, width).
    labels : mapping of str to str
        Names of the targets, and of the arrays of shape (n,) or (n, 1) that hold them;
        ``"labels:2"`` is a column of an array of shape (n, k).
    error : str or None
        Standard deviations of the noise, shape (n, width).
    mask : str or None
        Which pixels are masked, shape (n, width): those that are neither 0 nor False.
    wavelength : str or None
        Vacuum wavelengths in Å, shape (width,).
    row_id, group, snr : str or None
        Arrays of shape (n,) or (n, 1).
    """

    flux: str
    labels: Mapping[str, str]
    error: str | None = None
    mask: str | None = None
    wavelength: str | None = None
    row_id: str | None = None
    group: str | None = None
    snr: str | None = None


@contextmanager
def open_arrays(
    path: str | PathLike[str], layout: Layout, where: str
) -> Iterator[Mapping[str, np.ndarray]]:
    """Open a file as a mapping of array names to what can be sliced into an array.

    Raises
    ------
    InputError
        If the file is missing, cut short, or of another kind.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in OPENERS:
        raise InputError(
            f"{where}: expected a name ending in {', '.join(OPENERS)}; correct data.path"
        )
    check_file(path, where)
    with ExitStack() as stack:
        with readable(where):
            arrays = stack.enter_context(OPENERS[suffix](path, layout, where))
        yield arrays


def check_file(path: str | PathLike[str], where: str) -> None:
    """Refuse a path at which there is nothing, or a folder.

    Raises
    ------
    InputError
    """
    if Path(path).is_dir():
        raise InputError(f"{where}: is a folder, expected a file; correct data.path")
    if not Path(path).exists():
        raise InputError(f"{where}: there is no such file; correct data.path")


def reason(error: Exception) -> str:
    """Return what an error says, on one line."""
    # NumPy advises to load what came as pickle, which may run any code.
    if "pickle" in str(error):
        return "not arrays of numbers or text"
    return " ".join(str(error).split())


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Tell the user of a file that cannot be opened or sliced."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{where}: cannot be read ({reason(error)}); the file is cut short or of another kind: "
            "copy or download it again"
        ) from error


@contextmanager
def _open_hdf5(
    path: str | PathLike[str], layout: Layout, where: str
) -> Iterator[Mapping[str, h5py.Dataset]]:
    with h5py.File(path, "r") as file:
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(
            lambda name, item: (
                arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None
            )
        )
        yield arrays


@contextmanager
def _open_npz(
    path: str | PathLike[str], layout: Layout, where: str
) -> Iterator[Mapping[str, np.ndarray]]:
    with open_npz(path) as arrays:
        yield arrays


@contextmanager
def open_npz(path: str | PathLike[str]) -> Iterator[Mapping[str, np.ndarray]]:
    """Open an .npz file, without pickle."""
    if not zipfile.is_zipfile(path):
        # Of such a file, NumPy returns the one array of .npy, or advises to unpickle it.
        raise zipfile.BadZipFile("it is no archive of arrays")
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays


@contextmanager
def _open_csv(
    path: str | PathLike[str], layout: Layout, where: str
) -> Iterator[Mapping[str, np.ndarray]]:
    import pandas as pd

    frame = pd.read_csv(path)
    arrays = {name: frame[name].to_numpy() for name in frame.columns}
    arrays |= {
        prefix: frame[columns].to_numpy()
        for prefix, columns in _pixel_columns(frame.columns, layout, where).items()
    }
    yield arrays


def _pixel_columns(names: Sequence[str], layout: Layout, where: str) -> dict[str, list[str]]:
    """Return the columns of spectra, errors and mask, in the same order, by their prefix."""
    roles = {layout.flux: "flux", layout.error: "error", layout.mask: "mask"}
    roles = {prefix: role for prefix, role in roles.items() if prefix}
    taken = {layout.row_id, layout.group, layout.snr, layout.wavelength, *layout.labels.values()}
    numbers: dict[str, list[str]] = {}
    # The longer prefix first: a column 'f10' of errors 'f1' is none of the fluxes 'f'.
    for prefix in sorted(roles, key=len, reverse=True):
        pattern = re.compile(re.escape(prefix) + r"(\d+(\.\d+)?)")
        found = {name: match[1] for name in names if (match := pattern.fullmatch(name))}
        numbers[prefix] = [number for name, number in found.items() if name not in taken]
        taken.update(found)
        if not numbers[prefix]:
            raise InputError(
                f"{where}: no column is named '{prefix}' and a number, such as '{prefix}0'; "
                f"correct data.{roles[prefix]}, or rename the columns"
            )
    expected = numbers[layout.flux]
    for prefix, found in numbers.items():
        if odd := sorted(set(found) ^ set(expected)):
            raise InputError(
                f"{where}: only one of '{layout.flux}{odd[0]}' and '{prefix}{odd[0]}' is a column; "
                f"expected {roles[prefix]} and flux of each pixel, with the same number"
            )
    return {prefix: [f"{prefix}{number}" for number in expected] for prefix in roles}


OPENERS: dict[str, Callable[..., AbstractContextManager[Mapping[str, np.ndarray]]]] = {
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
    ".npz": _open_npz,
    ".csv": _open_csv,
}


def find_table(arrays: Mapping[str, np.ndarray], name: str, role: str, where: str) -> np.ndarray:
    """Return an array of spectra by pixels, which may still be on disk: numbers, or a mask.

    Raises
    ------
    InputError
        If there is none of that name, or it is of another kind.
    """
    if name not in arrays:
        raise not_among(f"{where}: {role}", "array", name, sorted(arrays))
    with readable(where):
        stored = arrays[name]
    kinds = "iufb" if role == "mask" else "iuf"
    if stored.ndim != 2 or stored.dtype.kind not in kinds or 0 in stored.shape:
        raise InputError(
            f"{where}: {role} ('{name}') has shape {stored.shape} and type {stored.dtype}; "
            f"expected numbers, spectra by pixels; correct data.{role}"
        )
    return stored


def find_column(
    arrays: Mapping[str, np.ndarray], spec: str, role: str, length: int, where: str
) -> np.ndarray:
    """Return an array of one dimension, or a column of one with two.

    Raises
    ------
    InputError
        If there is none of that name, it has another length, or is not text in UTF-8.
    """
    name, _, column = (spec, "", "") if spec in arrays else spec.rpartition(":")
    if name not in arrays or (column and not column.isdigit()):
        raise not_among(f"{where}: {role}", "array", spec, sorted(arrays))
    with readable(where):
        values = arrays[name][...]
    try:
        values = _stripped(values)
    except UnicodeDecodeError:
        raise InputError(
            f"{where}: {role} ('{spec}') is not text in UTF-8; encode it as UTF-8"
        ) from None
    if column and values.ndim == 2 and int(column) < values.shape[1]:
        values = values[:, int(column)]
    elif values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (length,):
        raise InputError(
            f"{where}: {role} ('{spec}') has shape {values.shape}; expected ({length},), or a "
            f"column of a table, as '{name}:0'"
        )
    return values


def _stripped(values: np.ndarray) -> np.ndarray:
    """Decode text, without the blanks that pad it: visits of one star may be padded differently."""
    if values.dtype.kind not in "SUO":
        return values
    cells = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values.ravel().tolist()]
    cells = [cell.strip() if isinstance(cell, str) else cell for cell in cells]
    kind = object if values.dtype.kind == "O" else np.str_
    return np.array(cells, dtype=kind).reshape(values.shape)
