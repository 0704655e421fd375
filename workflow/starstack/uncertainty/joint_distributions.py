"""Laws of d² = eᵀ C⁻¹ e, which say how large an ellipsoid about all labels of a row has to be.

For normal errors of covariance C and k labels d² has the χ² distribution of k degrees of freedom;
for a multivariate Student t of the same covariance and ν degrees of freedom, d² ν / ((ν − 2) k) has
Fisher's F distribution of k and ν (Kotz & Nadarajah 2004, *Multivariate t Distributions and Their
Applications*, §1.7). Factors that are right for each label leave d² too large or too small where
correlations are not as predicted: a factor on d² goes with the law.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import optimize, stats

from starstack.errors import InputError

# As for single labels: below, there is hardly a variance; above, it is normal for all purposes.
DOF_RANGE = (2.1, 1000.0)


class JointLaw(Protocol):
    """A distribution of squared distances."""

    def cdf(self, squared: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller one: that of the ellipsoid through the errors."""


@dataclass(frozen=True)
class ChiSquared:
    """Of normal errors.

    Attributes
    ----------
    k : int
        Labels.
    factor : float
        Mean of d²/k.

    Examples
    --------
    >>> round(float(ChiSquared(3).cdf(3.506)), 3)
    0.68
    """

    k: int
    factor: float = 1.0

    def cdf(self, squared: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller one."""
        return stats.chi2.cdf(np.asarray(squared) / self.factor, self.k)


@dataclass(frozen=True)
class FisherF:
    """Of a multivariate Student t.

    Attributes
    ----------
    k : int
        Labels.
    dof : float
        ν, above 2.
    factor : float
        On C.
    """

    k: int
    dof: float
    factor: float = 1.0

    @property
    def _unit(self) -> float:
        return self.factor * self.k * (self.dof - 2) / self.dof

    def cdf(self, squared: np.ndarray) -> np.ndarray:
        """Return the probability of a smaller one."""
        return stats.f.cdf(np.asarray(squared) / self._unit, self.k, self.dof)

    def log_density(self, squared: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density of d²."""
        scaled = np.asarray(squared) / self._unit
        return stats.f.logpdf(scaled, self.k, self.dof) - np.log(self._unit)


@dataclass(frozen=True, eq=False)
class EmpiricalDistances:
    """What was found on other rows.

    Attributes
    ----------
    sizes : ndarray of shape (n,)
        d² in rising order.
    """

    sizes: np.ndarray

    def cdf(self, squared: np.ndarray) -> np.ndarray:
        """Return the share of n + 1 rows that are nearer, interpolated."""
        n = len(self.sizes)
        return np.interp(squared, np.r_[0.0, self.sizes], np.arange(n + 1) / (n + 1))


def _fisher_f(squared: np.ndarray, k: int) -> FisherF:
    def cost(logarithms: np.ndarray) -> float:
        return -float(FisherF(k, *np.exp(logarithms)).log_density(squared).sum())

    start = np.log([10.0, squared.mean() / k])
    bounds = [np.log(DOF_RANGE), (start[1] - 5, start[1] + 5)]
    return FisherF(k, *np.exp(optimize.minimize(cost, start, bounds=bounds).x).tolist())


JOINT_LAWS = {
    "gaussian": lambda squared, k: ChiSquared(k, float(squared.mean() / k)),
    "student_t": _fisher_f,
    "empirical": lambda squared, k: EmpiricalDistances(np.sort(squared)),
}


def fit_joint_law(kind: str, squared: np.ndarray, k: int) -> JointLaw:
    """Fit the law of squared distances.

    Parameters
    ----------
    kind : str
        A key of `JOINT_LAWS`; the parameters of ``student_t`` have the largest likelihood.
    squared : ndarray of shape (n,)
        d² of rows that are neither trained on nor tested on.
    k : int
        Labels.

    Raises
    ------
    InputError
        If there is no such law, or no row.
    """
    if kind not in JOINT_LAWS:
        raise InputError(f"joint law: expected one of {', '.join(JOINT_LAWS)}, got {kind!r}")
    if not len(squared):
        raise InputError(f"joint law: {kind} needs rows, got none")
    return JOINT_LAWS[kind](np.asarray(squared, dtype=float), k)
