"""Spectra from a folder of APOGEE's apStar or aspcapStar FITS files, labels from a table.

The layout is that of the SDSS data model. Both kinds keep flux in HDU 1 and its error in HDU 2, on
the logarithmic grid that CRVAL1 and CDELT1 of HDU 1 give, 8575 pixels with gaps between the chips.

- apStar: HDU 3 is the bit mask of each pixel. Of a star with several visits, rows 0 and 1 are two
  combinations (weighted by pixel, and by visit) and rows 2, 3, … the visits; of one with a single
  visit, row 0 is that visit.
- aspcapStar: one spectrum, divided by the continuum; HDU 3 is the best fit, which is not read.
  Bad pixels have large errors.
"""

import csv
import logging
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from starstack.data.columns import as_numbers
from starstack.data.names import not_among
from starstack.data.table import SEPARATORS, read_table
from starstack.errors import InputError
from starstack.spectra.apogee import LOG_START, LOG_STEP, N_COMBINED, pixel_grid
from starstack.spectra.arrays import Treatment
from starstack.spectra.normalisation import GRID_TOLERANCE, check_level, choose_pixels, features
from starstack.spectra.survey import BLOCK, Run, Survey, complete_rows

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

logger = logging.getLogger(__name__)

# APOGEE_PIXMASK (Holtzman et al. 2015, AJ 150, 148): 0 to 7 are bad pixels of any kind, 12 is near
# a bright sky line, 13 strong telluric absorption.
BAD_BITS = (0, 1, 2, 3, 4, 5, 6, 7, 12, 13)

# Whether the files of a kind have a mask, by how their names begin.
KINDS = {"apStar": True, "asStar": True, "aspcapStar": False}

# Names of stars by their coordinates, as APOGEE writes them, in the names of files.
_STAR = re.compile(r"(?<=-)(?:2M|[A-Z]+)\d+[+-]\d+")
# What else those begin with: the kind, and the versions of the reductions.
_VERSIONS = re.compile(r"[a-z]+Star-(?:(?:[rsvlt]|dr)\d[\w.]*-)*")

# What reading a file that is cut short or of another kind was seen to raise, and to warn of.
_UNREADABLE = (OSError, ValueError, TypeError, IndexError, AttributeError, KeyError)
_CUT_SHORT = re.compile(r"File may have been truncated|Error validating header")

# Bits of a mask of 64-bit integers, without its sign.
_N_BITS = 63

_LABELS = {"teff": "TEFF", "logg": "LOGG", "fe_h": "FE_H"}


@dataclass(frozen=True)
class Spectrum:
    """Where one spectrum is.

    Attributes
    ----------
    path : Path
        The file.
    row : int
        The row of its images.
    star : str
        Name of the star.
    row_id : str
        Name of the spectrum.
    snr : float
        Signal-to-noise ratio, not a number if the header does not say.
    """

    path: Path
    row: int
    star: str
    row_id: str
    snr: float


