"""What each label of a network answers to, pixel by pixel, with the lines that stand there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.errors import InputError
from starstack.figures.style import (
    BLUE,
    GREY,
    SKY,
    TWO_COLUMNS,
    footnote,
    label,
    new_figure,
    styled,
)
from starstack.spectra.elements import ELEMENTS
from starstack.spectra.lines import atomic_lines, brackett_lines

# As many pixels as print can show, and lines as many as names find room.
N_PIXELS, N_LINES = 700, 16
# Part of the topmost panel that the names take.
NAME_SHARE = 0.25
# Lines are ranked by their strength in a star of this temperature, in K.
TEMPERATURE = 4750.0
# Pixels further apart than this many steps lie on two detectors.
_GAP = 5


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Partial derivatives of one network, over a stretch of pixels.

    Attributes
    ----------
    network : str
        Its name.
    outputs : tuple of str
        Names of the labels.
    wavelength : ndarray of shape (p,)
        In Å.
    mean, low, high : ndarray of shape (k, p)
        Mean over stars, and the quantiles that the band is between.
    bounds : tuple of float
        Probabilities of these two.
    n_rows, quantile_rows : int
        Stars behind the means and behind the band.
    n_pixels : int
        Pixels that the network takes.
    """

    network: str
    outputs: tuple[str, ...]
    wavelength: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bounds: tuple[float, float]
    n_rows: int
    quantile_rows: int
    n_pixels: int


def read_sensitivities(
    files: Mapping[str, str | PathLike[str]], n_pixels: int = N_PIXELS
) -> list[Sensitivity]:
    """Read the Jacobians' statistics of networks, over one stretch of pixels.

    The stretch is the one in which the squares of the mean absolute derivatives of the first
    network, in units of each label's largest, have the largest sum.

    Parameters
    ----------
    files : mapping of str to path
        The ``.jacobian.h5`` of each network by its name.
    n_pixels : int
        Length of the stretch.

    Raises
    ------
    InputError
        If a file has no wavelengths.
    """
    found: list[Sensitivity] = []
    stretch = None
    for network, path in files.items():
        with h5py.File(path, "r") as file:
            if "wavelength" not in file:
                raise InputError(f"{path}: has no wavelengths; this figure is of spectra")
            statistics = file["statistics"]
            if stretch is None:
                stretch = _stretch(statistics["mean_absolute"][...], n_pixels)
            quantiles = statistics["quantiles"][:, :, stretch]
            bounds = statistics.attrs["probabilities"]
            found.append(
                Sensitivity(
                    network=network,
                    outputs=tuple(file["output_names"].asstr()[...]),
                    wavelength=file["wavelength"][stretch],
                    mean=statistics["mean"][:, stretch],
                    low=quantiles[0],
                    high=quantiles[-1],
                    bounds=(float(bounds[0]), float(bounds[-1])),
                    n_rows=int(statistics.attrs["n_rows"]),
                    quantile_rows=int(statistics.attrs["quantile_rows"]),
                    n_pixels=len(file["wavelength"]),
                )
            )
    return found


def _stretch(size: np.ndarray, n_pixels: int) -> slice:
    power = np.square(size / size.max(axis=1, keepdims=True)).sum(axis=0)
    n_pixels = min(n_pixels, len(power))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    start = int(np.argmax(sums[n_pixels:] - sums[:-n_pixels]))
    return slice(start, start + n_pixels)


