"""Time and memory of every job, rule by rule."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from starstack.figures.style import (
    BAND,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TWO_COLUMNS,
    VERMILLION,
    check_table,
    footnote,
    new_figure,
    styled,
    top_legend,
    unique,
)

COLUMNS = ("study", "rule", "job", "seconds", "max_rss_mb")
# Every rule whose jobs have a record of their time, in the order of the figure.
RULES = {
    "load_data": "load data",
    "load_spectra": "load or simulate spectra",
    "split": "split rows",
    "fit_base": "fit base models",
    "assemble_meta_features": "assemble meta-features",
    "fit_meta": "fit meta-learners",
    "train_network": "train networks",
    "input_jacobian": "differentiate networks",
    "jacobian_identity": "compare with the simulator",
    "trace_projection": "trace joint fits",
    "project_rows": "project test rows",
    "evaluate": "score estimators",
    "fit_curvature": "fit posteriors of weights",
    "class_probabilities": "predict class probabilities",
    "propagate_noise": "propagate noise",
    "error_budget": "add up error budgets",
    "hessian_spectrum": "find Hessian spectra",
    "calibrate_classes": "calibrate class probabilities",
    "calibrate": "calibrate error bars",
    "compare_structures": "compare structures",
    "cramer_rao": "compute Cramér–Rao bounds",
    "train_baseline": "train baselines",
}
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "black", GREY)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


@styled
def plot_runtime(runtime: pd.DataFrame) -> Figure:
    """Draw the wall-clock time and the peak memory of each job, by rule and study.

    Parameters
    ----------
    runtime : DataFrame
        Rows of runtime.csv of one or several studies.

    Returns
    -------
    Figure
        Two panels with one mark per job, rules in the order of `RULES`: seconds on a logarithmic
        axis, and megabytes. A line marks a rule's median; the number of jobs and their total time
        stand at the right.

    Raises
    ------
    InputError
        If columns are missing or the table is empty.
    """
    check_table(runtime, COLUMNS, "runtime")
    found, studies = unique(runtime["rule"]), unique(runtime["study"])
    rules = [name for name in RULES if name in found]
    rules += [name for name in found if name not in RULES]
    lane = 0.8 / len(studies)
    figure = new_figure(TWO_COLUMNS, len(rules) * max(0.24, 0.04 * len(studies)) + 1.0)
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
    for axes, column in ((left, "seconds"), (right, "max_rss_mb")):
        for number, rule in enumerate(rules):
            axes.axhspan(number - 0.45, number + 0.45, color=BAND, zorder=0)
            median = runtime.loc[runtime["rule"] == rule, column].median()
            ends = [number - 0.45, number + 0.45]
            axes.plot([median] * 2, ends, color="black", linewidth=0.9, zorder=1)
        for number, study in enumerate(studies):
            rows = runtime[runtime["study"] == study]
            axes.plot(
                rows[column],
                rows["rule"].map(rules.index) + (number - (len(studies) - 1) / 2) * lane,
                linestyle="none",
                # The second round through the colours has other shapes.
                marker=_MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)],
                color=_COLOURS[number % len(_COLOURS)],
                markersize=3,
                markeredgewidth=0,
                alpha=0.75,
                label=study,
                gid="runtime",
            )
        axes.set_yticks(
            range(len(rules)), [RULES.get(rule, rule) for rule in rules] if axes is left else []
        )
        axes.set_ylim(len(rules) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
    _seconds_axis(left, runtime["seconds"].to_numpy())
    right.set_xlim(left=0)
    right.set_xlabel("Peak memory of a job (MB)")
    _totals(right, runtime, rules)
    if len(studies) == 1:
        left.set_title(studies[0])
    else:
        handles, names = left.get_legend_handles_labels()
        top_legend(figure, handles, names, columns=5)
    total = _duration(runtime["seconds"].sum())
    footnote(figure, f"n = {len(runtime)} jobs, {total} in all. Black lines: median of a rule.")
    return figure


def _seconds_axis(axes: Axes, seconds: np.ndarray) -> None:
    """Scale the axis of time: logarithmic, with plain numbers at the ticks."""
    axes.set_xlabel("Wall-clock time of a job (s)")
    if seconds.min() <= 0:
        # A clock that shows no time at all has no place on a logarithmic axis.
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    decades = np.log10(seconds.max() / seconds.min())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.8 else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _totals(axes: Axes, runtime: pd.DataFrame, rules: Sequence[str]) -> None:
    """Write at the right of each rule how many jobs it had and how long they took together."""
    for number, rule in enumerate(rules):
        seconds = runtime.loc[runtime["rule"] == rule, "seconds"]
        jobs = "1 job" if len(seconds) == 1 else f"{len(seconds)} jobs"
        axes.annotate(
            f"{jobs}, {_duration(seconds.sum())}",
            (1, number),
            xytext=(4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )


def _duration(seconds: float) -> str:
    """Write a duration in the unit that suits it.

    Examples
    --------
    >>> _duration(0.42), _duration(75.0), _duration(7200.0)
    ('0.42 s', '1.2 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
