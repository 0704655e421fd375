"""How near the errors that were made come to the smallest that are possible."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from starstack.errors import InputError
from starstack.uncertainty.calibration import snr_groups

COLUMNS = ("output", "snr", "statistic", "value", "standard_error", "n")


def efficiency_table(
    errors: np.ndarray,
    bound: np.ndarray,
    names: Sequence[str],
    *,
    snr: np.ndarray | None = None,
    snr_bins: Sequence[float] = (),
    predicted: np.ndarray | None = None,
) -> pd.DataFrame:
    """Tabulate errors over the Cramér–Rao bound, by label and signal-to-noise ratio.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus true.
    bound : ndarray of shape (n, k, k)
        From `starstack.uncertainty.cramer_rao`.
    names : sequence of str, length k
        Labels.
    snr : ndarray of shape (n,), optional
        Signal-to-noise ratios.
    snr_bins : sequence of float
        Edges in rising order.
    predicted : ndarray of shape (n, k, k), optional
        Predicted covariance from the noise alone, compared with the bound likewise.

    Returns
    -------
    DataFrame
        `COLUMNS`. ``statistic`` is ``rms_error`` and ``rms_bound`` in the unit of the label, their
        ratio ``error_over_bound``, and ``noise_over_bound`` if `predicted` is given. The standard
        error of a ratio r of root mean squares is that of r² = mean(e²) / mean(b²) over rows
        (delta method) over 2 r.

    Examples
    --------
    >>> table = efficiency_table(np.full((4, 1), 6.0), np.full((4, 1, 1), 9.0), ["teff"])
    >>> table.set_index("statistic")["value"].to_dict()
    {'rms_error': 6.0, 'rms_bound': 3.0, 'error_over_bound': 2.0}
    """
    n, k = errors.shape
    if bound.shape != (n, k, k):
        raise InputError(f"bound: has shape {bound.shape}; expected {(n, k, k)}")
    least = np.diagonal(bound, axis1=1, axis2=2)
    noise = None if predicted is None else np.diagonal(predicted, axis1=1, axis2=2)
    rows = []
    for group, chosen in snr_groups(n, snr, snr_bins).items():
        for column, name in enumerate(names):
            squares, small = errors[chosen, column] ** 2, least[chosen, column]
            found = {
                "rms_error": _root(squares, np.ones(len(chosen))),
                "rms_bound": _root(small, np.ones(len(chosen))),
                "error_over_bound": _root(squares, small),
            }
            if noise is not None:
                found["noise_over_bound"] = _root(noise[chosen, column], small)
            rows += [(name, group, what, *values, len(chosen)) for what, values in found.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _root(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Return √(mean / mean) and its standard error."""
    ratio = float(above.mean() / below.mean())
    influence = (above - ratio * below) / below.mean()
    n = len(above)
    error = influence.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
    root = float(np.sqrt(ratio))
    return root, float(error / (2 * root)) if root else float("nan")
