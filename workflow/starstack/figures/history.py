"""Loss curves: how the networks of a study learned, epoch by epoch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starstack.figures.style import (
    BLUE,
    GREY,
    ONE_COLUMN,
    TWO_COLUMNS,
    VERMILLION,
    check_one_study,
    check_table,
    footnote,
    heading,
    new_figure,
    styled,
    top_legend,
    unique,
)

COLUMNS = ("study", "network", "epoch", "quantity", "value")
_CURVES = {
    "loss": {"color": BLUE, "linestyle": "-", "label": "training rows"},
    "val_loss": {"color": VERMILLION, "linestyle": "--", "label": "validation rows"},
}


@styled
def plot_history(history: pd.DataFrame, task: str = "regression") -> Figure:
    """Draw the losses of training and validation rows against the epoch, one panel per network.

    Parameters
    ----------
    history : DataFrame
        Rows of history.csv of one study.
    task : str, optional
        ``regression``, whose targets were standardised, or ``classification``.

    Returns
    -------
    Figure
        Both axes of loss are logarithmic where the losses span more than a factor of three. The
        epoch whose weights were kept is marked.

    Raises
    ------
    InputError
        If columns are missing, the table is empty or of several studies.
    """
    check_table(history, COLUMNS, "history")
    check_one_study(history, "history")
    names = unique(history["network"])
    n_columns = min(len(names), 3)
    n_rows = -(-len(names) // n_columns)
    width = ONE_COLUMN if n_columns == 1 else TWO_COLUMNS
    figure = new_figure(width, 0.5 + 2.0 * n_rows)
    for number, name in enumerate(names):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        _panel(axes, history[history["network"] == name])
        axes.set_title(heading(name, width / n_columns - 0.6))
        axes.set_ylabel("Loss" if number % n_columns == 0 else "")
        axes.set_xlabel("Epoch")
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    shown = {text: line for text, line in lines.items() if not text.startswith("_")}
    top_legend(figure, shown.values(), shown, columns=3)
    footnote(
        figure,
        f"Loss of the last layer as trained{', targets standardised' * (task == 'regression')}. "
        "Training rows: mean over the epoch, with dropout, noise and penalties where the network "
        "has them.",
    )
    return figure


def _panel(axes: Axes, history: pd.DataFrame) -> None:
    wide = history.pivot(index="epoch", columns="quantity", values="value").sort_index()
    values = [wide[name].dropna() for name in _CURVES if name in wide]
    for name, style in _CURVES.items():
        if name in wide:
            marker = "o" if len(wide) < 3 else ""
            axes.plot(wide.index, wide[name], marker=marker, gid="history", **style)
    judged = wide["val_loss"] if "val_loss" in wide else wide["loss"]
    if judged.notna().any():
        best = judged.idxmin()
        axes.plot(
            [best],
            [judged[best]],
            marker="o",
            markerfacecolor="none",
            markeredgecolor=GREY,
            markersize=7,
            linestyle="none",
            label="weights kept",
        )
    flat = np.concatenate([v.to_numpy() for v in values])
    if len(flat) and flat.min() > 0 and flat.max() > 3 * flat.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
