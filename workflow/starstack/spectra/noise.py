"""Noise and bad pixels of simulated spectra: photons of star and sky, vignetting, masks.

The variance of a pixel is that of its photons, those of the star and those of the sky, seen
through the throughput of the detector,

    σ² ∝ (f + s) / t,

with the normalised flux f, the sky s in units of the continuum and the throughput t. One factor
per spectrum sets the median of f/σ over the pixels to the signal-to-noise ratio.
"""

from dataclasses import dataclass

import numpy as np

from starstack.data.noise_correlation import NoiseCorrelation
from starstack.errors import InputError
from starstack.spectra.apogee import CHIPS, RESOLVING_POWER, wavelength
from starstack.spectra.filling import Continuum, Fill

# OH airglow in the H band: vacuum wavelength of the line or unresolved Λ doublet in Å, and
# intensity relative to the strongest (Rousselot et al. 2000, A&A 354, 1134).
OH_LINES = np.array(
    [
        (15187.13, 0.18),
        (15240.95, 0.68),
        (15287.79, 0.25),
        (15332.40, 0.69),
        (15395.33, 0.17),
        (15432.15, 0.39),
        (15500.90, 0.05),
        (15509.77, 0.10),
        (15540.33, 0.20),
        (15546.14, 0.14),
        (15570.16, 0.07),
        (15597.63, 0.27),
        (15631.51, 0.15),
        (15655.20, 0.42),
        (15702.54, 0.13),
        (15833.27, 1.00),
        (15848.06, 0.35),
        (15869.31, 0.11),
        (15972.60, 0.19),
        (16030.83, 0.71),
        (16079.75, 0.25),
        (16128.61, 0.72),
        (16194.62, 0.21),
        (16235.38, 0.49),
        (16317.16, 0.11),
        (16350.65, 0.24),
        (16388.49, 0.15),
        (16414.74, 0.07),
        (16442.16, 0.27),
        (16476.48, 0.10),
        (16479.06, 0.07),
        (16502.37, 0.35),
        (16553.81, 0.12),
        (16692.38, 0.92),
        (16708.85, 0.32),
        (16732.50, 0.11),
        (16840.48, 0.20),
        (16903.68, 0.67),
        (16955.08, 0.26),
    ]
)

# The strongest line reaches twice the continuum of the star: errors at the OH lines of the public
# apStar spectra of SDSS DR13 are 1.4 to 1.9 times those beside them.
SKY_PEAK = 2.0

# Median error of the continuum, as a share of the flux, of 24 public apStar spectra of SDSS DR13,
# at positions from 0 to 1 across each chip: the detectors are vignetted towards their red ends.
CONTINUUM_ERROR = {
    "blue": ((0.0, 0.15, 0.5, 0.85, 1.0), (1.13, 1.03, 0.93, 0.95, 0.99)),
    "green": ((0.0, 0.1, 0.55, 0.75, 0.87, 1.0), (0.97, 0.77, 0.79, 1.20, 2.00, 2.10)),
    "red": ((0.0, 0.25, 0.5, 0.75, 0.9, 1.0), (0.95, 1.02, 1.25, 1.42, 1.70, 1.90)),
}

# Bad pixels come in runs: cosmic rays, columns, persistence. 3.9 pixels is the mean run of
# PIXMASK bits 0 to 7 in the same 24 spectra, and 2 to 3 % of their pixels are in one.
MEAN_RUN = 4.0


@dataclass(frozen=True, eq=False)
class NoiseProfile:
    """How noise depends on the pixel.

    Attributes
    ----------
    sky : ndarray, shape (p,)
        Photons of the sky, in units of the continuum of the star.
    throughput : ndarray, shape (p,)
        Relative share of the photons that is counted.
    """

    sky: np.ndarray
    throughput: np.ndarray


def noise_profile(kept: np.ndarray) -> NoiseProfile:
    """Return the profile of some of the 7214 pixels of DR12.

    Parameters
    ----------
    kept : ndarray of int, shape (p,)
        Which pixels.
    """
    lam = wavelength()
    error = np.empty(len(lam))
    for chip, span in CHIPS.items():
        place = np.linspace(0, 1, span.stop - span.start)
        error[span] = np.interp(place, *CONTINUUM_ERROR[chip])
    sky = sky_emission(lam)
    # With this throughput, the errors are the measured ones in the continuum between the lines.
    return NoiseProfile(sky[kept], 1.0 / error[kept] ** 2)


