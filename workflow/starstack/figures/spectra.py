"""A few spectra of a study, with their noise and their masked pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.figures.style import (
    BLUE,
    GREY,
    TWO_COLUMNS,
    VERMILLION,
    footnote,
    new_figure,
    styled,
    top_legend,
)
from starstack.figures.words import name_and_unit, rounded, target_words

# Two pixels further apart than this many steps lie on two detectors.
_GAP = 5


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One spectrum as a figure shows it.

    Attributes
    ----------
    title : str
        What it is of.
    flux : ndarray of shape (p,)
        Flux over continuum.
    error : ndarray of shape (p,) or None
        Its standard deviation; infinite where the pixel is masked.
    noiseless : ndarray of shape (p,) or None
        The flux without noise.
    """

    title: str
    flux: np.ndarray
    error: np.ndarray | None = None
    noiseless: np.ndarray | None = None


def typical_spectra(
    dataset: Dataset,
    labels: Mapping[str, str] | None = None,
    *,
    n_spectra: int = 4,
    n_pixels: int = 700,
) -> tuple[np.ndarray | None, list[Spectrum]]:
    """Pick spectra that are spread evenly over the first label, and a stretch of their pixels.

    Parameters
    ----------
    dataset : Dataset
        From `starstack.data.store.open_dataset`: only the chosen rows are read.
    labels : mapping of str to str, optional
        Words and unit of a label by its name, such as ``{"teff": "Teff (K)"}``.
    n_spectra, n_pixels : int
        How many, and how many pixels of each: as many as print can show.

    Returns
    -------
    wavelength : ndarray of shape (pixels,) or None
        Of the stretch.
    spectra : list of Spectrum
        In rising order of the label.
    """
    values = dataset.y.reshape(dataset.n_rows, -1)
    ranges = values.max(axis=0) - values.min(axis=0)
    order = np.argsort(values[:, 0], kind="stable")
    shares = (np.arange(n_spectra) + 0.5) / n_spectra
    rows = np.unique(order[(shares * len(order)).astype(int)])
    rows = rows[np.argsort(values[rows, 0], kind="stable")]
    pixels = slice(0, n_pixels)
    spectra = []
    for row in rows.tolist():
        title = ", ".join(
            _quantity(target_words(name, labels), value, scale)
            for name, value, scale in zip(dataset.target_names, values[row], ranges, strict=True)
        )
        if "snr" in dataset.row_values:
            title += f", S/N = {dataset.row_values['snr'][row]:.0f}"
        parts = (
            None if table is None else np.asarray(table[row, pixels], dtype=float)
            for table in (dataset.X, dataset.X_error, dataset.X_noiseless)
        )
        spectra.append(Spectrum(title, *parts))
    wavelength = None if dataset.wavelength is None else dataset.wavelength[pixels]
    return wavelength, spectra


def _quantity(words: str, value: float, scale: float) -> str:
    """Write a label with its unit behind the number.

    Examples
    --------
    >>> _quantity("Teff (K)", 4253.2, 3500), _quantity("redshift", 1.5, 2)
    ('Teff = 4253 K', 'redshift = 1.50')
    """
    name, unit = name_and_unit(words)
    return f"{name} = {rounded(value, scale)} {unit}".rstrip()


@styled
def plot_spectra(wavelength: np.ndarray | None, spectra: Sequence[Spectrum]) -> Figure:
    """Draw spectra below each other, with one standard deviation of their noise as a band.

    Parameters
    ----------
    wavelength : ndarray of shape (p,) or None
        Vacuum wavelength in Å; pixel numbers if None.
    spectra : sequence of Spectrum
        From top to bottom.

    Returns
    -------
    Figure
        A panel per spectrum; lines are broken where pixels are masked and between detectors.

    Raises
    ------
    InputError
        If there is no spectrum.
    """
    if not spectra:
        raise InputError("spectra: expected at least one spectrum to draw, got none")
    x = np.arange(len(spectra[0].flux)) if wavelength is None else np.asarray(wavelength)
    figure = new_figure(TWO_COLUMNS, 0.7 + 1.25 * len(spectra))
    panels = figure.subplots(len(spectra), 1, sharex=True, squeeze=False)[:, 0]
    for axes, spectrum in zip(panels, spectra, strict=True):
        _panel(axes, x, spectrum)
    panels[-1].set_xlabel("Pixel" if wavelength is None else "Vacuum wavelength (Å)")
    figure.supylabel("Flux / continuum", fontsize=8)
    handles, texts = panels[0].get_legend_handles_labels()
    top_legend(figure, handles, texts, columns=3)
    shares = [np.mean(~np.isfinite(s.error)) for s in spectra if s.error is not None]
    masked = f" {100 * np.mean(shares):.1f} % of these pixels are masked." if shares else ""
    footnote(figure, f"Lines are broken at masked pixels and between detectors.{masked}")
    return figure


def _panel(axes: Axes, x: np.ndarray, spectrum: Spectrum) -> None:
    good = np.ones(len(x), bool) if spectrum.error is None else np.isfinite(spectrum.error)
    step = np.median(np.diff(x)) if len(x) > 1 else 1.0
    ends = np.flatnonzero(np.diff(x) > _GAP * step) + 1
    for number, part in enumerate(np.split(np.arange(len(x)), ends)):
        hide = "" if number == 0 else "_"
        seen = np.where(good[part], spectrum.flux[part], np.nan)
        if spectrum.error is not None:
            error = np.where(good[part], spectrum.error[part], np.nan)
            axes.fill_between(
                x[part],
                seen - error,
                seen + error,
                color=BLUE,
                alpha=0.25,
                linewidth=0,
                label=f"{hide}± 1 standard deviation of the noise",
                rasterized=True,
            )
        axes.plot(
            x[part],
            seen,
            color=BLUE,
            linewidth=0.4,
            label=f"{hide}observed",
            gid="spectra",
            rasterized=True,
        )
        if spectrum.noiseless is not None:
            clean = np.where(good[part], spectrum.noiseless[part], np.nan)
            axes.plot(
                x[part],
                clean,
                color=VERMILLION,
                linewidth=0.4,
                label=f"{hide}without noise",
                rasterized=True,
            )
    axes.axhline(1, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    low, high = np.nanpercentile(np.where(good, spectrum.flux, np.nan), [0.05, 99.95])
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlim(x[0], x[-1])
    axes.set_title(spectrum.title, fontweight="normal")
