"""Stretch predicted errors, and give up the Gaussian, where other rows say so.

On rows that were neither trained on nor will be tested on, the standardised errors of each label
are compared, in bins of something that is known of a new row (its signal-to-noise ratio, or its
predicted error), with what they should be. Two corrections come of it:

* a factor on σ, the root mean square of z in the bin (variance scaling: Levi et al. 2022, Sensors
  22, 5540). It leaves the correlations of the labels as they are: C becomes D C D;
* a distribution of z/factor (`starstack.uncertainty.error_distributions`): the residual scatter of
  a network has heavier tails than a Gaussian, so that the right variance gives 68 % intervals that
  are too wide. All labels of a row together have a law of their own, of eᵀ (D C D)⁻¹ e
  (`starstack.uncertainty.joint_distributions`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from starstack.curvature.options import whole_number
from starstack.errors import InputError
from starstack.uncertainty.calibration_rows import MIN_ROWS
from starstack.uncertainty.covariances import (
    LEAST_EIGENVALUE,
    check_covariance,
    have_inverses,
    least_eigenvalues,
    squared_mahalanobis,
    standardised,
)
from starstack.uncertainty.error_distributions import (
    ErrorDistribution,
    Gaussian,
    StudentT,
    fit_distribution,
)
from starstack.uncertainty.joint_distributions import ChiSquared, JointLaw, fit_joint_law

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recalibration:
    """Factors and distributions by label and bin.

    Attributes
    ----------
    edges : ndarray of shape (m - 1,)
        Inner edges of m bins.
    factors : ndarray of shape (m, k)
        On the standard deviations.
    distributions : tuple of tuples of ErrorDistribution
        Of the standardised errors after the factor, by bin and label.
    n : ndarray of int, shape (m,)
        Rows behind each bin.
    joint : tuple of JointLaw
        Of the squared distances of all labels together, after the factors, by bin; empty where
        covariances have no inverse.
    """

    edges: np.ndarray
    factors: np.ndarray
    distributions: tuple[tuple[ErrorDistribution, ...], ...]
    n: np.ndarray
    joint: tuple[JointLaw, ...]

    def bins(self, by: np.ndarray) -> np.ndarray:
        """Return the bin of each row; what lies beyond the fitted rows counts to the last one."""
        return np.digitize(by, self.edges)

    def covariance(self, covariance: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Stretch covariances of shape (n, k, k)."""
        factor = self.factors[self.bins(by)]
        return covariance * factor[:, :, np.newaxis] * factor[:, np.newaxis, :]

    def pit(self, z: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Return the probability integral transform of errors over *stretched* deviations."""
        return self._apply(lambda law, values: law.cdf(values), z, by)

    def log_density(self, z: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Return the log density of errors over stretched deviations."""
        return self._apply(lambda law, values: law.log_density(values), z, by)

    def joint_pit(self, errors: np.ndarray, stretched: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Return the probability of the ellipsoid through the errors of each row, shape (n,).

        Parameters
        ----------
        errors : ndarray of shape (n, k)
        stretched : ndarray of shape (n, k, k)
            From `covariance`.
        by : ndarray of shape (n,)
            What the bins are of.

        Raises
        ------
        InputError
            If there is no law of all labels together, or a covariance does not belong to errors,
            cannot be one or has no inverse: what is then left is `pit`, label by label.
        """
        if not self.joint:
            raise InputError(
                "recalibration: expected a law of all labels together, got none: covariances that "
                "it was fitted to have no inverse; judge the labels one by one"
            )
        check_covariance(errors, stretched)
        least = least_eigenvalues(stretched)
        if (singular := least <= LEAST_EIGENVALUE).any():
            row = int(np.argmax(singular))
            raise InputError(
                f"recalibration: the covariance of row {row} is singular (its correlation matrix "
                f"has an eigenvalue of {least[row]:.1g}); judge the labels one by one, or leave "
                "out the row"
            )
        squared, bins = squared_mahalanobis(errors, stretched), self.bins(by)
        result = np.empty(len(squared))
        for number, law in enumerate(self.joint):
            result[bins == number] = law.cdf(squared[bins == number])
        return result

    def half_widths(self, covariance: np.ndarray, by: np.ndarray, level: float) -> np.ndarray:
        """Return half the central interval of a probability, shape (n, k), in units of the labels.

        Parameters
        ----------
        covariance : ndarray of shape (n, k, k)
            As predicted, not stretched yet.
        by : ndarray of shape (n,)
            What the bins are of.
        level : float
            Such as 0.68.
        """
        stretched = self.covariance(covariance, by)
        quantiles = np.array([[law.quantile(level) for law in row] for row in self.distributions])
        return np.sqrt(np.diagonal(stretched, axis1=1, axis2=2)) * quantiles[self.bins(by)]

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Tabulate what was fitted: output, low, high, factor, distribution, dof, n."""
        outer = np.r_[-np.inf, self.edges, np.inf]
        rows = [
            (label, outer[b], outer[b + 1], self.factors[b, c], law.name, _dof(law), self.n[b])
            for c, label in enumerate(names)
            for b, law in enumerate(each[c] for each in self.distributions)
        ]
        columns = ["output", "low", "high", "factor", "distribution", "dof", "n"]
        return pd.DataFrame(rows, columns=columns)

    def _apply(self, take, z: np.ndarray, by: np.ndarray) -> np.ndarray:
        result, bins = np.empty(np.shape(z)), self.bins(by)
        for number, laws in enumerate(self.distributions):
            chosen = bins == number
            for column, law in enumerate(laws):
                result[chosen, column] = take(law, z[chosen, column])
        return result


def _dof(law: ErrorDistribution) -> float:
    return law.dof if isinstance(law, StudentT) else float("nan")


def identity(k: int) -> Recalibration:
    """Return the recalibration that changes nothing."""
    laws = ((Gaussian(),) * k,)
    return Recalibration(
        np.empty(0), np.ones((1, k)), laws, np.zeros(1, int), joint=(ChiSquared(k),)
    )


def fit_recalibration(
    errors: np.ndarray,
    covariance: np.ndarray,
    by: np.ndarray,
    *,
    n_bins: int = 1,
    distribution: str = "gaussian",
    scale: bool = True,
    joint: bool = True,
    min_rows: int = MIN_ROWS,
) -> Recalibration:
    """Learn how to stretch predicted errors.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus observed, of rows that are neither trained on nor tested on.
    covariance : ndarray of shape (n, k, k)
        Predicted.
    by : ndarray of shape (n,)
        What is binned: signal-to-noise ratios, or predicted errors of one label. It must be known
        of a new row without its true labels.
    n_bins : int
        Bins of equally many rows; fewer if there are not `min_rows` in each.
    distribution : str
        ``gaussian``, ``student_t`` or ``empirical``.
    scale : bool
        Whether deviations are stretched, or only the distribution is learnt.
    joint : bool
        Whether the law of all labels together is learnt, too. Where a row's covariance has no
        inverse it is not, and the log says so.
    min_rows : int
        Rows that a bin needs.

    Returns
    -------
    Recalibration

    Raises
    ------
    InputError
        If there are fewer than `min_rows` rows, shapes do not agree, a value of `by` is not finite,
        `n_bins` is no whole number of at least 1, or all errors of a label in a bin are zero.

    Examples
    --------
    Errors twice as large as predicted:

    >>> z = np.random.default_rng(1).normal(size=(4000, 1))
    >>> found = fit_recalibration(2.0 * z, np.ones((4000, 1, 1)), np.ones(4000))
    >>> found.factors.round(1).tolist()
    [[2.0]]
    """
    errors, covariance, by = (np.asarray(each, float) for each in (errors, covariance, by))
    check_covariance(errors, covariance)
    n_bins = whole_number(n_bins, "recalibration: n_bins")
    n, k = errors.shape
    if by.shape != (n,):
        raise InputError(
            f"recalibration: by has shape {by.shape}; expected ({n},), one value for each row"
        )
    if n < min_rows:
        raise InputError(
            f"recalibration: has {n} rows; expected at least {min_rows}: hold out more rows, or "
            "set recalibration: none"
        )
    if not np.isfinite(by).all():
        raise InputError("recalibration: the values to bin by hold NaN or infinity; fill them")
    wanted, n_bins = n_bins, max(1, min(n_bins, n // min_rows))
    edges = np.unique(np.quantile(by, np.linspace(0, 1, n_bins + 1)[1:-1]))
    bins = np.digitize(by, edges)
    # A value of `by` that many rows share may leave a bin without rows.
    used = np.unique(bins)
    edges, bins = edges[used[:-1]] if len(used) > 1 else edges[:0], np.searchsorted(used, bins)
    if len(used) < wanted:
        logger.info(
            "recalibration: %d of the %d bins asked for, of %d rows: each needs %d rows, and equal "
            "values share a bin",
            len(used),
            wanted,
            n,
            min_rows,
        )
    z = standardised(errors, covariance)
    factors = np.ones((len(used), k))
    joint = joint and have_inverses(covariance, "recalibration")
    laws, joint_laws = [], []
    for number in range(len(used)):
        inside = z[bins == number]
        if not (some := inside.any(axis=0)).all():
            # The factor would be 0, and the error bars with it.
            raise InputError(
                f"recalibration: all {len(inside)} errors of output {np.argmin(some)} are 0; set "
                "recalibration: none, or leave out the output"
            )
        if scale:
            factors[number] = np.sqrt(np.mean(inside**2, axis=0))
        laws.append(
            tuple(
                fit_distribution(distribution, inside[:, c] / factors[number, c]) for c in range(k)
            )
        )
        if joint:
            stretched = covariance[bins == number] * np.outer(factors[number], factors[number])
            squared = squared_mahalanobis(errors[bins == number], stretched)
            joint_laws.append(fit_joint_law(distribution, squared, k))
    return Recalibration(edges, factors, tuple(laws), np.bincount(bins), tuple(joint_laws))
