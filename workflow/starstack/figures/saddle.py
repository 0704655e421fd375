"""Where joint fits get stuck: loss against iteration, and the curvature at start and end."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from starstack.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ONE_COLUMN,
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

RUN = ("study", "alpha", "intercept", "init", "escape", "solver")
HISTORY = (*RUN, "iteration", "loss")
EIGENVALUES = (*RUN, "point", "eigenvalue")

_SOLVERS = {
    "gradient-descent": "Gradient descent",
    "l-bfgs": "L-BFGS",
    "trust-krylov": "Trust region (Krylov)",
}
_INITS = {"small-random": "small random"}
# Colour and width say the start: lines of a run that goes the way of another stay visible.
_STARTS = {
    "zeros": {"color": VERMILLION, "linewidth": 1.6},
    "small-random": {"color": BLUE, "linewidth": 1.1},
    "orthogonal": {"color": GREEN, "linewidth": 0.8},
}
_ESCAPES = {"no": {"linestyle": (0, (3, 1.5))}, "yes": {"linestyle": "-"}}
_POINTS = {
    "start": {"marker": "o", "markerfacecolor": "none", "markersize": 3.5},
    "end, no escape": {"marker": "x", "markersize": 3.5},
    "end": {"marker": "o", "markersize": 2.5},
}
# Losses of separable classes without a penalty fall for ever; the axis ends this far down, as a
# share of the largest, and the lines leave the panel.
_DEEPEST = 1e-4
_ROOM = 30  # above the largest loss, for words
# A sum of losses below this gives each row a probability above 1/2: the classes are separated.
_SEPARATED = float(np.log(2))


@styled
def plot_saddle(history: pd.DataFrame, eigenvalues: pd.DataFrame) -> Figure:
    """Draw the way of each fit and the eigenvalues at its ends, one row of panels per setting.

    Parameters
    ----------
    history, eigenvalues : DataFrame
        Rows of projection/history.csv and projection/eigenvalues.csv of one study.

    Returns
    -------
    Figure
        One panel of losses per solver, then one of eigenvalues, those of trust-krylov where it is
        among the solvers. Without eigenvalues (of too many parameters) that panel is left out. A
        run without escape that met a saddle goes on, dashed, to the right edge. Losses that fall
        for ever leave their panel, which then says so.

    Raises
    ------
    InputError
        If columns are missing, the history is empty or of several studies.
    """
    check_table(history, HISTORY, "history")
    check_table(eigenvalues, EIGENVALUES, "eigenvalues", may_be_empty=True)
    check_one_study(history, "history")
    history = history.reset_index(drop=True)
    settings = list(history.groupby(["alpha", "intercept"], sort=False))
    solvers = unique(history["solver"])
    n_columns = len(solvers) + (not eigenvalues.empty)
    width = TWO_COLUMNS if n_columns > 2 else max(ONE_COLUMN, 2.6 * n_columns)
    figure = new_figure(width, 1.15 + 1.75 * len(settings))
    widths = [1.0] * len(solvers) + [1.3] * (n_columns - len(solvers))
    axes = figure.subplots(len(settings), n_columns, squeeze=False, width_ratios=widths)
    endless = (history["alpha"] == 0) & (history["loss"] < _SEPARATED)
    for line, ((alpha, intercept), part) in enumerate(settings):
        largest, smallest = part["loss"].max(), part["loss"].min()
        logarithmic = largest > 30 * max(smallest, 1e-300)
        for column, solver in enumerate(solvers):
            panel = axes[line, column]
            shown = part["solver"] == solver
            _draw_losses(panel, part[shown], logarithmic=logarithmic)
            if smallest < _DEEPEST * largest:
                panel.set_ylim(_DEEPEST * largest, _ROOM * largest)
            if endless[part.index][shown].any():
                _write_no_minimum(panel)
            if line == 0:
                panel.set_title(_SOLVERS.get(solver, solver))
            if line == len(settings) - 1:
                panel.set_xlabel("Iteration")
        words = [f"α = {alpha:g}", "intercept" if intercept == "yes" else "no intercept"]
        axes[line, 0].set_ylabel(f"Loss\n({', '.join(words)})")
        if not eigenvalues.empty:
            shown = eigenvalues[
                (eigenvalues["alpha"] == alpha) & (eigenvalues["intercept"] == intercept)
            ]
            used = "trust-krylov" if "trust-krylov" in solvers else solvers[-1]
            _draw_eigenvalues(axes[line, -1], shown[shown["solver"] == used])
            if line == 0:
                axes[line, -1].set_title("Hessian")
    marks = _legend(unique(history["init"]), with_points=not eigenvalues.empty)
    top_legend(figure, marks, [mark.get_label() for mark in marks], columns=4)
    footnote(
        figure,
        "A fit that stays at a saddle has a negative eigenvalue at its end (×). Iterations are on "
        "a logarithmic axis from 1 on, eigenvalues on one that is linear near zero."
        + (
            " No minimum: the classes are separable and there is no penalty, so the loss falls for "
            "ever, and lines leave their panel."
            if endless.any()
            else ""
        ),
    )
    return figure


def _draw_losses(axes: Axes, history: pd.DataFrame, *, logarithmic: bool) -> None:
    end = max(10, int(history["iteration"].max()))
    for init, runs in history.groupby("init", sort=False):
        lines = {escape: run for escape, run in runs.groupby("escape", sort=False)}
        held, free = (lines.get(escape, runs.iloc[:0]) for escape in ("no", "yes"))
        if len(held) == len(free):  # met no saddle: the same run
            lines.pop("no", None)
        for escape, run in lines.items():
            iteration, loss = run["iteration"].to_list(), run["loss"].to_list()
            if escape == "no":  # stays where it is
                iteration, loss = [*iteration, end], [*loss, loss[-1]]
            if logarithmic:
                loss = np.maximum(loss, 1e-300)  # a logarithmic axis drops zeros
            style = _STARTS.get(init, {"color": GREY}) | _ESCAPES[escape]
            axes.plot(iteration, loss, **style)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.05, end)
    if logarithmic:
        axes.set_yscale("log")


def _write_no_minimum(axes: Axes) -> None:
    axes.text(
        0.97,
        0.97,
        "no minimum: the\nloss falls for ever",
        transform=axes.transAxes,
        fontsize=6,
        color=GREY,
        ha="right",
        va="top",
    )


def _draw_eigenvalues(axes: Axes, eigenvalues: pd.DataFrame) -> None:
    inits = unique(eigenvalues["init"])
    for place, init in enumerate(inits):
        part = eigenvalues[eigenvalues["init"] == init]
        free, held = part[part["escape"] == "yes"], part[part["escape"] == "no"]
        ends = {
            "start": free.loc[free["point"] == "start", "eigenvalue"],
            "end, no escape": held.loc[held["point"] == "end", "eigenvalue"],
            "end": free.loc[free["point"] == "end", "eigenvalue"],
        }
        if np.array_equal(ends["end, no escape"], ends["end"]):
            ends.pop("end, no escape")
        for kind, values in ends.items():
            offset = {"start": -0.22, "end, no escape": 0.0, "end": 0.22}[kind]
            axes.plot(
                np.full(len(values), place + offset),
                values,
                linestyle="none",
                color=_STARTS.get(init, {"color": GREY})["color"],
                **_POINTS[kind],
            )
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    largest = eigenvalues["eigenvalue"].abs().max()
    decade = np.floor(np.log10(max(largest, 1e-300)))
    axes.set_yscale("symlog", linthresh=10 ** (decade - 2), linscale=0.6)
    axes.set_ylim(-3 * largest, 3 * largest)
    # Of ticks at each power of ten the labels would run into each other around zero.
    axes.set_yticks([sign * 10**power for sign in (-1, 1) for power in (decade, decade - 1)] + [0])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(
        range(len(inits)), [_INITS.get(init, init).replace(" ", "\n") for init in inits]
    )
    axes.set_xlim(-0.5, len(inits) - 0.5)
    axes.set_ylabel("Eigenvalue")


def _legend(inits: list[str], *, with_points: bool) -> list[Line2D]:
    handles = [
        Line2D(
            [], [], label=f"start: {_INITS.get(init, init)}", **_STARTS.get(init, {"color": GREY})
        )
        for init in inits
    ]
    handles += [
        Line2D([], [], color="black", label="with escape", **_ESCAPES["yes"]),
        Line2D([], [], color="black", label="without escape", **_ESCAPES["no"]),
    ]
    if with_points:
        handles += [
            Line2D([], [], color="black", linestyle="none", label=f"eigenvalue at {kind}", **style)
            for kind, style in _POINTS.items()
        ]
    return handles
