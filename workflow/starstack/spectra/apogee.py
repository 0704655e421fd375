"""The wavelengths of APOGEE's resampled spectra: a grid of equal steps in log λ, and its chips.

Pixel ``i`` of the combined (apStar) grid lies at the vacuum wavelength

    log10(λ / Å) = 4.179 + 6e-6 · i,    i = 0, …, 8574

(Nidever et al. 2015, AJ 150, 173), so that neighbours are 4.14 km/s apart everywhere. Spectra are
compared on the pixels that all three detectors cover; which ones those are depends on the data
release. DR12 keeps 7214 pixels (García Pérez et al. 2016, AJ 151, 144), DR13 to DR17 keep 7514
(Leung & Bovy 2019, MNRAS 483, 3255).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from starstack.errors import InputError

__all__ = ["CHIPS", "GRIDS", "LOG_STEP", "N_PIXELS", "PixelGrid", "pixel_grid", "wavelength"]

LOG_START = 4.179
LOG_STEP = 6e-6
N_COMBINED = 8575
# Gaussian resolving power: Wilson et al. 2019, PASP 131, 055001.
RESOLVING_POWER = 22_500.0


@dataclass(frozen=True)
class PixelGrid:
    """The pixels of one data release.

    Attributes
    ----------
    name : str
        Key of `GRIDS`.
    ranges : tuple of (int, int)
        First and last pixel, plus one, of the blue, green and red chip in the combined grid.
    """

    name: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def combined(self) -> np.ndarray:
        """Index of each pixel in the combined grid of 8575, shape (p,)."""
        return np.concatenate([np.arange(*span) for span in self.ranges])

    @property
    def wavelength(self) -> np.ndarray:
        """Vacuum wavelength of each pixel in Å, shape (p,), ascending."""
        return 10.0 ** (LOG_START + LOG_STEP * self.combined)

    @property
    def chips(self) -> dict[str, slice]:
        """Which of the p pixels each chip holds."""
        edges = np.cumsum([0] + [stop - start for start, stop in self.ranges]).tolist()
        spans = (slice(*span) for span in pairwise(edges))
        return dict(zip(("blue", "green", "red"), spans, strict=True))


GRIDS = {
    "dr12": PixelGrid("dr12", ((322, 3242), (3648, 6048), (6412, 8306))),
    "dr17": PixelGrid("dr17", ((246, 3274), (3585, 6080), (6344, 8335))),
}

N_PIXELS = len(GRIDS["dr12"].combined)
CHIPS = GRIDS["dr12"].chips


def pixel_grid(name: str = "dr12") -> PixelGrid:
    """Look up the pixels of a data release.

    Parameters
    ----------
    name : str
        A key of `GRIDS`.

    Returns
    -------
    PixelGrid

    Raises
    ------
    InputError
        If there is no grid of that name.

    Examples
    --------
    >>> pixel_grid("dr17").chips
    {'blue': slice(0, 3028, None), 'green': slice(3028, 5523, None), 'red': slice(5523, 7514, None)}
    """
    if name not in GRIDS:
        raise InputError(f"pixel grid: expected one of {', '.join(GRIDS)}, got {name!r}")
    return GRIDS[name]


def wavelength() -> np.ndarray:
    """Return the vacuum wavelengths of the DR12 pixels in Å, shape (7214,).

    Examples
    --------
    >>> wavelength()[[0, -1]].round(2).tolist()
    [15168.13, 16936.75]
    """
    return GRIDS["dr12"].wavelength
