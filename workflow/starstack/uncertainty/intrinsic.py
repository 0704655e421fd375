"""Scatter that is left when the noise of the spectra and the uncertainty of the weights are known.

The error of a star is e ~ N(0, C + S) with the known covariance C of the star and the intrinsic
covariance S, which depends on where the star is. S is found in bins of the *predicted* labels: the
true ones of a new star are unknown, and bins of them would promise what cannot be kept. Within a
bin, S has the largest likelihood, by expectation and maximisation (Dempster, Laird & Rubin 1977,
J. R. Stat. Soc. B 39, 1) of the hidden intrinsic part s of each error,

    E[s] = S (C + S)⁻¹ e,    cov[s] = S - S (C + S)⁻¹ S,    S ← mean of E[s] E[s]ᵀ + cov[s],

which never leaves the positive semidefinite matrices. The bins are the boxes that remain after
halving at medians, along whichever predicted label spreads widest, while both halves have enough
stars; the estimate of each box is drawn towards that of the box it came from.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from starstack.curvature.covariance_faults import covariance_fault
from starstack.errors import InputError
from starstack.uncertainty.covariances import squared_mahalanobis

logger = logging.getLogger(__name__)

MIN_STARS = 200
# As many stars as the box above counts for in the estimate of a box.
PRIOR_STARS = 50
# A variance below this part of the median known one cannot be told from zero.
NOTHING = 1e-3
# A known standard deviation below this part of the errors may be nothing but rounding.
ROUNDED = 1e-3
MAX_STEPS, TOLERANCE = 500, 1e-4
# Added to every known variance, in units of the mean square error: the likelihood of errors of
# which one is a multiple of another, and nothing is known, has no largest value.
LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Box:
    """Predicted labels of one bin.

    Attributes
    ----------
    low, high : ndarray of shape (k,)
        Limits; infinite at the rim. The lower one belongs to the box.
    covariance : ndarray of shape (k, k)
        Intrinsic.
    n : int
        Stars behind it.
    at_zero : tuple of bool, length k
        Labels whose intrinsic variance was found to be zero: the known parts explain all.
    """

    low: np.ndarray
    high: np.ndarray
    covariance: np.ndarray
    n: int
    at_zero: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class IntrinsicScatter:
    """Intrinsic covariance by predicted labels.

    Attributes
    ----------
    boxes : tuple of Box
        They fill the space of the labels.
    """

    boxes: tuple[Box, ...]

    def covariance(self, predicted: np.ndarray) -> np.ndarray:
        """Look up the intrinsic covariance for predicted labels of shape (n, k)."""
        predicted = np.asarray(predicted, dtype=float)
        k = len(self.boxes[0].low)
        result = np.full((len(predicted), k, k), np.nan)
        for box in self.boxes:
            result[((predicted >= box.low) & (predicted < box.high)).all(axis=1)] = box.covariance
        return result

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Tabulate each box: its limits, the scatter of each label, and its number of stars."""
        rows = []
        for number, box in enumerate(self.boxes, start=1):
            row = {"bin": number, "n": box.n}
            for c, name in enumerate(names):
                row |= {f"{name}_low": box.low[c], f"{name}_high": box.high[c]}
            row |= {
                f"{name}_scatter": float(np.sqrt(max(box.covariance[c, c], 0)))
                for c, name in enumerate(names)
            }
            row["at_zero"] = " ".join(
                name for name, is_zero in zip(names, box.at_zero, strict=True) if is_zero
            )
            rows.append(row)
        return pd.DataFrame(rows)