def read_fits(
    run: Run,
    *,
    path: str | PathLike[str],
    labels_file: str | PathLike[str],
    pattern: str = "*.fits",
    id_column: str = "APOGEE_ID",
    labels: Mapping[str, str] = _LABELS,
    spectra: str = "combined",
    bad_bits: Sequence[int] = BAD_BITS,
    grid: str = "dr12",
    normalise: str = "chip-median",
    drop_missing_labels: bool = False,
    max_error: float | None = 6.0,
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Survey:
    """Read the spectra of a folder, file by file.

    Parameters
    ----------
    run : Run
    path : path
        The folder.
    labels_file : path
        A ``.csv`` or ``.tsv`` table with one line per star. Files of stars that it does not list
        are left out, which is logged.
    pattern : str
        Which files of the folder are read; ``**/*.fits`` also looks into its subfolders.
    id_column : str
        The column of `labels_file` that names the star as the files do (``OBJID`` of the header).
    labels : mapping of str to str
        Names of the targets, and of the columns that hold them.
    spectra : str
        ``"combined"``, one spectrum per star, or ``"visits"``, which no split divides.
    bad_bits : sequence of int
        Bits of the mask for which a pixel is masked.
    grid : str
        Which pixels are used, ``"dr12"`` or ``"dr17"``.
    normalise, drop_missing_labels, max_error
        See `starstack.spectra.arrays.Treatment`.
    chips, drop_edge_pixel, pixel_step
        See `starstack.spectra.normalisation.choose_pixels`.

    Raises
    ------
    InputError
        If there are no files, one is cut short, of another kind or on another grid, no star of
        theirs has labels, labels are missing, an error is zero or negative, a spectrum has no good
        pixel, or spectra that are not normalised are far from 1.
    """
    chosen = {"combined": False, "visits": True}
    if spectra not in chosen:
        raise not_among(run.where, "kind of spectra", spectra, chosen)
    if odd := [bit for bit in bad_bits if not 0 <= bit < _N_BITS]:
        raise InputError(f"{run.where}: bit {odd[0]} of data.bad_bits; expected 0 to {_N_BITS - 1}")
    treatment = Treatment(normalise, drop_missing_labels, max_error)
    treatment.check(run.where)
    stars = _read_labels(labels_file, id_column, labels, run.where)
    found = _find(Path(path), pattern, chosen[spectra], run.where)
    listed = [spectrum for spectrum in found if spectrum.star in stars]
    if not listed:
        raise InputError(
            f"{run.where}: none of the {len(found)} spectra of {path}, such as that of "
            f"'{found[0].star}', is listed in column '{id_column}' of {labels_file}"
        )
    if len(listed) < len(found):
        unknown = len(found) - len(listed)
        first = next(spectrum.star for spectrum in found if spectrum.star not in stars)
        logger.warning(
            "%s: left out %d spectra without labels, such as that of '%s'",
            run.where,
            unknown,
            first,
        )
    row_id = np.array([spectrum.row_id for spectrum in listed])
    values = np.array([stars[spectrum.star] for spectrum in listed])
    targets = dict(zip(labels, values.T, strict=True))
    kept = complete_rows(targets, row_id, drop_missing_labels, run.where)
    listed, row_id = [listed[row] for row in kept], row_id[kept]
    pixels = choose_pixels(
        pixel_grid(grid), chips=chips, drop_edge_pixel=drop_edge_pixel, pixel_step=pixel_step
    )
    combined = pixel_grid(grid).combined

    def blocks() -> Generator[Mapping[str, np.ndarray], None, None]:
        for first in range(0, len(listed), BLOCK):
            rows = [_read(spectrum, bad_bits, run.where) for spectrum in listed[first:][:BLOCK]]
            flux, error, bad = (np.array(part)[:, combined] for part in zip(*rows, strict=True))
            if first == 0 and normalise == "none":
                check_level(flux, error, bad, run.where)
            yield features(
                flux,
                error,
                bad,
                pixels,
                row_id[first : first + BLOCK],
                run.where,
                method=normalise,
                max_error=max_error,
            )

    return Survey(
        targets={name: array[kept] for name, array in targets.items()},
        pixels=pixels,
        blocks=blocks(),
        row_id=row_id,
        group=np.array([s.star for s in listed]) if chosen[spectra] else None,
        row_values={"snr": np.array([spectrum.snr for spectrum in listed])},
        provenance={"source": "apogee-fits", "path": str(path), "labels_file": str(labels_file)},
    )


def _read_labels(
    path: str | PathLike[str], id_column: str, labels: Mapping[str, str], where: str
) -> dict[str, list[float]]:
    """Return the labels of each star by its name."""
    _check_columns(path, id_column, labels, where)
    table = read_table(
        where,
        "classification",  # keeps the cells as text: a label that is missing may be written so
        path=path,
        target=list(labels.values()),
        features=[],
        row_id=id_column,
    )
    columns = [
        as_numbers(values, f"column '{name}'", f"{where}: {path}", table.row_id)
        for name, values in zip(table.target_names, table.targets, strict=True)
    ]
    names = np.char.strip(table.row_id)
    stars, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{where}: {path} has {counts.max()} lines for star '{stars[counts.argmax()]}'; "
            "expected one per star"
        )
    return dict(zip(names.tolist(), np.column_stack(columns).tolist(), strict=True))


def _check_columns(
    path: str | PathLike[str], id_column: str, labels: Mapping[str, str], where: str
) -> None:
    """Name the options that are wrong as the configuration does; `read_table` does not know it."""
    if not Path(path).is_file():
        raise InputError(f"{where}: there is no file {path}; correct data.labels_file")
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        separator = SEPARATORS.get(Path(path).suffix.lower(), ",")
        header = next(csv.reader(file, delimiter=separator), [])
    named = [("id_column", id_column), *(("labels", name) for name in labels.values())]
    for option, name in named:
        if name not in header:
            raise not_among(f"{where}: data.{option}: {path}", "column", name, header)


def _find(folder: Path, pattern: str, visits: bool, where: str) -> list[Spectrum]:
    """List the spectra of a folder by the headers of its files, in the order of their names."""
    if not folder.is_dir():
        raise InputError(f"{where}: there is no folder {folder}; correct data.path")
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise InputError(f"{where}: no file of {folder} matches '{pattern}'; correct data.pattern")
    spectra: list[Spectrum] = []
    seen: dict[str, Path] = {}
    for path in paths:
        has_visits = KINDS[_kind(path, where)]
        with _opened(path, where) as hdus:
            header = hdus[0].header
            star = str(header.get("OBJID", "")).strip() or _star_of(path)
            snr = _number(header, "SNR")
            rows = hdus[1].header.get("NAXIS2", 1)
            ratios = [_number(header, f"SNRVIS{visit}") for visit in range(1, rows + 1)]
        if star in seen:
            raise InputError(
                f"{where}: star '{star}' is in {seen[star].name} and in {path.name}; keep one file "
                "per star"
            )
        seen[star] = path
        if not visits:
            spectra.append(Spectrum(path, 0, star, star, snr))
            continue
        if not has_visits:
            raise InputError(
                f"{where}: {path.name} has no visits; set spectra: combined, or give apStar files"
            )
        first = 2 if rows > 2 else 0
        spectra += [
            Spectrum(path, row, star, f"{star}-{visit}", ratios[visit - 1])
            for visit, row in enumerate(range(first, max(rows, 1)), start=1)
        ]
    return spectra


