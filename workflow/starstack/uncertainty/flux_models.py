"""Spectra whose derivatives by the labels, and by what else moves them, are known exactly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.spectra.apogee import CHIPS, N_PIXELS
from starstack.spectra.cannon import LABELS, read_model
from starstack.spectra.response import pixels_of, stars_of
from starstack.spectra.simulator import NUISANCES, Stars, label_derivatives, synthesise

# What is known of the nuisances before a spectrum is seen: spreads of `draw_stars` about what the
# labels say. [α/Fe] has two ridges, 0.06 about their mean at a metallicity; the velocity is uniform
# within ±1 km/s; macroturbulence scatters by a fifth of itself, 0.9 km/s over all stars.
PRIOR_SPREADS = {
    "alpha_fe": 0.06,
    "c_n": 0.12,
    "v_macro": 0.9,
    "radial_velocity": 1.0 / np.sqrt(3.0),
    "tilt_blue": 0.005,
    "tilt_green": 0.005,
    "tilt_red": 0.005,
}
# Half the distance of the central differences, where those of second order are below 1e-4.
STEPS = {"alpha_fe": 0.01, "c_n": 0.01, "v_macro": 0.05, "radial_velocity": 0.05}


@dataclass(frozen=True, eq=False)
class FluxModel:
    """What the spectra of a data set were made from, as far as bounds need it.

    Attributes
    ----------
    derivatives : callable
        From positions of n rows to ∂flux/∂label, shape (n, k, p), and ∂flux/∂nuisance, shape
        (n, m, p).
    prior_spreads : tuple of float, length m
        Standard deviation of each nuisance before a spectrum is seen; infinite if unknown.
    known, unknown : str
        What the bounds are called: of labels where the nuisances are known, and where not.
    scatter : ndarray of shape (p,) or None
        By how much real spectra scatter about the model, pixel by pixel.
    """

    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    prior_spreads: tuple[float, ...]
    known: str
    unknown: str
    scatter: np.ndarray | None = None


def simulator_of(dataset: Dataset, options: Mapping[str, Any] | None = None) -> FluxModel:
    """Return the simulator at the stars of simulated spectra.

    Raises
    ------
    InputError
        If the data set is of another source.
    """
    stars, pixels = stars_of(dataset), pixels_of(dataset)

    def derivatives(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = stars[rows]
        return (
            label_derivatives(own, pixels=pixels),
            nuisance_derivatives(own, pixels=pixels),
        )

    spreads = tuple(float(PRIOR_SPREADS[name]) for name in NUISANCES)
    return FluxModel(derivatives, spreads, "known nuisances", "unknown nuisances")


def empirical_model_of(dataset: Dataset, options: Mapping[str, Any]) -> FluxModel:
    """Return the quadratic model that spectra were drawn from.

    Nothing is known of [α/Fe] before a spectrum is seen.

    Parameters
    ----------
    dataset : Dataset
        Of the source cannon.
    options : mapping
        Of its source: ``path`` is the file of the model.

    Raises
    ------
    InputError
        If the file cannot be read, or the data set is of another source.
    """
    *names, nuisance = LABELS
    if dataset.target_names != tuple(names) or nuisance not in dataset.row_values:
        raise InputError(
            f"data of {dataset.name!r}: expected the labels {', '.join(names)} and {nuisance} of "
            "spectra from a cannon model; load them again"
        )
    model = read_model(options["path"], f"data set '{dataset.name}'")
    labels = np.column_stack([dataset.y, dataset.row_values[nuisance]])
    pixels = pixels_of(dataset)

    def derivatives(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = model.derivatives(labels[rows], pixels)
        return found[:, :-1], found[:, -1:]

    scatter = model.scatter[pixels].astype(float)
    return FluxModel(derivatives, (np.inf,), "known [α/Fe]", "unknown [α/Fe]", scatter)


# By the source of the data; those that are not here have no model.
FLUX_MODELS: dict[str, Callable[[Dataset, Mapping[str, Any]], FluxModel]] = {
    "simulated-spectra": simulator_of,
    "cannon": empirical_model_of,
}


def nuisance_derivatives(
    stars: Stars, names: Sequence[str] = NUISANCES, *, pixels: slice | np.ndarray | None = None
) -> np.ndarray:
    """Differentiate simulated spectra with respect to nuisances.

    By central differences; for the tilts of the continuum, which are linear, exactly.

    Parameters
    ----------
    stars : Stars
    names : sequence of str
        Some of `starstack.spectra.simulator.NUISANCES`.
    pixels : slice or ndarray of int, optional
        Which of the 7214 pixels; all by default.

    Returns
    -------
    ndarray of float64, shape (n, len(names), p)
    """
    unknown = [name for name in names if name not in NUISANCES]
    if unknown:
        raise InputError(f"nuisance: is {unknown[0]!r}; expected some of {', '.join(NUISANCES)}")
    chosen = slice(None) if pixels is None else pixels
    shape = (len(stars), len(names), len(np.arange(N_PIXELS)[chosen]))
    result = np.zeros(shape)
    for number, name in enumerate(names):
        if name.startswith("tilt_"):
            result[:, number] = _tilt_derivative(stars, name.removeprefix("tilt_"), chosen)
            continue
        step = STEPS[name]
        # Macroturbulence cannot be negative: the difference is one-sided below the step.
        low = np.minimum(step, stars.nuisances[name]) if name == "v_macro" else step
        ends = [
            synthesise(_moved(stars, name, by), pixels=pixels) for by in (step, -np.asarray(low))
        ]
        width = np.broadcast_to(np.asarray(low, float) + step, len(stars))
        result[:, number] = (ends[0] - ends[1]) / width[:, np.newaxis]
    return result


def _moved(stars: Stars, name: str, by: float | np.ndarray) -> Stars:
    return replace(stars, nuisances=stars.nuisances | {name: stars.nuisances[name] + by})


def _tilt_derivative(stars: Stars, chip: str, chosen: slice | np.ndarray) -> np.ndarray:
    span = CHIPS[chip]
    along = np.zeros(N_PIXELS)
    along[span] = np.linspace(-1.0, 1.0, span.stop - span.start)
    flat = np.zeros(len(stars))
    untilted = replace(stars, nuisances=stars.nuisances | {f"tilt_{chip}": flat})
    return synthesise(untilted, pixels=chosen) * along[chosen]
