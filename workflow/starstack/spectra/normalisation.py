"""From fluxes and errors to features: which pixels, normalised by chip, bad ones masked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from starstack.data.checks import check_errors, no_good_pixel
from starstack.data.names import not_among
from starstack.errors import InputError
from starstack.spectra.apogee import LOG_STEP, PixelGrid, pixel_grid

# What a masked pixel holds: the continuum. Its error is infinite.
FILL = 1.0

# By which medians a spectrum and its errors are divided.
METHODS: dict[str, Callable[["Pixels"], Sequence[slice]]] = {
    "chip-median": lambda pixels: pixels.chips,
    "median": lambda pixels: (slice(0, pixels.width),),
    "none": lambda pixels: (),
}

# Between these is the level of spectra for which 1 can stand as their continuum.
LEVELS = (0.2, 5.0)

# A grid is taken for the expected one if no pixel is further off than this part of a pixel.
GRID_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a study, among those that the spectra have.

    Attributes
    ----------
    width : int
        Number of pixels that the spectra come with.
    chips : tuple of slice
        What is normalised together, in pixels of the incoming spectra.
    kept : ndarray of int, shape (p,)
        Which of the incoming pixels become features.
    wavelength : ndarray, shape (p,), or None
        Vacuum wavelength of those in Å, where known.
    names : tuple of str, length p
        Names of the features: the wavelength to 0.001 Å, or x0, x1, ….
    """

    width: int
    chips: tuple[slice, ...]
    kept: np.ndarray
    wavelength: np.ndarray | None
    names: tuple[str, ...]