@styled
def plot_jacobian(
    sensitivities: list[Sensitivity], labels: Mapping[str, str] | None = None
) -> Figure:
    """Draw the partial derivative of each label against wavelength.

    Parameters
    ----------
    sensitivities : list of Sensitivity
        One per network.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    Figure
        A panel per network and label: mean over stars, the quantiles as a band, and the strongest
        lines of atoms.

    Raises
    ------
    InputError
        If there is no network.
    """
    if not sensitivities:
        raise InputError("jacobian: expected at least one network to draw, got none")
    panels = [(s, output) for s in sensitivities for output in range(len(s.outputs))]
    figure = new_figure(TWO_COLUMNS, 0.9 + 1.2 * len(panels))
    axes_of = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (sensitivity, output) in zip(axes_of, panels, strict=True):
        _panel(axes, sensitivity, output)
        name = (labels or {}).get(sensitivity.outputs[output]) or label(sensitivity.outputs[output])
        unit = re.search(r"^(.*) \((.*)\)$", name)
        axes.set_ylabel(unit[2] if unit else "")
        axes.set_title(
            f"{sensitivity.network}: ∂ {unit[1] if unit else name} / ∂ flux, "
            f"n = {sensitivity.n_rows}",
            fontweight="normal",
        )
    first = sensitivities[0]
    _mark_lines(axes_of, first.wavelength)
    axes_of[-1].set_xlabel("Vacuum wavelength (Å)")
    handles, texts = axes_of[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=2)
    of_bands = [s.quantile_rows for s in sensitivities if s.quantile_rows < s.n_rows]
    band = f" The bands are those of {min(of_bands)} of them." if of_bands else ""
    footnote(
        figure,
        f"n: test stars.{band} The flux is in units of the continuum. Shown are the "
        f"{len(first.wavelength)} of {first.n_pixels} pixels in which the derivatives are largest; "
        "dotted: the strongest lines of atoms.",
    )
    return figure


def _panel(axes: Axes, sensitivity: Sensitivity, output: int) -> None:
    x = sensitivity.wavelength
    ends = np.flatnonzero(np.diff(x) > _GAP * np.median(np.diff(x))) + 1
    low, high = (f"{100 * bound:.0f}" for bound in sensitivity.bounds)
    for number, part in enumerate(np.split(np.arange(len(x)), ends)):
        hide = "" if number == 0 else "_"
        axes.fill_between(
            x[part],
            sensitivity.low[output, part],
            sensitivity.high[output, part],
            step="mid",
            color=SKY,
            alpha=0.6,
            linewidth=0,
            label=f"{hide}{low} to {high} % of the stars",
            rasterized=True,
        )
        axes.plot(
            x[part],
            sensitivity.mean[output, part],
            drawstyle="steps-mid",
            color=BLUE,
            linewidth=0.6,
            label=f"{hide}mean over stars",
            gid="jacobian",
            rasterized=True,
        )
    axes.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    axes.set_xlim(x[0], x[-1])


def _mark_lines(axes_of: np.ndarray, wavelength: np.ndarray) -> None:
    """Mark the strongest lines but those whose names would touch a stronger one's."""
    # A name is written upright, about 8 points wide on a panel of 460 points.
    room = 10 / 440 * (wavelength[-1] - wavelength[0])
    chosen: list[tuple[float, str]] = []
    step = _GAP * np.median(np.diff(wavelength))
    for _, at, species in strongest_lines(wavelength[0], wavelength[-1]):
        on_detector = np.abs(wavelength - at).min() < step
        if on_detector and all(abs(at - other) > room for other, _ in chosen):
            chosen.append((at, species))
        if len(chosen) == N_LINES:
            break
    top = axes_of[0]
    low, high = top.get_ylim()
    top.set_ylim(low, high + NAME_SHARE / (1 - NAME_SHARE) * (high - low))
    for axes in axes_of:
        end = 1 - NAME_SHARE if axes is top else 1
        for at, _ in chosen:
            axes.axvline(at, ymax=end, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    for at, species in chosen:
        top.annotate(
            species,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            rotation=90,
            fontsize=6,
            color=GREY,
        )


def strongest_lines(first: float, last: float) -> list[tuple[float, float, str]]:
    """Rank the lines between two wavelengths by their strength in a giant of solar composition.

    The strength is log10 of abundance × gf × the Boltzmann factor of the lower level.

    Returns
    -------
    list of (strength, wavelength in Å, name)
        The strongest first; lines of hydrogen are named by their upper level, as Br 11.
    """
    atoms, hydrogen = atomic_lines(), brackett_lines()
    theta = 5040.0 / TEMPERATURE
    found = [
        (ELEMENTS[species].abundance + gf - theta * energy, at, f"{species} I")
        for species, at, energy, gf in zip(
            atoms.species, atoms.wavelength, atoms.excitation, atoms.log_gf, strict=True
        )
    ]
    found += [
        (12.0 + gf - theta * hydrogen.excitation, at, f"Br {upper}")
        for upper, at, gf in zip(hydrogen.upper, hydrogen.wavelength, hydrogen.log_gf, strict=True)
    ]
    within = [line for line in found if first < line[1] < last]
    return sorted(((float(s), float(at), str(name)) for s, at, name in within), reverse=True)
