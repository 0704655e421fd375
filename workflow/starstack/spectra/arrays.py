"""Spectra from the arrays of an HDF5 or .npz file, or the columns of a CSV table, by name."""

import re
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import h5py
import numpy as np

from starstack.data.columns import as_names, as_numbers
from starstack.data.names import not_among
from starstack.errors import InputError
from starstack.spectra.apogee import PixelGrid, pixel_grid
from starstack.spectra.normalisation import all_pixels, check_grid, choose_pixels, features
from starstack.spectra.survey import BLOCK, Run, Survey, complete_rows

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
    wavelength : str or None
        Vacuum wavelengths in Å, shape (width,).
    row_id, group, snr : str or None
        Arrays of shape (n,) or (n, 1).
    """

    flux: str
    labels: Mapping[str, str]
    error: str | None = None
    wavelength: str | None = None
    row_id: str | None = None
    group: str | None = None
    snr: str | None = None


@dataclass(frozen=True)
class Treatment:
    """What is done to spectra that are read.

    Attributes
    ----------
    normalise : str
        ``"chip-median"`` or ``"none"``.
    drop_missing_labels : bool
        Whether spectra with a missing label are left out; if not, they are refused.
    max_error : float or None
        Pixels with a larger error, in units of the continuum, are masked.
    zero_is_missing : bool
        Whether a flux of exactly 0 stands for a pixel without flux.
    """

    normalise: str = "none"
    drop_missing_labels: bool = False
    max_error: float | None = 6.0
    zero_is_missing: bool = False

    def by_chip(self, where: str) -> bool:
        """Whether each chip is divided by its median."""
        methods = {"chip-median": True, "none": False}
        if self.normalise not in methods:
            raise not_among(where, "normalisation", self.normalise, methods)
        return methods[self.normalise]


def read_arrays(
    run: Run,
    *,
    path: str | PathLike[str],
    flux: str,
    labels: Mapping[str, str],
    error: str | None = None,
    wavelength: str | None = None,
    grid: str | None = None,
    row_id: str | None = None,
    group: str | None = None,
    snr: str | None = None,
    normalise: str = "none",
    drop_missing_labels: bool = False,
    max_error: float | None = 6.0,
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Survey:
    """Read spectra of any layout.

    Parameters
    ----------
    run : Run
    path : path
        An ``.h5`` or ``.hdf5`` file, from which blocks of rows are read, or an ``.npz`` or
        ``.csv`` file, which is read whole. The columns of a ``.csv`` file that are named `flux`
        (or `error`) and a number, such as ``f0``, ``f1``, …, are the spectra (or errors).
    flux, labels, error, wavelength, row_id, group, snr
        See `Layout`. Without errors, masked pixels hold 1 and nothing marks them.
    grid : str, optional
        The grid of APOGEE, ``"dr12"`` or ``"dr17"``, that the spectra must be on; `chips`,
        `drop_edge_pixel` and the normalisation of each chip need it.
    normalise, drop_missing_labels, max_error
        See `Treatment`.
    chips, drop_edge_pixel, pixel_step
        See `starstack.spectra.normalisation.choose_pixels`.

    Raises
    ------
    InputError
        If the file is missing or damaged, an array is missing or has another number of rows or
        pixels than expected, the wavelengths are not those of the grid, labels are missing, an
        error is zero or negative, or a spectrum has no good pixel.
    """
    layout = Layout(flux, labels, error, wavelength, row_id, group, snr)
    treatment = Treatment(normalise, drop_missing_labels, max_error)
    choice = {"chips": chips, "drop_edge_pixel": drop_edge_pixel, "pixel_step": pixel_step}
    survey = survey_of(run, path, layout, treatment, grid and pixel_grid(grid), choice)
    survey.provenance["source"] = "spectra-arrays"
    return survey


def survey_of(
    run: Run,
    path: str | PathLike[str],
    layout: Layout,
    treatment: Treatment,
    grid: PixelGrid | None,
    choice: Mapping[str, object],
) -> Survey:
    """Return the spectra of a file; `read_arrays` says what is refused."""
    where = f"{run.where}: {path}"
    by_chip = treatment.by_chip(where)
    with open_arrays(path, layout, where) as arrays:
        flux = _table(arrays, layout.flux, "flux", where)
        n_rows, width = flux.shape
        if grid is not None and width != len(grid.combined):
            raise InputError(
                f"{where}: spectra ('{layout.flux}') have {width} pixels; expected "
                f"{len(grid.combined)}, those of grid {grid.name}"
            )
        if layout.error is not None:
            error = _table(arrays, layout.error, "error", where)
            if error.shape != flux.shape:
                raise InputError(
                    f"{where}: errors ('{layout.error}') have shape {error.shape}; expected "
                    f"{flux.shape}, as the spectra"
                )
        row_id = np.arange(n_rows)
        if layout.row_id is not None:
            row_id = _column(arrays, layout.row_id, "row_id", n_rows, where)
        row_id = as_names(row_id, "row id", where)
        targets = {
            name: as_numbers(
                _column(arrays, spec, f"label {name}", n_rows, where), name, where, row_id
            )
            for name, spec in layout.labels.items()
        }
        group, values = None, {}
        if layout.group is not None:
            group = _column(arrays, layout.group, "group", n_rows, where)
            group = as_names(group, "group", where, row_id)
        if layout.snr is not None:
            snr = _column(arrays, layout.snr, "snr", n_rows, where)
            values["snr"] = as_numbers(snr, "snr", where, row_id)
        wavelength = None
        if layout.wavelength is not None:
            wavelength = _column(arrays, layout.wavelength, "wavelength", width, where)
            if wavelength.dtype.kind not in "iuf":
                raise InputError(
                    f"{where}: wavelength ('{layout.wavelength}') has type {wavelength.dtype}; "
                    "expected numbers, vacuum Å"
                )
            wavelength = wavelength.astype(np.float64)
    if grid is None:
        if by_chip or choice["drop_edge_pixel"] or len(choice["chips"]) < 3:
            raise InputError(
                f"{where}: chips, drop_edge_pixel and normalise need to know where the chips are; "
                "name the grid (data.grid)"
            )
        pixels = all_pixels(width, wavelength, choice["pixel_step"])
    else:
        if wavelength is not None:
            check_grid(wavelength, grid.wavelength, where)
        pixels = choose_pixels(grid, **choice)
    kept = complete_rows(targets, row_id, treatment.drop_missing_labels, where)

    def blocks() -> Generator[Mapping[str, np.ndarray], None, None]:
        with open_arrays(path, layout, where) as arrays:
            flux = _table(arrays, layout.flux, "flux", where)
            error = layout.error and _table(arrays, layout.error, "error", where)
            for first in range(0, n_rows, BLOCK):
                rows = kept[(kept >= first) & (kept < first + BLOCK)]
                if len(rows) == 0:
                    continue
                # One straight read, of which the rows are chosen in memory.
                span = slice(first, first + BLOCK)
                with _readable(where):
                    values = flux[span][rows - first].astype(np.float64)
                    sigma = None if error is None else error[span][rows - first].astype(np.float64)
                bad = values == 0 if treatment.zero_is_missing else np.zeros(values.shape, bool)
                yield features(
                    values,
                    sigma,
                    bad,
                    pixels,
                    row_id[rows],
                    where,
                    by_chip=by_chip,
                    max_error=treatment.max_error,
                )

    return Survey(
        targets={name: values[kept] for name, values in targets.items()},
        pixels=pixels,
        blocks=blocks(),
        row_id=row_id[kept],
        group=None if group is None else group[kept],
        row_values={name: array[kept] for name, array in values.items()},
        provenance={"path": str(path)},
    )


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
        with _readable(where):
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
def _readable(where: str) -> Iterator[None]:
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
    """Return the columns of the spectra, and of the errors in the same order, by their prefix."""
    roles = {layout.flux: "flux"} | ({layout.error: "error"} if layout.error else {})
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
                "expected an error for each flux, with the same number"
            )
    return {prefix: [f"{prefix}{number}" for number in expected] for prefix in roles}


OPENERS: dict[str, Callable[..., AbstractContextManager[Mapping[str, np.ndarray]]]] = {
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
    ".npz": _open_npz,
    ".csv": _open_csv,
}


def _table(arrays: Mapping[str, np.ndarray], name: str, role: str, where: str) -> np.ndarray:
    if name not in arrays:
        raise not_among(f"{where}: {role}", "array", name, sorted(arrays))
    with _readable(where):
        stored = arrays[name]
    if stored.ndim != 2 or stored.dtype.kind not in "iuf" or 0 in stored.shape:
        raise InputError(
            f"{where}: {role} ('{name}') has shape {stored.shape} and type {stored.dtype}; "
            f"expected numbers, spectra by pixels; correct data.{role}"
        )
    return stored


def _column(
    arrays: Mapping[str, np.ndarray], spec: str, role: str, length: int, where: str
) -> np.ndarray:
    """Return an array of one dimension, or a column of one with two."""
    name, _, column = (spec, "", "") if spec in arrays else spec.rpartition(":")
    if name not in arrays or (column and not column.isdigit()):
        raise not_among(f"{where}: {role}", "array", spec, sorted(arrays))
    with _readable(where):
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