def sky_emission(wavelength: np.ndarray) -> np.ndarray:
    """Return the OH lines at the resolution of APOGEE, in units of the star's continuum.

    Parameters
    ----------
    wavelength : ndarray, shape (p,)
        Vacuum wavelengths in Å.
    """
    emission = np.zeros(len(wavelength))
    for centre, intensity in OH_LINES:
        sigma = centre / RESOLVING_POWER / np.sqrt(8 * np.log(2))
        near = np.abs(wavelength - centre) < 6 * sigma
        emission[near] += intensity * np.exp(-0.5 * ((wavelength[near] - centre) / sigma) ** 2)
    return SKY_PEAK * emission


def pixel_errors(flux: np.ndarray, snr: np.ndarray, profile: NoiseProfile) -> np.ndarray:
    """Return the standard deviation of the noise of each pixel.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
        Normalised flux without noise.
    snr : ndarray, shape (n,)
        Median of flux / error over the pixels.
    profile : NoiseProfile

    Returns
    -------
    ndarray, shape (n, p)

    Examples
    --------
    With no sky and an even throughput, the noise is that of the star's photons:

    >>> profile = NoiseProfile(np.zeros(3), np.ones(3))
    >>> pixel_errors(np.array([[0.25, 1.0, 1.0]]), np.array([100.0]), profile).tolist()
    [[0.005, 0.01, 0.01]]
    """
    relative = np.sqrt((np.maximum(flux, 0.0) + profile.sky) / profile.throughput)
    # A pixel of no flux and no sky would have no noise, and infinite weight.
    relative = np.maximum(relative, 1e-3)
    at_one = np.median(flux / relative, axis=1)
    return relative * (at_one / snr)[:, np.newaxis]


def draw_bad_pixels(
    n_pixels: int, share: float, rng: np.random.Generator, mean_run: float = MEAN_RUN
) -> np.ndarray:
    """Draw which pixels are bad, as a chain of good and bad runs of geometric length.

    The chain is stationary: every pixel is bad with probability `share`, and a run of bad pixels
    has `mean_run` of them on average, or more where good runs, of one pixel at least, leave no
    other way to the share.

    Returns
    -------
    ndarray of bool, shape (n_pixels,)

    Raises
    ------
    InputError
        If the share is negative, or 1 or more.
    """
    if not 0 <= share < 1:
        raise InputError(f"bad_pixels: is {share:g}; expected at least 0 and less than 1")
    if share == 0:
        return np.zeros(n_pixels, dtype=bool)
    odds = share / (1.0 - share)
    end = 1.0 / max(mean_run, odds)
    begin = min(1.0, end * odds)
    bad = np.empty(n_pixels, dtype=bool)
    state, at = bool(rng.random() < share), 0
    while at < n_pixels:
        run = int(rng.geometric(end if state else begin))
        bad[at : at + run] = state
        state, at = not state, at + run
    return bad


def observe(
    flux: np.ndarray,
    snr: np.ndarray,
    profile: NoiseProfile,
    seed: int,
    first_row: int,
    *,
    bad_pixels: float,
    always_bad: np.ndarray | None = None,
    fill: Fill | None = None,
    correlation: NoiseCorrelation | None = None,
) -> dict[str, np.ndarray]:
    """Observe noiseless spectra: one block of the tables of a data set.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
        Normalised flux without noise.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio of the median pixel.
    profile : NoiseProfile
    seed : int
        Each spectrum draws from a stream of its own, of `seed` and the number of its row, so that
        the noise does not depend on the blocks.
    first_row : int
        Number of the first row of the block.
    bad_pixels : float
        Expected share of pixels that are masked.
    always_bad : ndarray of bool, shape (p,), optional
        Pixels that are masked in every spectrum.
    fill : Fill, optional
        What masked pixels hold; the continuum by default.
    correlation : NoiseCorrelation, optional
        Of the noise of the pixels, which is independent by default.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, p)
        ``"X"``, ``"X_error"`` and ``"X_noiseless"``.
    """
    error = pixel_errors(flux, snr, profile)
    noisy = np.empty(flux.shape)
    bad = np.empty(flux.shape, dtype=bool)
    for row in range(len(flux)):
        rng = np.random.default_rng([seed, first_row + row])
        noise = rng.standard_normal(flux.shape[1])
        if correlation is not None:
            noise = correlation.colour(noise)
        noisy[row] = flux[row] + error[row] * noise
        bad[row] = draw_bad_pixels(flux.shape[1], bad_pixels, rng)
    if always_bad is not None:
        bad |= always_bad
    filled = Continuum() if fill is None else fill
    tables = {
        "X": filled(noisy, error, bad),
        "X_error": np.where(bad, np.inf, error),
        "X_noiseless": filled(flux, error, bad),
    }
    return {name: values.astype(np.float32) for name, values in tables.items()}
