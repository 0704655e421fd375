"""One number that makes probabilities of classes more or less certain: the temperature.

Logits are divided by T, chosen by the log loss of rows that were neither trained on nor will be
tested on (Guo, Pleiss, Sun & Weinberger 2017, ICML, "On calibration of modern neural networks",
section 4.2). It applies to any probabilities, whose logarithms are their logits but for a number
that a softmax does not see:

    p_c(T) = p_c^(1/T) / Σ_j p_j^(1/T).

T > 1 draws them together. Which class is the most probable never changes.
"""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from starstack.errors import InputError

logger = logging.getLogger(__name__)

# Beyond these, probabilities are those of a coin or all 0 and 1.
LOWEST, HIGHEST = 0.05, 20.0
# Of probabilities in single precision.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Temperature:
    """A temperature, and what it does to the rows that it was chosen by.

    Attributes
    ----------
    value : float
        T.
    standard_error : float
        Of T, from the curvature of the log loss; NaN where T is an end of its range.
    log_loss_before, log_loss_after : float
        Mean of −log p of the true class, in nats.
    n : int
        Rows.
    """

    value: float
    standard_error: float
    log_loss_before: float
    log_loss_after: float
    n: int

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities at this temperature, shape (n, c)."""
        return softmax(_logarithms(probabilities) / self.value, axis=1)


def fit_temperature(
    probabilities: np.ndarray, codes: np.ndarray, what: str = "classes"
) -> Temperature:
    """Choose the temperature with the smallest log loss.

    With s = 1/T the loss is convex, and its derivative, the mean over rows of
    E_p(s)[log p] − log p_true, is zero at one place at most.

    Parameters
    ----------
    probabilities : ndarray of shape (n, c)
        Of calibration rows.
    codes : ndarray of int, shape (n,)
        Their classes.
    what : str
        Whose temperature it is, for the log.

    Raises
    ------
    InputError
        If there is no row, the shapes do not fit, a number is no probability, or a code is none of
        the classes.

    Examples
    --------
    Three rows in four are right, where 95 % was promised:

    >>> found = fit_temperature(np.tile([0.05, 0.95], (400, 1)), np.arange(400) % 4 > 0)
    >>> found.apply(np.array([[0.05, 0.95]])).round(3).tolist()
    [[0.25, 0.75]]
    """
    probabilities, given = np.asarray(probabilities, float), np.asarray(codes, float)
    # What is no whole number is none of the classes.
    codes = np.where(given % 1 == 0, given, -1).astype(int)
    if probabilities.ndim != 2 or not len(codes) or len(codes) != len(probabilities):
        raise InputError(
            f"temperature: expected probabilities of shape (n, c) for {len(codes)} rows, at least "
            f"one, got {probabilities.shape}; hold out rows by training.validation_fraction"
        )
    n_classes = probabilities.shape[1]
    if (wrong := (codes < 0) | (codes >= n_classes)).any():
        raise InputError(
            f"temperature: expected codes of classes from 0 to {n_classes - 1}, got "
            f"{given[wrong][0]:g}; number the classes as the columns of the probabilities"
        )
    if (off := ~((probabilities >= 0) & (probabilities <= 1 + ROUNDING))).any():
        row = int(np.argmax(off.any(axis=1)))
        raise InputError(
            f"temperature: expected probabilities from 0 to 1, got {probabilities[off][0]:g} in "
            f"row {row}; give what comes out of a softmax, not what goes into it"
        )
    logits = _logarithms(probabilities)
    truth = (np.arange(len(codes)), codes)

    def slope(s: float) -> float:
        return float(np.mean((softmax(s * logits, axis=1) * logits).sum(axis=1) - logits[truth]))

    def loss(s: float) -> float:
        return float(-np.mean(log_softmax(s * logits, axis=1)[truth]))

    low, high = 1 / HIGHEST, 1 / LOWEST
    inside = slope(low) < 0 < slope(high)
    if inside:
        s = brentq(slope, low, high, xtol=1e-12)
    else:
        s = low if slope(low) >= 0 else high
        logger.warning(
            "temperature of %s: the best for %d calibration rows is not within %g to %g; %g is "
            "taken, which says more of their number than of the network",
            what,
            len(codes),
            LOWEST,
            HIGHEST,
            1 / s,
        )
    p = softmax(s * logits, axis=1)
    variance = (p * logits**2).sum(axis=1) - (p * logits).sum(axis=1) ** 2
    error = 1 / np.sqrt(variance.sum()) / s**2 if inside else float("nan")
    return Temperature(1 / s, float(error), loss(1.0), loss(s), len(codes))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, dtype=float)
    return np.log(np.maximum(p, np.finfo(float).tiny))
