"""Whether predicted intervals hold what they promise: coverage, z-scores, transforms."""

import re
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starstack.figures.style import (
    BAND,
    BLUE,
    GREY,
    SERIES_COLOURS,
    TWO_COLUMNS,
    check_one_study,
    check_table,
    choose,
    footnote,
    heading,
    n_text,
    new_figure,
    sentence_figure,
    styled,
    top_legend,
    unique,
)
from starstack.figures.words import method_words, name_and_unit, target_words

COLUMNS = (
    "study",
    "estimator",
    "method",
    "output",
    "snr",
    "statistic",
    "value",
    "standard_error",
    "n",
)
HISTOGRAM_COLUMNS = ("study", "estimator", "method", "output", "quantity", "low", "high", "count")
_COVERAGE = re.compile(r"coverage_([\d.]+)")
_MARKERS = "osD^vPX<>p"
# Of "kfac", and of "kfac, Student t" after it.
_LINES = ("-", "--", ":")
JOINT = "joint"


@styled
def plot_coverage(
    calibration: pd.DataFrame,
    methods: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    tolerance: float = 0.02,
) -> Figure:
    """Draw coverage minus promise of every method: by level above, at 68 % by S/N below.

    Parameters
    ----------
    calibration : DataFrame
        Calibration of one estimator of one study: `COLUMNS`.
    methods : sequence of str, optional
        Which; all by default.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.
    tolerance : float
        Half the height of the grey band.

    Returns
    -------
    Figure
        A column per label, and one for all labels together where there are several. Points are
        slightly apart, so that error bars can be told from one another.

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies, or a method is unknown.
    """
    check_table(calibration, COLUMNS, "calibration")
    check_one_study(calibration, "calibration")
    names = choose(unique(calibration["method"]), methods, "calibration: method")
    table = calibration[calibration["method"].isin(names)].copy()
    found = [_COVERAGE.fullmatch(name) for name in table["statistic"]]
    table["level"] = [float(match[1]) / 100 if match else np.nan for match in found]
    table = table[table["level"].notna()]
    table["off"] = 100 * (table["value"] - table["level"])
    outputs = unique(table["output"])
    if len(outputs) == 2:
        # All labels together are the one label there is.
        outputs = [name for name in outputs if name != JOINT]
    bins = [name for name in unique(table["snr"]) if name != "all"]
    figure = new_figure(TWO_COLUMNS if len(outputs) > 1 else 5.0, 4.6 if bins else 2.9)
    rows = 2 if bins else 1
    axes_of = figure.subplots(rows, len(outputs), sharey="row", squeeze=False)
    styles = _styles(names)
    for column, output in enumerate(outputs):
        part = table[table["output"] == output]
        words = "all labels" if output == JOINT else target_words(output, labels)
        levels = sorted(part["level"].unique())
        axes = axes_of[0, column]
        axes.set_title(name_and_unit(words)[0])
        ticks = [f"{100 * level:g}" for level in levels]
        _deviations(axes, part[part["snr"] == "all"], "level", levels, ticks, styles, tolerance)
        axes.set_xlabel("Promised (%)")
        if bins:
            axes = axes_of[1, column]
            some = part[(part["snr"] != "all") & np.isclose(part["level"], 0.68)]
            ticks = [name.replace("-", "–") for name in bins]
            _deviations(axes, some, "snr", bins, ticks, styles, tolerance)
            axes.tick_params(axis="x", rotation=60)
            axes.set_xlabel("Signal-to-noise ratio")
    axes_of[0, 0].set_ylabel("Covered − promised (%)")
    if bins:
        axes_of[1, 0].set_ylabel("Covered − 68 (%)")
    handles = {line.get_label(): line for line in axes_of[0, 0].containers}
    top_legend(figure, handles.values(), handles, columns=4)
    sizes = table.loc[table["snr"] == "all", "n"]
    footnote(
        figure,
        f"{n_text(sizes)} test rows. Error bars: ± 1 binomial standard error. "
        f"Grey: ± {100 * tolerance:g} %."
        + (" Below: intervals of 68 %, by signal-to-noise ratio." if bins else "")
        + _promises(table),
    )
    return figure


def _promises(table: pd.DataFrame) -> str:
    """Say which coverage methods guarantee, on average over rows."""
    if "guarantee" not in table:
        return ""
    proved = table[table["guarantee"].notna()]
    words = []
    for method in unique(proved["method"]):
        rows = proved[(proved["method"] == method) & (proved["output"] == proved["output"].iloc[0])]
        least = {f"{100 * r.level:g}": 100 * r.guarantee for r in rows.itertuples()}
        some = [f"{least[level]:.3g} % at {level}" for level in ("68", "95") if level in least]
        words.append(f"{method} at least {' and '.join(some)}")
    return f" Guaranteed on average over rows: {'; '.join(words)}." if words else ""