def _kind(path: Path, where: str) -> str:
    for kind in KINDS:
        if path.name.startswith(f"{kind}-"):
            return kind
    raise InputError(
        f"{where}: cannot tell what {path.name} is; expected a name that begins with "
        f"{', '.join(f'{kind}-' for kind in KINDS)}; correct data.pattern"
    )


def _star_of(path: Path) -> str:
    """Return the star that the name of a file is made of.

    Examples
    --------
    >>> _star_of(Path("aspcapStar-r5-v603-2M00000001-1234561.fits"))
    '2M00000001-1234561'
    >>> _star_of(Path("apStar-r5-VESTA.fits"))
    'VESTA'
    """
    found = _STAR.search(path.stem)
    return found[0] if found else _VERSIONS.sub("", path.stem, count=1)


def _number(header: Mapping[str, object], key: str) -> float:
    """Return a value of a header, not a number where it has none or text."""
    try:
        return float(header.get(key, np.nan))
    except (TypeError, ValueError):
        return float("nan")


def _opened(path: Path, where: str) -> "HDUList":
    from astropy.io import fits

    needed = 4 if KINDS[_kind(path, where)] else 3
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdus = fits.open(path, memmap=False)
            complete = len(hdus) >= needed and hdus[1].header.get("NAXIS1") is not None
        # Astropy only warns of a file that is cut short.
        faults = [str(w.message) for w in caught if _CUT_SHORT.match(str(w.message))]
        if faults or not complete:
            hdus.close()
            raise OSError(faults[0] if faults else f"{len(hdus)} of {needed} HDUs with images")
    except _UNREADABLE as error:
        raise InputError(
            f"{where}: {path.name} cannot be read as an APOGEE spectrum "
            f"({' '.join(str(error).split())}); the file is cut short or of another kind: copy or "
            "download it again, or correct data.pattern"
        ) from error
    return hdus


def _read(
    spectrum: Spectrum, bad_bits: Sequence[int], where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux, error and which pixels are bad, each of shape (8575,)."""
    has_mask = KINDS[_kind(spectrum.path, where)]
    with _opened(spectrum.path, where) as hdus:
        _check_header(hdus[1].header, f"{where}: {spectrum.path.name}")
        try:
            images = [np.atleast_2d(hdus[i].data) for i in ((1, 2, 3) if has_mask else (1, 2))]
            parts = [image[spectrum.row] for image in images]
        except _UNREADABLE as error:
            raise InputError(
                f"{where}: {spectrum.path.name} cannot be read to its end "
                f"({' '.join(str(error).split())}); the file is cut short: copy or download it "
                "again"
            ) from error
    for what, part in zip(("flux", "error", "mask"), parts, strict=False):
        if part.shape != (N_COMBINED,) or part.dtype.kind not in "iuf":
            raise InputError(
                f"{where}: {spectrum.path.name}: {what} has shape {part.shape} and type "
                f"{part.dtype} in each row; expected {N_COMBINED} numbers: copy or download it "
                "again"
            )
    flux, error = (part.astype(np.float64) for part in parts[:2])
    bad = np.zeros(flux.shape, dtype=bool)
    if has_mask:
        bits = sum(1 << bit for bit in set(bad_bits))
        bad = (parts[2].astype(np.int64) & bits) != 0
    # Where no detector looks, flux and error are 0, and no bit need be set.
    bad |= (flux == 0) & (error == 0)
    return flux, error, bad


def _check_header(header: Mapping[str, object], where: str) -> None:
    if header["NAXIS1"] != N_COMBINED:
        raise InputError(
            f"{where}: has {header['NAXIS1']} pixels; expected {N_COMBINED}, as "
            "combined spectra of APOGEE; correct data.pattern"
        )
    expected = {"CRVAL1": LOG_START, "CDELT1": LOG_STEP}
    for key, value in expected.items():
        found = _number(header, key)
        # A step that is off by this much shifts the last pixel by a tenth of a pixel.
        allowed = GRID_TOLERANCE * LOG_STEP / (N_COMBINED if key == "CDELT1" else 1)
        if not abs(found - value) <= allowed:
            raise InputError(
                f"{where}: the wavelength grid differs: {key} is {found:g}, expected {value:g} "
                "(log10 of vacuum Å)"
            )
