"""From the gas to the spectrum: Milne–Eddington lines, broadened by star and instrument.

The ratio ``η`` of line to continuous absorption is a sum over lines of strength times profile, the
same at all depths. The source function rises linearly with depth in the continuum, so the flux is

    F / F_c = 1 − R η / (1 + η),    R = 1 − B(0.84 Teff) / B(Teff),

with Planck's function at 1.6 µm at the surface of the grey atmosphere and where its continuum forms
(Mihalas 1978, Stellar Atmospheres, 2nd ed., sect. 10-3).

On a grid of equal steps in log λ a profile of given width in velocity looks the same at every
wavelength. So the lines of species of similar mass are put on the grid as spikes, and one product
of Fourier transforms gives all of them their common Voigt profile,

    exp(−2π² σ² f² − 2π γ |f|),    σ² = kT/m + ξ²/2.

Spikes between grid points are spread by a cubic B-spline, whose transform is divided out. Each
Brackett line has a Stark profile of its own, ``exp(−(2π s f)^{3/2})``. A last product applies the
instrument (Gaussian, R = 22,500), macroturbulence and radial velocity, and keeps every sixth point:
the pixels. Nothing is interpolated.

Derivatives with respect to the labels are exact: those of the few dozen numbers that describe the
gas are given, and the formulas above are differentiated.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
from scipy import fft, sparse

from starstack.spectra.apogee import GRIDS, LOG_START, LOG_STEP, RESOLVING_POWER
from starstack.spectra.conditions import GROUPS, HYDROGEN, NODES, SPECIES, Conditions
from starstack.spectra.constants import ABSORPTION, LIGHT_SPEED
from starstack.spectra.lines import LineList, atomic_lines
from starstack.spectra.molecules import molecular_lines

__all__ = ["LineGrid", "Opacity", "all_lines", "broaden", "depth_derivatives", "line_depths"]

# Fine points per pixel: the narrowest lines, of cool dwarfs, have σ = 0.9 km/s, 1.3 points.
OVERSAMPLING = 6
# Pixels of the combined grid that are computed: a power of two, 104 more than needed at each end,
# because the wings of lines run round from the other end.
MARGIN = 104
FIRST_PIXEL, N_COMPUTED = 322 - MARGIN, 8192
N_FINE = OVERSAMPLING * N_COMPUTED
STEP = np.log(10.0) * LOG_STEP * LIGHT_SPEED * 1e-5 / OVERSAMPLING  # km/s
FREQUENCY = np.arange(N_FINE // 2 + 1) / (N_FINE * STEP)  # s/km
ANGULAR = 2.0 * np.pi * FREQUENCY
# Lines of hydrogen have σ > 5 km/s, so that higher frequencies hold nothing of them.
N_HYDROGEN = 4096
FWHM = np.sqrt(8.0 * np.log(2.0))  # of a Gaussian with σ = 1
PIXELS = GRIDS["dr12"].combined - FIRST_PIXEL


class LineGrid:
    """Lines laid out on the fine grid.

    Parameters
    ----------
    lines : LineList
        Of the species in `starstack.spectra.conditions.SPECIES`.
    hydrogen : bool
        Whether the Brackett lines are there too.
    """

    def __init__(self, lines: LineList, *, hydrogen: bool = True) -> None:
        number = np.array([SPECIES.index(name) for name in lines.species], dtype=int)
        place = fine_position(lines.wavelength)
        # A line at the very edge would be spread round the end.
        inside = np.flatnonzero((place >= 1) & (place < N_FINE - 2))
        kept = inside[np.argsort(number[inside], kind="stable")]
        self.species = number[kept]
        self.excitation = lines.excitation[kept]
        self.log_strength = np.log(ABSORPTION * lines.wavelength[kept] * 1e-13)
        self.log_strength += lines.log_gf[kept] * np.log(10.0)
        node = (lines.wavelength[kept] * 1e-4 - NODES[0]) / (NODES[1] - NODES[0])
        self.node = node.astype(int)
        self.node_share = node - self.node
        edges = np.cumsum([0] + [len(names) for names in GROUPS])
        bounds = np.searchsorted(self.species, edges).tolist()
        self.groups = [slice(*span) for span in pairwise(bounds)]
        self.spreads = [_spread(place[kept][group]) for group in self.groups]
        # The transform of the cubic B-spline is sinc⁴; strengths are integrals over velocity.
        self.sharpen = np.sinc(FREQUENCY * STEP) ** -4 / STEP
        place = fine_position(HYDROGEN.wavelength)
        # The ring carries the wings of a line just outside to where they belong. One further out
        # would itself come to lie among the pixels: Br 10 did, at 15,509 Å.
        near = np.abs(place - N_FINE / 2) < N_FINE / 2 + OVERSAMPLING * MARGIN
        turns = np.outer(place, np.arange(N_HYDROGEN) / N_FINE)
        self.hydrogen = np.exp(-2j * np.pi * turns) * (near[:, None] * float(hydrogen) / STEP)

    def at_lines(self, nodes: np.ndarray) -> np.ndarray:
        """Interpolate from the nodes of the continuum to the lines."""
        return nodes[self.node] + self.node_share * np.diff(nodes)[self.node]

    def transform(self, strengths: np.ndarray) -> np.ndarray:
        """Put lines on the fine grid; return the Fourier transform of each group."""
        pairs = zip(self.spreads, self.groups, strict=True)
        fine = np.stack([spread @ strengths[group] for spread, group in pairs])
        return fft.rfft(fine, axis=1, overwrite_x=True)


@cache
def all_lines() -> LineGrid:
    """Return the lines of all species, laid out once."""
    return LineGrid(atomic_lines() + molecular_lines())


def fine_position(wavelength: np.ndarray) -> np.ndarray:
    """Return where wavelengths in Å lie on the fine grid, in fine points."""
    return ((np.log10(wavelength) - LOG_START) / LOG_STEP - FIRST_PIXEL) * OVERSAMPLING


def _spread(place: np.ndarray) -> sparse.csc_array:
    """Return the matrix that spreads lines over the four nearest points by a cubic B-spline."""
    start = np.floor(place).astype(int)
    t = place - start
    weights = np.stack(
        [
            (1.0 - t) ** 3,
            3.0 * t**3 - 6.0 * t**2 + 4.0,
            -3.0 * t**3 + 3.0 * t**2 + 3.0 * t + 1.0,
            t**3,
        ]
    )
    rows = start + np.arange(-1, 3)[:, None]
    columns = np.broadcast_to(np.arange(len(place)), rows.shape)
    entries = (weights.ravel() / 6.0, (rows.ravel(), columns.ravel()))
    return sparse.csc_array(entries, shape=(N_FINE, len(place)))


class Opacity:
    """The ratio η of line to continuous absorption of one star.

    Parameters
    ----------
    gas : Conditions
        Of n stars.
    star : int
        Which of them.
    lines : LineGrid

    Attributes
    ----------
    eta : ndarray, shape (N_FINE,)
        η on the fine grid.
    """

    def __init__(self, gas: Conditions, star: int, lines: LineGrid) -> None:
        self._lines = lines
        self._strengths = np.exp(
            lines.log_strength
            + gas.log_population[lines.species, star]
            - lines.excitation * gas.inverse_temperature[star]
            + lines.at_lines(gas.log_continuum[:, star])
        )
        exponent = np.outer(-0.5 * gas.variance[:, star], ANGULAR**2)
        exponent -= np.outer(gas.damping[:, star], ANGULAR)
        self._profiles = np.exp(exponent, out=exponent)
        self._transforms = lines.transform(self._strengths)
        self._transforms *= self._profiles
        low = ANGULAR[:N_HYDROGEN]
        self._stark = np.outer(np.exp(1.5 * gas.log_stark[:, star]), low**1.5)
        exponent = gas.log_hydrogen[:, [star]] - self._stark
        exponent -= 0.5 * gas.hydrogen_variance[star] * low**2
        self._hydrogen = np.exp(exponent) * lines.hydrogen
        self.eta = self._invert(self._transforms, self._hydrogen)

    def derivative(self, change: Conditions, number: int) -> np.ndarray:
        """Return the change of η to first order when the conditions change.

        Parameters
        ----------
        change : Conditions
            Derivatives of the star's conditions.
        number : int
            Which of them, on the last axis.

        Returns
        -------
        ndarray, shape (N_FINE,)
        """
        lines = self._lines
        relative = (
            change.log_population[lines.species, number]
            - lines.excitation * change.inverse_temperature[number]
            + lines.at_lines(change.log_continuum[:, number])
        )
        transforms = lines.transform(self._strengths * relative)
        transforms *= self._profiles
        widths = np.outer(-0.5 * change.variance[:, number], ANGULAR**2)
        widths -= np.outer(change.damping[:, number], ANGULAR)
        transforms += self._transforms * widths
        relative = change.log_hydrogen[:, [number]]
        relative = relative - 1.5 * change.log_stark[:, [number]] * self._stark
        relative -= 0.5 * change.hydrogen_variance[number] * ANGULAR[:N_HYDROGEN] ** 2
        return self._invert(transforms, self._hydrogen * relative)

    def _invert(self, transforms: np.ndarray, hydrogen: np.ndarray) -> np.ndarray:
        total = transforms.sum(axis=0)
        total *= self._lines.sharpen
        total[:N_HYDROGEN] += hydrogen.sum(axis=0)
        return fft.irfft(total, N_FINE, overwrite_x=True)


def line_depths(gas: Conditions, lines: LineGrid) -> Iterator[np.ndarray]:
    """Yield ``1 − F/F_c`` of star after star on the fine grid, shape (N_FINE,)."""
    for star, contrast in enumerate(gas.contrast):
        eta = Opacity(gas, star, lines).eta
        yield contrast * eta / (1.0 + eta)


def depth_derivatives(
    gas: Conditions, changes: Conditions, lines: LineGrid
) -> Iterator[np.ndarray]:
    """Yield the derivatives of ``1 − F/F_c`` of star after star, shape (k, N_FINE).

    ``changes`` holds k derivatives of the conditions of each star, one after the other.
    """
    n_labels = len(changes.contrast) // len(gas.contrast)
    for star, contrast in enumerate(gas.contrast):
        opacity = Opacity(gas, star, lines)
        seen = 1.0 / (1.0 + opacity.eta)
        derivatives = np.empty((n_labels, N_FINE))
        for row, number in enumerate(range(star * n_labels, (star + 1) * n_labels)):
            derivatives[row] = changes.contrast[number] * opacity.eta * seen
            derivatives[row] += contrast * opacity.derivative(changes, number) * seen**2
        yield derivatives


def broaden(depth: np.ndarray, *, v_macro: float, radial_velocity: float) -> np.ndarray:
    """Apply macroturbulence, instrument and radial velocity, and keep the DR12 pixels.

    Parameters
    ----------
    depth : ndarray, shape (..., N_FINE)
        On the fine grid.
    v_macro : float
        Full width at half maximum of a Gaussian in km/s.
    radial_velocity : float
        In km/s, positive to the red.

    Returns
    -------
    ndarray, shape (..., 7214)
    """
    kept = N_COMPUTED // 2 + 1
    frequency = ANGULAR[:kept]
    instrument = LIGHT_SPEED * 1e-5 / RESOLVING_POWER
    variance = (instrument**2 + v_macro**2) / FWHM**2
    kernel = np.exp(-0.5 * variance * frequency**2 - 1j * radial_velocity * frequency)
    transform = fft.rfft(depth, axis=-1)[..., :kept] * (kernel / OVERSAMPLING)
    return fft.irfft(transform, N_COMPUTED, axis=-1)[..., PIXELS]
