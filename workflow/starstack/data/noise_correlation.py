r"""Noise that neighbouring columns share, by as much in every row.

The noise of columns i and j of a row has the covariance σᵢ σⱼ Rᵢⱼ, with the errors σ of that row
and correlations that depend on the distance of the columns alone,

    Rᵢⱼ = ρ_|i-j|,    ρ₀ = 1,    ρ_l = 0 for l > m,

so that R is a band. Resampling a spectrum to other pixels leaves such noise behind. Columns on
either side of a gap in wavelength, between two detectors, share nothing. All the algebra is that of
band matrices: its cost grows with p m², not with p³.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from starstack.data.band_spectrum import check_correlation
from starstack.data.dataset import Dataset

# A step of the wavelength that is larger than its neighbours by this factor is a gap.
GAP = 1.5


@dataclass(frozen=True, eq=False)
class NoiseCorrelation:
    """The matrix R of a data set.

    Attributes
    ----------
    band : ndarray of shape (m + 1, p)
        ``band[l, i]`` is the correlation of columns i and i + l; the first row holds ones.
    """

    band: np.ndarray

    @cached_property
    def _root(self) -> np.ndarray:
        """The band of L, lower triangular, with R = L Lᵀ."""
        from scipy.linalg import cholesky_banded

        return cholesky_banded(self.band, lower=True)

    def colour(self, white: np.ndarray) -> np.ndarray:
        """Give independent standard normal numbers the correlation R, along the last axis."""
        root = self._root.astype(white.dtype)
        coloured = root[0] * white
        for lag in range(1, len(root)):
            coloured[..., lag:] += root[lag, :-lag] * white[..., :-lag]
        return coloured

    def multiply(self, rows: np.ndarray) -> np.ndarray:
        """Return rows R, for rows of shape (…, p)."""
        band = self.band.astype(rows.dtype)
        result = rows.copy()
        for lag in range(1, len(band)):
            result[..., lag:] += rows[..., :-lag] * band[lag, :-lag]
            result[..., :-lag] += rows[..., lag:] * band[lag, :-lag]
        return result

    def solve(self, rows: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return rows S⁻¹, where only a share of each column's noise is correlated.

        Parameters
        ----------
        rows : ndarray of shape (k, p)
        share : ndarray of shape (p,)
            From 0 to 1, of the standard deviation: S = W R W + 1 - W², W = diag(share). Where it is
            0, a column is independent of all others, as one that is masked: the other columns of
            the result are those of a smaller matrix without it.

        Returns
        -------
        ndarray of float64, shape (k, p)
        """
        from scipy.linalg import solveh_banded

        band = self.band.copy()
        for lag in range(1, len(band)):
            band[lag, :-lag] *= share[:-lag] * share[lag:]
        return solveh_banded(band, np.asarray(rows, dtype=float).T, lower=True).T


def noise_correlation(
    values: Sequence[float] | np.ndarray | None, n_columns: int, wavelength: np.ndarray | None
) -> NoiseCorrelation | None:
    """Lay out correlations over the columns of a data set.

    Parameters
    ----------
    values : sequence of float
        ρ₁, ρ₂, …; none where noise is independent.
    n_columns : int
    wavelength : ndarray of shape (n_columns,) or None
        Its gaps part the columns; without, all hang together.

    Returns
    -------
    NoiseCorrelation or None
        None where noise is independent.

    Examples
    --------
    >>> found = noise_correlation([0.4], 4, np.array([1.0, 2.0, 9.0, 10.0]))
    >>> found.band.tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.4, 0.0, 0.4, 0.0]]
    """
    if values is None or not len(values):
        return None
    check_correlation(values, "data")
    part = np.zeros(n_columns, dtype=int)
    if wavelength is not None and n_columns > 2:
        steps = np.abs(np.diff(wavelength))
        # Steps may grow along the spectrum; those beside a gap are of the usual length.
        usual = np.minimum(np.r_[steps[1:], np.inf], np.r_[np.inf, steps[:-1]])
        part[1:] = np.cumsum(steps > GAP * usual)
    band = np.zeros((len(values) + 1, n_columns))
    band[0] = 1.0
    for lag, value in enumerate(values, start=1):
        band[lag, :-lag] = np.where(part[:-lag] == part[lag:], value, 0.0)
    return NoiseCorrelation(band)


def correlation_of(dataset: Dataset) -> NoiseCorrelation | None:
    """Return how the noise of a data set's columns is correlated; None where it is not."""
    columns = len(dataset.feature_names)
    return noise_correlation(dataset.noise_correlation, columns, dataset.wavelength)
