"""What a network learned, epoch by epoch: as a table, and as lines in the log."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

COLUMNS = ("epoch", "quantity", "value")


def history_table(epochs: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Lay out one line per epoch and quantity.

    Parameters
    ----------
    epochs : sequence of mappings
        Quantities of each epoch by name, ``epoch`` (from 1) among them.

    Returns
    -------
    DataFrame
        Columns ``epoch``, ``quantity``, ``value``.

    Examples
    --------
    >>> history_table([{"epoch": 1, "loss": 0.5, "val_loss": 0.6}])["quantity"].tolist()
    ['loss', 'val_loss']
    """
    lines = [
        (int(values["epoch"]), name, float(value))
        for values in epochs
        for name, value in values.items()
        if name != "epoch"
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def physical(
    logs: Mapping[str, float], target_names: Sequence[str], scales: Sequence[float]
) -> dict[str, float]:
    """Turn mean squares of scaled errors into root mean squares in the units of the targets.

    Parameters
    ----------
    logs : mapping
        Keras's numbers of an epoch; ``mse_0`` and ``val_mse_0`` are mean squared errors of the
        first target, and so on. Others stay as they are.
    target_names : sequence of str
        Names of the targets.
    scales : sequence of float
        What each was divided by.

    Examples
    --------
    >>> physical({"loss": 0.25, "val_mse_0": 0.25}, ["teff"], [500.0])
    {'loss': 0.25, 'val_rmse_teff': 250.0}
    """
    found = {}
    for name, value in logs.items():
        kind, _, number = name.rpartition("_")
        if kind in ("mse", "val_mse"):
            at = int(number)
            name = f"{kind.replace('mse', 'rmse')}_{target_names[at]}"
            value = math.sqrt(value) * scales[at]
        found[name] = float(value)
    return found


def progress_line(values: Mapping[str, float], n_epochs: int, best: bool) -> str:
    """Say how an epoch went, without its number of seconds.

    Examples
    --------
    >>> progress_line({"epoch": 2, "loss": 0.5, "val_rmse_teff": 81.25}, 10, best=True)
    'epoch 2 of 10: loss 0.5, val_rmse_teff 81.25 (best)'
    """
    shown = ", ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if name != "epoch" and (not name.startswith("rmse_") or f"val_{name}" not in values)
    )
    return f"epoch {int(values['epoch'])} of {n_epochs}: {shown}{' (best)' if best else ''}"
