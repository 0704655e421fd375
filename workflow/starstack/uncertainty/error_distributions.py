"""How errors in units of their predicted standard deviation may be distributed.

Calibration and recalibration look at the standardised error z = (predicted - observed) / σ through
one of these: the Gaussian, which an error budget assumes; Student's t of variance one, whose tails
are as heavy as the degrees of freedom say; or the distribution that was found on other rows.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import optimize, stats

from starstack.errors import InputError

# Below, the variance is infinite or not of use; above, Student's t is a Gaussian for every purpose.
DOF_RANGE = (2.1, 200.0)


class ErrorDistribution(Protocol):
    """A distribution of standardised errors that is symmetric about zero."""

    name: str

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller value."""

    def quantile(self, level: float) -> float:
        """Return half the width of the central interval of this probability."""

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density; NaN where there is none."""


@dataclass(frozen=True)
class Gaussian:
    """The normal distribution of variance one.

    Examples
    --------
    >>> round(Gaussian().quantile(0.95), 3)
    1.96
    """

    name: str = "gaussian"

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller value."""
        return stats.norm.cdf(z)

    def quantile(self, level: float) -> float:
        """Return half the width of the central interval of this probability."""
        return float(stats.norm.ppf(0.5 + level / 2))

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density."""
        return stats.norm.logpdf(z)


@dataclass(frozen=True)
class StudentT:
    """Student's t, stretched to variance one.

    Attributes
    ----------
    dof : float
        Degrees of freedom, above 2.

    Examples
    --------
    The heavier the tails, the narrower the core at equal variance:

    >>> t = StudentT(dof=4.0)
    >>> round(t.quantile(0.68), 3), round(t.quantile(0.99), 3)
    (0.802, 3.256)
    """

    dof: float
    name: str = "student_t"

    @property
    def scale(self) -> float:
        """What makes the variance one."""
        return float(np.sqrt((self.dof - 2) / self.dof))

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller value."""
        return stats.t.cdf(np.asarray(z) / self.scale, self.dof)

    def quantile(self, level: float) -> float:
        """Return half the width of the central interval of this probability."""
        return float(self.scale * stats.t.ppf(0.5 + level / 2, self.dof))

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density."""
        return stats.t.logpdf(np.asarray(z) / self.scale, self.dof) - np.log(self.scale)


@dataclass(frozen=True, eq=False)
class Empirical:
    """What was found on other rows, made symmetric.

    Attributes
    ----------
    sizes : ndarray of shape (n,)
        Absolute values in rising order.
    """

    sizes: np.ndarray
    name: str = "empirical"

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller value."""
        n = len(self.sizes)
        inside = np.interp(np.abs(z), np.r_[0.0, self.sizes], np.arange(n + 1) / (n + 1))
        return 0.5 + np.sign(z) * inside / 2

    def quantile(self, level: float) -> float:
        """Return half the width of the central interval; infinite where there are too few rows.

        It is the one of split conformal prediction, ⌈(n + 1) · level⌉ in rank, so that it covers
        at least `level` of rows that are exchangeable with these.
        """
        rank = int(np.ceil((len(self.sizes) + 1) * level - 1e-9))
        return float(self.sizes[rank - 1]) if 0 < rank <= len(self.sizes) else float("inf")

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return NaN: a set of numbers has no density."""
        return np.full(np.shape(z), np.nan)


def _student_t(z: np.ndarray) -> StudentT:
    def cost(log_dof: float) -> float:
        return -float(StudentT(float(np.exp(log_dof))).log_density(z).sum())

    found = optimize.minimize_scalar(cost, bounds=np.log(DOF_RANGE), method="bounded")
    return StudentT(float(np.exp(found.x)))


DISTRIBUTIONS = {
    "gaussian": lambda z: Gaussian(),
    "student_t": _student_t,
    "empirical": lambda z: Empirical(np.sort(np.abs(z))),
}


def fit_distribution(kind: str, z: np.ndarray) -> ErrorDistribution:
    """Fit a distribution to standardised errors.

    Parameters
    ----------
    kind : str
        A key of `DISTRIBUTIONS`. The degrees of freedom of ``student_t`` are those of the largest
        likelihood, within `DOF_RANGE`.
    z : ndarray of shape (n,)
        Errors over their predicted standard deviation.

    Raises
    ------
    InputError
        If there is no such distribution, or no row.
    """
    if kind not in DISTRIBUTIONS:
        raise InputError(
            f"distribution of errors: expected one of {', '.join(DISTRIBUTIONS)}, got {kind!r}"
        )
    z = np.asarray(z, dtype=float)
    if not len(z):
        raise InputError(f"distribution of errors: {kind} needs rows, got none")
    return DISTRIBUTIONS[kind](z)
