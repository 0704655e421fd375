"""Spectra from the arrays of an HDF5 or .npz file, or the columns of a CSV table, by name."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from starstack.data.columns import as_names, as_numbers
from starstack.data.names import not_among
from starstack.errors import InputError
from starstack.spectra.apogee import PixelGrid, pixel_grid
from starstack.spectra.array_files import Layout, find_column, find_table, open_arrays, readable
from starstack.spectra.normalisation import (
    METHODS,
    all_pixels,
    check_grid,
    check_level,
    choose_pixels,
    features,
)
from starstack.spectra.survey import BLOCK, Run, Survey, complete_rows


@dataclass(frozen=True)
class Treatment:
    """What is done to spectra that are read.

    Attributes
    ----------
    normalise : str
        A key of `starstack.spectra.normalisation.METHODS`.
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

    def check(self, where: str) -> None:
        """Refuse a normalisation that there is not.

        Raises
        ------
        InputError
        """
        if self.normalise not in METHODS:
            raise not_among(where, "normalisation", self.normalise, METHODS)


def read_arrays(
    run: Run,
    *,
    path: str | PathLike[str],
    flux: str,
    labels: Mapping[str, str],
    error: str | None = None,
    mask: str | None = None,
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
        (or `error`, `mask`) and a number, such as ``f0``, ``f1``, …, are the spectra (or errors,
        or the mask).
    flux, labels, error, mask, wavelength, row_id, group, snr
        See `starstack.spectra.array_files.Layout`. Without errors, masked pixels hold 1 and
        nothing marks them.
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
        error is zero or negative, a spectrum has no good pixel, or spectra that are not normalised
        are far from 1.
    """
    layout = Layout(flux, labels, error, mask, wavelength, row_id, group, snr)
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
    treatment.check(where)
    with open_arrays(path, layout, where) as arrays:
        flux = find_table(arrays, layout.flux, "flux", where)
        n_rows, width = flux.shape
        if grid is not None and width != len(grid.combined):
            raise InputError(
                f"{where}: spectra ('{layout.flux}') have {width} pixels; expected "
                f"{len(grid.combined)}, those of grid {grid.name}"
            )
        for role, name in (("errors", layout.error), ("mask", layout.mask)):
            if name is None:
                continue
            shape = find_table(arrays, name, role.removesuffix("s"), where).shape
            if shape != flux.shape:
                raise InputError(
                    f"{where}: {role} ('{name}') have shape {shape}; expected {flux.shape}, as the "
                    "spectra"
                )
        row_id = np.arange(n_rows)
        if layout.row_id is not None:
            row_id = find_column(arrays, layout.row_id, "row_id", n_rows, where)
        row_id = as_names(row_id, "row id", where)
        targets = {
            name: as_numbers(
                find_column(arrays, spec, f"label {name}", n_rows, where), name, where, row_id
            )
            for name, spec in layout.labels.items()
        }
        group, values = None, {}
        if layout.group is not None:
            group = find_column(arrays, layout.group, "group", n_rows, where)
            group = as_names(group, "group", where, row_id)
        if layout.snr is not None:
            snr = find_column(arrays, layout.snr, "snr", n_rows, where)
            values["snr"] = as_numbers(snr, "snr", where, row_id)
        wavelength = None
        if layout.wavelength is not None:
            wavelength = find_column(arrays, layout.wavelength, "wavelength", width, where)
            if wavelength.dtype.kind not in "iuf":
                raise InputError(
                    f"{where}: wavelength ('{layout.wavelength}') has type {wavelength.dtype}; "
                    "expected numbers, vacuum Å"
                )
            wavelength = wavelength.astype(np.float64)
    if grid is None:
        if (
            treatment.normalise == "chip-median"
            or choice["drop_edge_pixel"]
            or len(choice["chips"]) < 3
        ):
            raise InputError(
                f"{where}: chips, drop_edge_pixel and chip-median need to know where the chips "
                "are; name the grid (data.grid)"
            )
        pixels = all_pixels(width, wavelength, choice["pixel_step"])
    else:
        if wavelength is not None:
            check_grid(wavelength, grid.wavelength, where)
        pixels = choose_pixels(grid, **choice)
    kept = complete_rows(targets, row_id, treatment.drop_missing_labels, where)
    if treatment.normalise == "none":
        some = np.unique(np.linspace(0, len(kept) - 1, BLOCK).astype(int))
        with open_arrays(path, layout, where) as arrays:
            check_level(*_read(_tables(arrays, layout, where), kept[some], treatment, where), where)

    def blocks() -> Generator[Mapping[str, np.ndarray], None, None]:
        with open_arrays(path, layout, where) as arrays:
            tables = _tables(arrays, layout, where)
            for first in range(0, n_rows, BLOCK):
                rows = kept[(kept >= first) & (kept < first + BLOCK)]
                if len(rows) == 0:
                    continue
                # One straight read, of which the rows are chosen in memory.
                span = slice(first, first + BLOCK)
                yield features(
                    *_read(tables, span, treatment, where, rows - first),
                    pixels,
                    row_id[rows],
                    where,
                    method=treatment.normalise,
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


def _tables(
    arrays: Mapping[str, np.ndarray], layout: Layout, where: str
) -> tuple[np.ndarray | None, ...]:
    """Return flux, error and mask, of which only the flux is always there."""
    names = {"flux": layout.flux, "error": layout.error, "mask": layout.mask}
    return tuple(name and find_table(arrays, name, role, where) for role, name in names.items())


def _read(
    tables: tuple[np.ndarray | None, ...],
    span: slice | np.ndarray,
    treatment: Treatment,
    where: str,
    rows: np.ndarray | slice = slice(None),
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Read flux, error and masked pixels of a span, and choose rows of it in memory."""
    with readable(where):
        flux, error, mask = (None if table is None else table[span][rows] for table in tables)
    flux = flux.astype(np.float64)
    bad = flux == 0 if treatment.zero_is_missing else np.zeros(flux.shape, bool)
    if mask is not None:
        bad |= mask != 0
    return flux, None if error is None else error.astype(np.float64), bad