def fit_intrinsic(
    errors: np.ndarray,
    known: np.ndarray,
    predicted: np.ndarray,
    *,
    min_stars: int = MIN_STARS,
    prior_stars: float = PRIOR_STARS,
    dof: float | None = None,
) -> IntrinsicScatter:
    """Find the intrinsic covariance in bins of predicted labels.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus true, of stars that are neither trained on nor tested on.
    known : ndarray of shape (n, k, k)
        Covariance from noise and weights.
    predicted : ndarray of shape (n, k)
        Predicted labels, which decide the bin.
    min_stars : int
        A box is halved if both halves have so many.
    prior_stars : float
        How many stars the surrounding box counts for.
    dof : float, optional
        Errors are taken as Student's t of so many degrees of freedom, so that outliers count
        less: for robustness, at the price of a variance that leaves the tails out.

    Returns
    -------
    IntrinsicScatter

    Raises
    ------
    InputError
        If there are fewer than two stars, shapes do not agree, a number is not finite, a matrix
        cannot be a covariance, or `dof` is not above 2.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> errors = rng.normal(size=(5000, 1)) * 5.0
    >>> found = fit_intrinsic(errors, np.full((5000, 1, 1), 9.0), errors, min_stars=5000)
    >>> round(float(np.sqrt(found.boxes[0].covariance[0, 0])), 1)
    4.0
    """
    errors, known, predicted = (np.asarray(each, float) for each in (errors, known, predicted))
    n, k = errors.shape if errors.ndim == 2 else (0, 0)
    if n < 2 or known.shape != (n, k, k) or predicted.shape != (n, k):
        raise InputError(
            f"intrinsic scatter: has errors {errors.shape}, covariances {known.shape} and "
            f"predicted labels {predicted.shape}; expected (n, k), (n, k, k) and (n, k) of 2 or "
            "more stars"
        )
    for name, values in (
        ("errors", errors),
        ("covariances", known.reshape(n, -1)),
        ("predicted labels", predicted),
    ):
        if not (finite := np.isfinite(values).all(axis=1)).all():
            raise InputError(
                f"intrinsic scatter: {name} of star {np.argmin(finite)} hold NaN or infinity; "
                "leave out the star"
            )
    if dof is not None and not dof > 2:
        raise InputError(
            f"intrinsic scatter: dof is {dof!r}; expected more than 2, below which Student's t has "
            "no covariance"
        )
    # In units of the errors: labels in K and dex differ by four orders of magnitude.
    unit = np.sqrt(np.mean(errors**2, axis=0))
    mean_variance = np.mean(np.einsum("nkk->nk", known), axis=0)
    unit = np.where(unit > 0, unit, np.sqrt(np.maximum(mean_variance, 0)))
    unit = np.where(unit > 0, unit, 1.0)
    if fault := covariance_fault(known, ROUNDED * unit):
        star, words = fault
        raise InputError(
            f"intrinsic scatter: the covariance of star {star} {words}; leave out the star"
        )
    scaled = errors / unit
    scaled_known = known / np.outer(unit, unit) + LEAST * np.eye(k)
    whole = largest_likelihood(scaled, scaled_known, dof=dof)
    waiting = [(np.arange(n), np.full(k, -np.inf), np.full(k, np.inf), whole)]
    boxes = []
    while waiting:
        rows, low, high, found = waiting.pop()
        parts = _halves(predicted, rows, low, high, min_stars)
        for part, part_low, part_high in parts:
            likely = largest_likelihood(scaled[part], scaled_known[part], dof=dof, start=found)
            share = len(part) / (len(part) + prior_stars)
            drawn = share * likely + (1 - share) * found
            waiting.append((part, part_low, part_high, drawn))
        if not parts:
            median = np.median(np.diagonal(scaled_known[rows], axis1=1, axis2=2), axis=0)
            zero = tuple((np.diagonal(found) <= NOTHING * median).tolist())
            boxes.append(Box(low, high, found * np.outer(unit, unit), len(rows), zero))
    count = sum(any(box.at_zero) for box in boxes)
    if count:
        logger.warning(
            "intrinsic scatter: in %d of %d bins a label has none left: noise and weights explain "
            "all of its errors, or more",
            count,
            len(boxes),
        )
    return IntrinsicScatter(tuple(boxes))


def _halves(
    predicted: np.ndarray, rows: np.ndarray, low: np.ndarray, high: np.ndarray, min_stars: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Halve a box along the label that spreads widest; nothing if a half has too few stars."""
    own, spread = predicted[rows], predicted.std(axis=0) + np.finfo(float).tiny
    reach = np.subtract(*np.percentile(own, (90, 10), axis=0)) / spread
    axis = int(np.argmax(reach))
    middle = float(np.median(own[:, axis]))
    below = own[:, axis] < middle
    if min(below.sum(), (~below).sum()) < max(min_stars, 2):
        return []
    cut_high, cut_low = high.copy(), low.copy()
    cut_high[axis] = cut_low[axis] = middle
    return [(rows[below], low, cut_high), (rows[~below], cut_low, high)]


def largest_likelihood(
    errors: np.ndarray,
    known: np.ndarray,
    *,
    dof: float | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Find the intrinsic covariance of the largest likelihood.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        With mean zero: a bias counts as scatter.
    known : ndarray of shape (n, k, k)
        Covariance of each that is known.
    dof : float, optional
        Degrees of freedom of Student's t instead of the Gaussian; the result is a covariance.
    start : ndarray of shape (k, k), optional
        First guess.

    Returns
    -------
    ndarray of shape (k, k)
        Positive semidefinite. Zero where the known parts explain more than the errors.
    """
    k = errors.shape[1]
    found = np.atleast_2d(errors.T @ errors) / len(errors) if start is None else start
    found = found + 1e-6 * np.trace(found) / k * np.eye(k)
    for _ in range(MAX_STEPS):
        total = known + found
        gain = np.linalg.solve(total, np.broadcast_to(found, total.shape)).swapaxes(1, 2)
        hidden = np.einsum("nij,nj->ni", gain, errors)
        weight = np.ones(len(errors))
        if dof is not None:
            # The scale mixture of Student's t: far errors have a small weight.
            weight = (dof + k) / (dof - 2 + squared_mahalanobis(errors, total))
        step = (hidden * weight[:, np.newaxis]).T @ hidden / len(errors)
        step += found - np.mean(gain, axis=0) @ found
        step = (step + step.T) / 2
        change = np.abs(step - found).max()
        found = step
        if change <= TOLERANCE * np.abs(found).max():
            break
    return _clipped(found, errors, known)


def _clipped(found: np.ndarray, errors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Set variances to zero where that is no less likely: the steps towards zero never end."""

    def likelihood(matrix: np.ndarray) -> float:
        total = known + matrix
        sign, log_determinant = np.linalg.slogdet(total)
        if (sign <= 0).any():  # no error is known: without scatter there would be none at all
            return -np.inf
        return -float((squared_mahalanobis(errors, total) + log_determinant).sum())

    for label in range(len(found)):
        kept = np.arange(len(found)) != label
        without = found * np.outer(kept, kept)
        if likelihood(without) >= likelihood(found):
            found = without
    return found
