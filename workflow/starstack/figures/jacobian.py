"""What each label of a network answers to, pixel by pixel, with the lines that stand there."""

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
    new_figure,
    styled,
    top_legend,
)
from starstack.figures.words import name_and_unit, target_words
from starstack.spectra.atmosphere import solve_layer
from starstack.spectra.conditions import LINE_DEPTH
from starstack.spectra.lines import LineList, atomic_lines, brackett_lines
from starstack.spectra.molecules import molecular_lines

# As many lines as names find room.
N_LINES = 24
# Mean derivatives below this share of the label's largest one get no name.
LEAST = 0.15
# Part of the topmost panel that the names take.
NAME_SHARE = 0.25
# Lines are weighed in a giant of solar composition: Teff, log g, [Fe/H], [α/Fe] and [C/N].
GIANT = (4750.0, 2.5, 0.0, 0.0, 0.0)
# Å: half a resolution element of the spectrograph, R = 22,500 (Majewski et al. 2017, AJ 154, 94).
HALF_ELEMENT = 0.35
# Wings of lines count up to this many times that.
WINGS = 10
MOLECULES = ("CO", "OH", "CN")
# Pixels further apart than this many steps lie on two detectors.
_GAP = 5


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Partial derivatives of one network.

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


def read_sensitivities(files: Mapping[str, str | PathLike[str]]) -> list[Sensitivity]:
    """Read the Jacobians' statistics of networks.

    Parameters
    ----------
    files : mapping of str to path
        The ``.jacobian.h5`` of each network by its name.

    Raises
    ------
    InputError
        If a file has no wavelengths.
    """
    found: list[Sensitivity] = []
    for network, path in files.items():
        with h5py.File(path, "r") as file:
            if "wavelength" not in file:
                raise InputError(f"{path}: has no wavelengths; this figure is of spectra")
            statistics = file["statistics"]
            bounds = statistics.attrs["probabilities"]
            found.append(
                Sensitivity(
                    network=network,
                    outputs=tuple(file["output_names"].asstr()[...]),
                    wavelength=file["wavelength"][...],
                    mean=statistics["mean"][...],
                    low=statistics["quantiles"][0],
                    high=statistics["quantiles"][-1],
                    bounds=(float(bounds[0]), float(bounds[-1])),
                    n_rows=int(statistics.attrs["n_rows"]),
                    quantile_rows=int(statistics.attrs["quantile_rows"]),
                )
            )
    return found


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
        A panel per network and label: mean over stars, the quantiles as a band, and the lines that
        stand where the mean derivatives of the first network are largest.

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
        name, unit = name_and_unit(target_words(sensitivity.outputs[output], labels))
        axes.set_ylabel(f"∂ / ∂ flux\n({unit})" if unit else "∂ / ∂ flux")
        axes.set_title(
            f"{sensitivity.network}: ∂ {name} / ∂ flux, n = {sensitivity.n_rows}",
            fontweight="normal",
        )
    first = sensitivities[0]
    marked = _mark_lines(axes_of, first)
    axes_of[-1].set_xlabel("Vacuum wavelength (Å)")
    handles, texts = axes_of[0].get_legend_handles_labels()
    top_legend(figure, handles, texts, columns=2)
    of_bands = [s.quantile_rows for s in sensitivities if s.quantile_rows < s.n_rows]
    band = f" The bands are those of {min(of_bands)} of them." if of_bands else ""
    footnote(
        figure,
        f"n: test stars.{band} The flux is in units of the continuum."
        + f" Marked are lines of atoms (dotted) and of molecules (dashed, bold) where the mean "
        f"derivatives of {first.network} are largest." * marked,
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


def _mark_lines(axes_of: np.ndarray, sensitivity: Sensitivity) -> bool:
    """Mark and name lines, and tell whether there are some; a name at an end is moved inside."""
    x = sensitivity.wavelength
    # A name is written upright, about 7 points wide on a panel of 440 points.
    room = 8 / 440 * (x[-1] - x[0])
    size = np.abs(sensitivity.mean)
    chosen = lines_at_peaks(x, (size / size.max(axis=1, keepdims=True)).max(axis=0), room)
    if not chosen:
        return False
    top = axes_of[0]
    low, high = top.get_ylim()
    top.set_ylim(low, high + NAME_SHARE / (1 - NAME_SHARE) * (high - low))
    for at, species in chosen:
        molecule = species in MOLECULES
        for axes in axes_of:
            axes.axvline(
                at,
                ymax=1 - NAME_SHARE if axes is top else 1,
                color=GREY,
                linewidth=0.5,
                linestyle="--" if molecule else ":",
                zorder=0,
            )
        top.annotate(
            species,
            (np.clip(at, x[0] + room / 2, x[-1] - room / 2), 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            rotation=90,
            fontsize=6,
            fontweight="bold" if molecule else "normal",
            color="black" if molecule else GREY,
        )
    return True


def lines_at_peaks(
    wavelength: np.ndarray, size: np.ndarray, room: float
) -> list[tuple[float, str]]:
    """Find what absorbs where derivatives are large.

    Every line counts with its strength times a profile of Lorentz, half a resolution element wide,
    since large derivatives stand in the wings of strong lines, too. Of the species that absorbs
    most at a peak, all its lines together, the line that absorbs most is named.

    Parameters
    ----------
    wavelength, size : ndarray of shape (p,)
        Pixels in Å, and how large the derivatives are there, 1 at most.
    room : float
        Least distance of two marks in Å.

    Returns
    -------
    list of (wavelength in Å, name)
        The largest peak first; lines of hydrogen are named by their upper level, as Br 11.
    """
    lines = _all_lines()
    half = max(HALF_ELEMENT, float(np.median(np.diff(wavelength))) / 2)
    on_detector = [np.abs(wavelength - at).min() <= half for at in lines.wavelength]
    strength, places = _strengths(lines)[on_detector], lines.wavelength[on_detector]
    names, of = np.unique(lines.species[on_detector], return_inverse=True)
    chosen: list[tuple[float, str]] = []
    for pixel in np.argsort(-size, kind="stable"):
        if size[pixel] < LEAST or len(chosen) == N_LINES:
            break
        offset = (places - wavelength[pixel]) / half
        absorption = np.where(np.abs(offset) < WINGS, strength / (1 + offset**2), 0.0)
        if not absorption.any():
            continue
        best = np.bincount(of, weights=absorption).argmax()
        at = float(places[np.where(of == best, absorption, 0).argmax()])
        if all(abs(at - other) >= room for other, _ in chosen):
            chosen.append((at, str(names[best])))
    return chosen


def _all_lines() -> LineList:
    hydrogen, atoms = brackett_lines(), atomic_lines()
    named = LineList(
        np.array([f"{species} I" for species in atoms.species]),
        atoms.wavelength,
        atoms.excitation,
        atoms.log_gf,
    )
    series = LineList(
        np.array([f"Br {upper}" for upper in hydrogen.upper]),
        hydrogen.wavelength,
        np.full(len(hydrogen.upper), hydrogen.excitation),
        hydrogen.log_gf,
    )
    return named + series + molecular_lines()


def _strengths(lines: LineList) -> np.ndarray:
    """Compute absorbers in the lower level times gf, per free atom of hydrogen, in the giant."""
    layer = solve_layer(*(np.array([value]) for value in GIANT), depth=LINE_DEPTH)
    species = ["H" if name.startswith("Br ") else name.removesuffix(" I") for name in lines.species]
    population = {name: float(layer.population(name)[0]) for name in set(species)}
    theta = 5040.0 / float(layer.temperature[0])
    per_level = 10.0 ** (lines.log_gf - theta * lines.excitation)
    return per_level * np.array([population[name] for name in species])
