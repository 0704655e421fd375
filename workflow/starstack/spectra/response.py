"""Exact derivatives of simulated spectra as a network sees them, masked pixels filled.

The simulator knows ∂flux/∂label of every star. What masked pixels hold is an affine function of
the good ones (`starstack.spectra.filling`), so it passes derivatives on without approximation; the
errors that it weighs pixels by are taken as given.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.spectra.apogee import wavelength
from starstack.spectra.filling import Fill
from starstack.spectra.simulator import label_derivatives, synthesise
from starstack.spectra.stars import LABELS, NUISANCES, Stars, draw_stars
from starstack.spectra.survey import Run, choose_fill

# Of the labels, in the order of `LABELS`.
UNITS = {"teff": "K", "logg": "dex", "fe_h": "dex"}
# By how much stored single-precision values may differ from those that are filled in again.
FILL_TOLERANCE = 1e-4


def stars_of(dataset: Dataset) -> Stars:
    """Return the stars of simulated spectra, one per row.

    Raises
    ------
    InputError
        If the data set lacks a label or what else the simulator needs.
    """
    lacking = [name for name in NUISANCES if name not in dataset.row_values]
    if dataset.target_names != LABELS or lacking:
        raise InputError(
            f"data of {dataset.name!r}: expected simulated spectra of the labels "
            f"{', '.join(LABELS)} with {', '.join(NUISANCES)} for each; load them again"
        )
    return Stars(dataset.y, {name: dataset.row_values[name] for name in NUISANCES})


def pixels_of(dataset: Dataset) -> np.ndarray:
    """Return which of the 7214 pixels of DR12 the features are, shape (p,)."""
    grid = wavelength()
    nearest = np.abs(grid[:, None] - dataset.wavelength).argmin(axis=0)
    if not np.allclose(grid[nearest], dataset.wavelength, rtol=1e-9):
        raise InputError(
            f"data of {dataset.name!r}: the wavelengths are not those of the simulator's pixels"
        )
    return nearest


def simulated_fill(dataset: Dataset, options: Mapping[str, Any], seed: int) -> Fill:
    """Make again what filled the masked pixels of simulated spectra, and check that it did.

    Parameters
    ----------
    dataset : Dataset
        The spectra.
    options : mapping
        Options of their source.
    seed : int
        What the source was run with.

    Raises
    ------
    InputError
        If the masked pixels of the first spectra hold something else.
    """
    pixels, giants = pixels_of(dataset), options.get("giants", 0.7)

    def draw(n: int, seed: int) -> np.ndarray:
        return synthesise(draw_stars(n, seed=seed, giants=giants), pixels=pixels)

    own_seed = options.get("seed")
    run = Run(f"data set '{dataset.name}'", seed if own_seed is None else own_seed)
    fill = choose_fill(options.get("fill", "components"), draw, run)
    stored, error = (np.asarray(table[:16], float) for table in _tables(dataset))
    made = fill(stored, error, np.isposinf(error))
    if not np.allclose(made, stored, atol=FILL_TOLERANCE):
        raise InputError(
            f"data of {dataset.name!r}: masked pixels hold something else than the source would "
            "fill in; load the spectra again"
        )
    return fill


def seen_derivatives(dataset: Dataset, rows: np.ndarray, fill: Fill) -> np.ndarray:
    """Differentiate the features of some rows with respect to the labels.

    Parameters
    ----------
    dataset : Dataset
        Simulated spectra, from `starstack.data.store.open_dataset` or in memory.
    rows : ndarray of int
        Positions in rising order.
    fill : Fill
        What masked pixels hold.

    Returns
    -------
    ndarray of float64, shape (n, 3, p)
        Per K and per dex, as `starstack.spectra.simulator.label_derivatives`. At a masked pixel,
        that of what it was filled with: zero for the continuum.
    """
    derivatives = label_derivatives(stars_of(dataset)[rows], pixels=pixels_of(dataset))
    flux, error = (np.asarray(table[rows], dtype=float) for table in _tables(dataset))
    bad = np.isposinf(error)
    before = fill(flux, error, bad)
    for label in range(len(LABELS)):
        change = derivatives[:, label]
        # An affine function, so that steps of any size give the same; this one moves by up to 1.
        step = 1.0 / max(np.abs(change).max(), 1e-300)
        after = fill(flux + step * change, error, bad)
        change[bad] = ((after - before) / step)[bad]
    return derivatives


def _tables(dataset: Dataset) -> tuple[Any, Any]:
    if dataset.X_noiseless is None or dataset.X_error is None:
        raise InputError(f"data of {dataset.name!r}: expected spectra without noise, and errors")
    return dataset.X_noiseless, dataset.X_error
