"""The curvature of trained networks: density of the Hessian's eigenvalues, structures compared."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    NullFormatter,
    NullLocator,
    SymmetricalLogLocator,
)

from starstack.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ONE_COLUMN,
    ORANGE,
    PURPLE,
    SKY,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    footnote,
    new_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import structure_words, target_words, unit_of

DENSITY_COLUMNS = (
    "study",
    "network",
    "probe",
    "eigenvalue",
    "density",
    "smoothing_width",
    "number_of_weights",
    "number_of_rows",
)
STRUCTURE_COLUMNS = (
    "study",
    "network",
    "structure",
    "output",
    "row",
    "standard_deviation",
    "exact_standard_deviation",
)
_MEAN = "mean"
# A density is drawn down to this part of what one eigenvalue would have at its peak.
_FLOOR = 0.1
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<")
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
# The axis of λ is linear within this many widths of the smoothing around zero; what is beyond
# them is negative, not zero smeared out.
_LINEAR_WIDTHS = 5
# As many points as print can show.
_POINTS = 400


@styled
def plot_eigenvalue_density(density: pd.DataFrame) -> Figure:
    """Draw the density of the eigenvalues of a network's Hessian, mean and single probes.

    Parameters
    ----------
    density : DataFrame
        Rows of eigenvalue_density.csv of one study, as
        `starstack.curvature.summary.density_table` lays them out.

    Returns
    -------
    Figure
        A panel per network: density on a logarithmic axis against the eigenvalue, on an axis that
        is linear within a few widths of the smoothing around zero and logarithmic beyond.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(density, DENSITY_COLUMNS, "eigenvalue density")
    check_one_study(density, "eigenvalue density")
    networks = unique(density["network"])
    n_columns = 1 if len(networks) <= 4 else 2
    n_rows = -(-len(networks) // n_columns)
    figure = new_figure(ONE_COLUMN if n_columns == 1 else TWO_COLUMNS, 0.75 + 2.1 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[len(networks) :]:
        axes.remove()
    panels = panels[: len(networks)]
    for axes, network in zip(panels, networks, strict=True):
        rows = density[density["network"] == network]
        _density_panel(axes, rows)
        probes = rows["probe"].nunique() - 1
        weights, n = rows[["number_of_weights", "number_of_rows"]].iloc[0].astype(int)
        counts = f"{weights:,} weights,\n{n:,} rows, {probes} probes"
        axes.set_title(f"{network}: {counts}")
    for axes in panels[-n_columns:]:
        axes.set_xlabel("Eigenvalue λ of the Hessian")
    figure.supylabel("Density per unit of λ", fontsize=8)
    found = {}
    for axes in panels:
        handles, texts = axes.get_legend_handles_labels()
        found |= dict(zip(texts, handles, strict=True))
    top_legend(figure, found.values(), found, columns=2)
    footnote(
        figure,
        "Stochastic Lanczos quadrature. Eigenvalues nearer to zero than the linear part of the "
        "axis are not told apart; beyond it, negative ones are shaded where the density exceeds "
        "what is smeared there from zero.",
    )
    return figure


def _density_panel(axes: Axes, rows: pd.DataFrame) -> None:
    hide = ""
    for probe in unique(rows["probe"]):
        if probe == _MEAN:
            continue
        part = rows[rows["probe"] == probe]
        axes.plot(
            part["eigenvalue"],
            part["density"],
            color=SKY,
            linewidth=0.4,
            label=f"{hide}one probe",
            rasterized=True,
        )
        hide = "_"
    mean = rows[rows["probe"] == _MEAN]
    eigenvalue, height = mean["eigenvalue"].to_numpy(), mean["density"].to_numpy()
    width = mean["smoothing_width"].to_numpy()
    single = 1 / (mean["number_of_weights"].to_numpy() * width * np.sqrt(2 * np.pi))
    axes.plot(eigenvalue, height, color=BLUE, label="mean of the probes", gid="density")
    axes.plot(
        eigenvalue,
        single,
        color=GREY,
        linewidth=0.7,
        linestyle=":",
        label="height of one eigenvalue",
        zorder=0,
    )
    seen = height > _FLOOR * single
    floor = _FLOOR * single[seen].min()
    threshold = _LINEAR_WIDTHS * width.min()
    # What a peak of all eigenvalues at zero would leave here, smeared out.
    smeared = np.exp(-0.5 * (eigenvalue / width) ** 2) / (width * np.sqrt(2 * np.pi))
    negative = (eigenvalue < -threshold) & seen & (height > 2 * smeared)
    if negative.any():
        axes.fill_between(
            eigenvalue,
            floor,
            height,
            where=negative,
            color=VERMILLION,
            alpha=0.35,
            linewidth=0,
            label="λ < 0",
        )
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=threshold, linscale=0.5)
    axes.xaxis.set_major_locator(_Decades(threshold))
    axes.xaxis.set_major_formatter(_power_of_ten)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(eigenvalue[seen][0], eigenvalue[seen][-1])
    axes.set_ylim(floor, 3 * rows["density"].max())


class _Decades(SymmetricalLogLocator):
    """Ticks at zero and at powers of ten beyond the linear part, six on a side at most.

    A side that no power of ten lies in has its end marked.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__(base=10, linthresh=threshold)

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        """Return the places of the ticks."""
        lowest = int(np.ceil(np.log10(self._linthresh)))
        ticks = [0.0]
        for sign, end in ((-1, -vmin), (1, vmax)):
            if end <= self._linthresh:
                continue
            unit = 10.0 ** np.floor(np.log10(end))
            powers = np.arange(lowest, int(np.log10(unit) + 0.5) + 1)
            beyond = 10.0 ** powers[:: max(1, -(-len(powers) // 6))]
            ticks.extend(sign * (beyond if len(beyond) else np.array([end // unit * unit])))
        return np.array(sorted(ticks))


def _power_of_ten(value: float, _: int | None = None) -> str:
    if value == 0:
        return "0"
    power = int(np.floor(np.log10(abs(value)) + 1e-9))
    factor = round(abs(value) / 10.0**power)
    times = "" if factor == 1 else rf"{factor}\times"
    return rf"${'-' if value < 0 else ''}{times}10^{{{power}}}$"


@styled
def plot_structures(structures: pd.DataFrame, labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the predictive standard deviations of each structure as shares of the exact ones.

    Parameters
    ----------
    structures : DataFrame
        Rows of structure_comparison.csv of one study and network, as
        `starstack.curvature.summary.structure_table` lays them out.
    labels : mapping of str to str, optional
        Words and unit of an output by its name, such as ``{"teff": "Teff (K)"}``.

    Returns
    -------
    Figure
        A panel per output: the ratio to the exact standard deviation against the exact one.

    Raises
    ------
    InputError
        If columns are missing, or the table is empty or of several studies.
    """
    check_table(structures, STRUCTURE_COLUMNS, "structure comparison")
    check_one_study(structures, "structure comparison")
    outputs, names = unique(structures["output"]), unique(structures["structure"])
    width = ONE_COLUMN if len(outputs) == 1 else TWO_COLUMNS
    n_columns = min(len(outputs), 3)
    n_rows = -(-len(outputs) // n_columns)
    figure = new_figure(width, 0.9 + 2.2 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(outputs) :]:
        axes.set_visible(False)
    for axes, output in zip(panels, outputs, strict=False):
        _structure_panel(axes, structures[structures["output"] == output], names)
        words = target_words(output, labels)
        axes.set_title(words)
        axes.set_xlabel(f"Exact standard deviation{unit_of(words)}")
    for axes in panels[::n_columns]:
        axes.set_ylabel("Structure / exact")
    ratio = structures["standard_deviation"] / structures["exact_standard_deviation"]
    median = ratio.groupby(structures["structure"]).median()
    handles, found = panels[0].get_legend_handles_labels()
    texts = [f"{structure_words(name)} ({median[name]:.3g})" for name in found]
    top_legend(figure, handles, texts, columns=4 if width == TWO_COLUMNS else 3, markerscale=1.8)
    n = structures.groupby(["structure", "output"], sort=False).size().max()
    shown = f", one in {_stride(n)} shown" if _stride(n) > 1 else ""
    footnote(
        figure,
        f"Standard deviation that the weights' uncertainty causes, in {n} predictions{shown}. In "
        "brackets: median ratio over all outputs.",
    )
    return figure


def _structure_panel(axes: Axes, part: pd.DataFrame, names: list[str]) -> None:
    for name, colour, shape in zip(names, cycle(_COLOURS), cycle(_SHAPES), strict=False):
        rows = part[part["structure"] == name]
        rows = rows.iloc[:: _stride(len(rows))]
        axes.plot(
            rows["exact_standard_deviation"],
            rows["standard_deviation"] / rows["exact_standard_deviation"],
            shape,
            color=colour,
            markersize=2.2,
            markeredgewidth=0,
            alpha=0.7,
            label=name,
            gid="structures",
            rasterized=True,
        )
    axes.axhline(1, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        # Labels of 2, 3, 4 and 6 within a power of ten overlap in a narrow panel.
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        if np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 1:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _stride(n: int) -> int:
    return max(1, -(-n // _POINTS))
