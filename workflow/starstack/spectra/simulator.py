"""Simulated H-band spectra, and their exact derivatives with respect to the labels.

A compact model with its physics in the open, not a replacement for a stellar-atmosphere code:
lines form in one layer in local thermodynamic equilibrium (`starstack.spectra.atmosphere`), in a
Milne–Eddington atmosphere (`starstack.spectra.synthesis`), from published line data
(`starstack.spectra.lines`, `starstack.spectra.molecules`). No strength is fitted to observations.
"""

from collections.abc import Iterator

import numpy as np

from starstack.spectra.apogee import CHIPS, N_PIXELS
from starstack.spectra.conditions import Conditions, conditions
from starstack.spectra.stars import LABELS, NUISANCES, Stars, draw_stars
from starstack.spectra.synthesis import all_lines, broaden, depth_derivatives, line_depths

__all__ = [
    "LABELS",
    "NUISANCES",
    "Stars",
    "draw_stars",
    "label_derivatives",
    "synthesise",
]

# Stars whose gas is solved for at once.
BLOCK = 256
# So small that its square vanishes beside any label.
COMPLEX_STEP = 1e-30

Pixels = slice | np.ndarray | None


def synthesise(stars: Stars, *, pixels: Pixels = None) -> np.ndarray:
    """Synthesise continuum-normalised spectra without noise.

    Parameters
    ----------
    stars : Stars
        n stars.
    pixels : slice or ndarray of int, optional
        Which of the 7214 pixels of DR12 to return; all of them by default. Fewer take as long:
        a profile is a product over the whole spectrum.

    Returns
    -------
    ndarray of float64, shape (n, p)
        Flux over continuum.

    Examples
    --------
    >>> from starstack.spectra.stars import make_stars
    >>> flux = synthesise(make_stars([[4750.0, 2.4, 0.0]]))
    >>> flux.shape, bool(flux.min() < 0.75), bool(flux.max() < 1.0)
    ((1, 7214), True, True)
    """
    chosen = slice(None) if pixels is None else pixels
    flux = np.empty((len(stars), len(np.arange(N_PIXELS)[chosen])))
    for start, block in _blocks(stars):
        given = block.nuisances
        depths = line_depths(_conditions(block), all_lines())
        tilts = _tilt(block)
        for star, depth in enumerate(depths):
            seen = broaden(
                depth,
                v_macro=given["v_macro"][star],
                radial_velocity=given["radial_velocity"][star],
            )
            flux[start + star] = ((1.0 - seen) * tilts[star])[chosen]
    return flux


def label_derivatives(stars: Stars, *, pixels: Pixels = None) -> np.ndarray:
    """Differentiate the spectra with respect to the labels, at fixed nuisances.

    The derivatives run through everything: pressures, ionisation, molecules, microturbulence.

    Parameters
    ----------
    stars : Stars
        n stars.
    pixels : slice or ndarray of int, optional
        Which of the 7214 pixels of DR12 to return; all of them by default.

    Returns
    -------
    ndarray of float64, shape (n, 3, p)
        ∂flux/∂Teff per K, ∂flux/∂log g per dex, ∂flux/∂[Fe/H] per dex; exact to rounding.

    Examples
    --------
    More metals, deeper lines:

    >>> from starstack.spectra.stars import make_stars
    >>> giant = make_stars([[4750.0, 2.4, 0.0]])
    >>> bool(label_derivatives(giant)[0, 2].mean() < 0.0)
    True
    """
    chosen = slice(None) if pixels is None else pixels
    shape = (len(stars), len(LABELS), len(np.arange(N_PIXELS)[chosen]))
    derivatives = np.empty(shape)
    for start, block in _blocks(stars):
        given = block.nuisances
        changes = depth_derivatives(_conditions(block), _condition_changes(block), all_lines())
        tilts = _tilt(block)
        for star, change in enumerate(changes):
            seen = broaden(
                change,
                v_macro=given["v_macro"][star],
                radial_velocity=given["radial_velocity"][star],
            )
            derivatives[start + star] = (-seen * tilts[star])[:, chosen]
    return derivatives


def _conditions(stars: Stars) -> Conditions:
    return conditions(stars.labels, stars.nuisances["alpha_fe"], stars.nuisances["c_n"])


def _condition_changes(stars: Stars) -> Conditions:
    """Differentiate the conditions by a complex step in each label of each star."""
    n_labels = len(LABELS)
    steps = np.tile(1j * COMPLEX_STEP * np.eye(n_labels), (len(stars), 1))
    labels = np.repeat(stars.labels, n_labels, axis=0) + steps
    alpha_fe, c_n = (np.repeat(stars.nuisances[name], n_labels) for name in ("alpha_fe", "c_n"))
    return conditions(labels, alpha_fe, c_n).map(lambda values: values.imag / COMPLEX_STEP)


def _tilt(stars: Stars) -> np.ndarray:
    """Return the factor on the continuum, shape (n, 7214)."""
    factor = np.empty((len(stars), N_PIXELS))
    for chip, span in CHIPS.items():
        along = np.linspace(-1.0, 1.0, span.stop - span.start)
        factor[:, span] = 1.0 + np.outer(stars.nuisances[f"tilt_{chip}"], along)
    return factor


def _blocks(stars: Stars) -> Iterator[tuple[int, Stars]]:
    for start in range(0, len(stars), BLOCK):
        yield start, stars[start : start + BLOCK]