def choose_pixels(
    grid: PixelGrid | None = None,
    *,
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Pixels:
    """Choose the pixels of an APOGEE grid that become features.

    Parameters
    ----------
    grid : PixelGrid, optional
        By default, the 7214 pixels of DR12.
    chips : sequence of str
        Those of ``blue``, ``green`` and ``red`` that are used.
    drop_edge_pixel : bool
        Leave out the last of the chosen pixels; all three chips then have the 7213 of StarNet's
        dense networks.
    pixel_step : int
        Keep every how many pixels one.

    Raises
    ------
    InputError
        If no chip is named, there is no chip of that name, or the step is below 1.

    Examples
    --------
    >>> choose_pixels(drop_edge_pixel=True).kept.shape
    (7213,)
    >>> choose_pixels(chips=["green"], pixel_step=4).names[:2]
    ('15881.371', '15882.249')
    """
    grid = pixel_grid() if grid is None else grid
    _check_step(pixel_step)
    if len(chips) == 0:
        raise InputError(f"chips: is empty; expected some of {', '.join(grid.chips)}")
    for chip in chips:
        if chip not in grid.chips:
            raise not_among("chips", "chip", chip, grid.chips)
    spans = [span for chip, span in grid.chips.items() if chip in chips]
    kept = np.concatenate([np.arange(span.start, span.stop) for span in spans])[::pixel_step]
    kept = kept[: len(kept) - drop_edge_pixel]
    return _named(len(grid.combined), tuple(grid.chips.values()), kept, grid.wavelength[kept])


def all_pixels(width: int, wavelength: np.ndarray | None, pixel_step: int = 1) -> Pixels:
    """Take the pixels of an unknown grid as one chip."""
    _check_step(pixel_step)
    kept = np.arange(0, width, pixel_step)
    at = None if wavelength is None else wavelength[kept]
    return _named(width, (slice(0, width),), kept, at)


def _check_step(pixel_step: int) -> None:
    if pixel_step < 1:
        raise InputError(f"pixel_step: is {pixel_step}; expected 1 or more")


def _named(
    width: int, chips: tuple[slice, ...], kept: np.ndarray, wavelength: np.ndarray | None
) -> Pixels:
    if wavelength is None:
        names = tuple(f"x{index}" for index in kept)
    else:
        names = tuple(f"{value:.3f}" for value in wavelength)
    return Pixels(width, chips, kept, wavelength, names)


def check_grid(wavelength: np.ndarray, expected: np.ndarray, where: str) -> None:
    """Refuse wavelengths that are not those of a logarithmic grid of APOGEE.

    Raises
    ------
    InputError
        If the number of pixels differs, or a wavelength by more than a tenth of a pixel.
    """
    if wavelength.shape != expected.shape:
        raise InputError(
            f"{where}: has {wavelength.size} wavelengths; expected {len(expected)}, as the grid has"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(np.log10(wavelength / expected)) / LOG_STEP
    if not (off <= GRID_TOLERANCE).all():
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        raise InputError(
            f"{where}: the wavelength grid differs: pixel {worst} is at {wavelength[worst]:.3f} Å, "
            f"expected {expected[worst]:.3f} Å (vacuum); resample the spectra, or name another grid"
        )


def normalise(
    flux: np.ndarray, error: np.ndarray | None, bad: np.ndarray, chips: Sequence[slice]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Divide each chip of each spectrum by the median of its good pixels, and the error likewise.

    A chip without a good pixel, or with a median that is not above 0, has no continuum: its
    pixels are marked in `bad`, which is changed in place.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
    error : ndarray, shape (n, p), or None
        Standard deviations.
    bad : ndarray of bool, shape (n, p)
        Pixels that do not count.
    chips : sequence of slice
        Which pixels are normalised together.

    Returns
    -------
    flux : ndarray of float64, shape (n, p)
    error : ndarray of float64, shape (n, p), or None

    Examples
    --------
    >>> flux, bad = np.array([[2.0, 4.0, 9.0, 5.0]]), np.array([[False, False, True, False]])
    >>> scaled, error = normalise(flux, 0.1 * flux, bad, [slice(0, 3), slice(3, 4)])
    >>> scaled.round(2).tolist(), error.round(2).tolist()
    ([[0.67, 1.33, 3.0, 1.0]], [[0.07, 0.13, 0.3, 0.1]])
    """
    scale = np.ones(flux.shape)
    for chip in chips:
        median = _medians(flux[:, chip], bad[:, chip])
        none = ~(median > 0)
        bad[none, chip] = True
        scale[:, chip] = np.where(none, 1.0, median)[:, np.newaxis]
    return flux / scale, None if error is None else error / scale


def _medians(flux: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Return the median of the good pixels of each spectrum; without one, NaN."""
    some = ~bad.all(axis=1)
    median = np.full(len(flux), np.nan)
    median[some] = np.nanmedian(np.where(bad, np.nan, flux)[some], axis=1)
    return median


def _without_value(flux: np.ndarray, error: np.ndarray | None, bad: np.ndarray) -> np.ndarray:
    """Return which pixels are masked, or have no flux or error."""
    bad = bad | ~np.isfinite(flux)
    return bad if error is None else bad | np.isnan(error) | np.isposinf(error)


def check_level(flux: np.ndarray, error: np.ndarray | None, bad: np.ndarray, where: str) -> None:
    """Refuse spectra that are not normalised, beside which a masked pixel's 1 would be nonsense.

    Parameters
    ----------
    flux, error, bad
        Of some spectra, see `features`.
    where : str
        What the message begins with.

    Raises
    ------
    InputError
        If the median spectrum has its median outside `LEVELS`.
    """
    medians = _medians(flux, _without_value(flux, error, bad))
    if np.isnan(medians).all():
        return
    level, (low, high) = float(np.nanmedian(medians)), LEVELS
    if not low <= level <= high:
        raise InputError(
            f"{where}: the median of the flux is {level:.3g}; expected {low:g} to {high:g}, since "
            "masked pixels hold 1 and max_error is in units of the continuum; set data.normalise: "
            "median, or divide flux and errors by the continuum"
        )


def features(
    flux: np.ndarray,
    error: np.ndarray | None,
    bad: np.ndarray,
    pixels: Pixels,
    row_id: np.ndarray,
    where: str,
    *,
    method: str,
    max_error: float | None = None,
) -> Mapping[str, np.ndarray]:
    """Return one block of the tables of a data set.

    Parameters
    ----------
    flux : ndarray, shape (n, width)
        Not a number where there is none.
    error : ndarray, shape (n, width), or None
        Standard deviations; infinite or not a number where there is none.
    bad : ndarray of bool, shape (n, width)
        Further pixels to mask.
    pixels : Pixels
        Which pixels are kept, after the normalisation.
    row_id : ndarray of str, shape (n,)
        Names of the spectra, for the messages.
    where : str
        What the messages begin with.
    method : str
        By which medians to divide, a key of `METHODS`.
    max_error : float, optional
        Pixels with a larger error, in units of the continuum, are masked.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, p)
        ``"X"``, and ``"X_error"`` if there are errors. Masked pixels hold 1 and ``inf``.

    Raises
    ------
    InputError
        For an error that is zero or negative, of a pixel that is good and kept, or a spectrum
        without a good pixel.
    """
    bad = _without_value(flux, error, bad)
    if error is not None:
        error = np.where(bad, np.inf, error)
        check_errors(error[:, pixels.kept], row_id, pixels.names, where)
    if together := METHODS[method](pixels):
        flux, error = normalise(flux, error, bad, together)
    if error is not None and max_error is not None:
        bad |= error > max_error
    bad = bad[:, pixels.kept]
    if (none := bad.all(axis=1)).any():
        raise no_good_pixel(row_id[none], len(row_id), where)
    block = {"X": np.where(bad, FILL, flux[:, pixels.kept]).astype(np.float32)}
    if error is not None:
        block["X_error"] = np.where(bad, np.inf, error[:, pixels.kept]).astype(np.float32)
    return block