def _styles(names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Give each method a shift to the side, and a colour and marker by what is recalibrated.

    What stands before the comma is one family: its first method has filled marks and a solid line.
    """
    shifts = np.linspace(-0.28, 0.28, len(names)) if len(names) > 1 else [0.0]
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.partition(",")[0], []).append(name)
    looks = zip(families.values(), cycle((*SERIES_COLOURS, GREY)), cycle(_MARKERS), strict=False)
    of_name = {
        name: {"color": colour, "marker": marker, "linestyle": line}
        | ({} if line == "-" else {"markerfacecolor": "white"})
        for members, colour, marker in looks
        for name, line in zip(members, cycle(_LINES), strict=False)
    }
    return {
        name: of_name[name] | {"shift": shift} for name, shift in zip(names, shifts, strict=True)
    }


def _deviations(
    axes: Axes,
    part: pd.DataFrame,
    column: str,
    places: Sequence,
    ticks: Sequence[str],
    styles: Mapping[str, Mapping],
    tolerance: float,
) -> None:
    axes.axhspan(-100 * tolerance, 100 * tolerance, color=BAND, zorder=0)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    position = {place: number for number, place in enumerate(places)}
    for name, style in styles.items():
        rows = part[part["method"] == name]
        options = {key: value for key, value in style.items() if key != "shift"}
        container = axes.errorbar(
            rows[column].map(position) + style["shift"],
            rows["off"],
            yerr=100 * rows["standard_error"],
            markersize=3,
            linewidth=0.7,
            label=method_words(name),
            **options,
        )
        container.lines[0].set_gid("coverage")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.5, len(ticks) - 0.5)


@styled
def plot_standardised_errors(
    histograms: pd.DataFrame, method: str | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """Draw histograms of z = (predicted - observed) / σ, and of their transforms.

    Parameters
    ----------
    histograms : DataFrame
        Counts of one estimator of one study: `HISTOGRAM_COLUMNS`.
    method : str, optional
        Which; the first by default.
    labels : mapping of str to str, optional
        Words and unit of a label by its name.

    Returns
    -------
    Figure
        A column per label. Above: z beside the normal distribution, on a logarithmic scale, so
        that tails can be seen. Below: the probability integral transform, which is even if the
        law of the errors is the right one, with the scatter of ± 2 standard deviations that an
        even one has.

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies, or a method is unknown.
    """
    check_table(histograms, HISTOGRAM_COLUMNS, "histograms")
    check_one_study(histograms, "histograms")
    (name,) = choose(
        unique(histograms["method"]), [method] if method else None, "histograms: method"
    )[:1]
    table = histograms[histograms["method"] == name]
    outputs = unique(table["output"])
    if not outputs:
        return sentence_figure("No error of this study was standardised.")
    width = min(TWO_COLUMNS, 0.8 + 2.3 * len(outputs))
    figure = new_figure(width, 4.0)
    axes_of = figure.subplots(2, len(outputs), sharey="row", squeeze=False)
    for column, output in enumerate(outputs):
        part = table[table["output"] == output]
        above, below = axes_of[:, column]
        words = target_words(output, labels)
        above.set_title(heading(name_and_unit(words)[0], width / len(outputs)))
        _z_scores(above, part[part["quantity"] == "z"])
        _transforms(below, part[part["quantity"] == "pit"])
    axes_of[0, 0].set_ylabel("Density")
    axes_of[1, 0].set_ylabel("Density")
    n = int(table[(table["output"] == outputs[0]) & (table["quantity"] == "pit")]["count"].sum())
    footnote(
        figure,
        f"n = {n} test rows; {method_words(name)}.\nLine: normal distribution; outer bins hold "
        "what lies beyond. Grey: ± 2 standard deviations of even counts.",
    )
    return figure


def _z_scores(axes: Axes, part: pd.DataFrame) -> None:
    width = part["high"] - part["low"]
    density = part["count"] / part["count"].sum() / width
    axes.bar(part["low"], density, width, align="edge", color=BLUE, alpha=0.6, gid="z")
    grid = np.linspace(part["low"].min(), part["high"].max(), 200)
    normal = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    axes.plot(grid, normal, color="black", linewidth=0.9)
    axes.set_yscale("log")
    axes.set_ylim(0.5 * normal.min(), 1.0)
    axes.set_xlabel("z = (predicted − observed) / σ")


def _transforms(axes: Axes, part: pd.DataFrame) -> None:
    width = part["high"] - part["low"]
    total = part["count"].sum()
    density = part["count"] / total / width
    axes.bar(part["low"], density, width, align="edge", color=BLUE, alpha=0.6, zorder=2, gid="pit")
    share = float(width.iloc[0])
    spread = 2 * np.sqrt(share * (1 - share) / total) / share
    # The band lies under the bars, the dashed ends of it over them.
    axes.axhspan(1 - spread, 1 + spread, color=GREY, alpha=0.25, linewidth=0, zorder=1)
    for end in (1 - spread, 1 + spread):
        axes.axhline(end, color=GREY, linewidth=0.6, linestyle="--", zorder=3)
    axes.axhline(1, color="black", linewidth=0.9, zorder=3)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    # Of few rows, counts scatter by more than the usual height.
    axes.set_ylim(0, max(1.6, axes.get_ylim()[1], 1.05 * (1 + spread), 1.05 * density.max()))
    axes.set_xlabel("Probability integral transform")
