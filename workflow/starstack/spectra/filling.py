"""What a masked pixel holds: the continuum, or what the other pixels of its spectrum predict.

A network takes every pixel for a measurement. A line core that a mask sets to the continuum is,
at a signal-to-noise ratio of 100, ten or more standard deviations off: with 2 % of the pixels
masked so, labels were 1.4 to 1.8 times further from the truth than without any mask.
"""

from dataclasses import dataclass

import numpy as np

from starstack.spectra.normalisation import FILL
from starstack.spectra.prior import SpectrumPrior


@dataclass(frozen=True, eq=False)
class Continuum:
    """Masked pixels hold the continuum."""

    def __call__(self, flux: np.ndarray, error: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Fill the masked pixels of spectra.

        Parameters
        ----------
        flux, error : ndarray, shape (n, p)
            Normalised flux, and the standard deviation of its noise; masked ones are not used.
        bad : ndarray of bool, shape (n, p)
            Which pixels are masked.

        Returns
        -------
        ndarray, shape (n, p)
        """
        return np.where(bad, FILL, flux)


@dataclass(frozen=True, eq=False)
class Components:
    """Masked pixels hold their expectation, given the other pixels of the spectrum.

    Attributes
    ----------
    prior : SpectrumPrior
        How spectra vary. Without a good pixel, a spectrum is filled with its mean.

    Examples
    --------
    Spectra along one direction; the good pixel says how far this one goes:

    >>> flux = 1 - np.outer([0.1, 0.2, 0.3, 0.4], [0.5, 1.0])
    >>> fill = fit_components(flux, 1)
    >>> error, bad = np.array([[1e-6, 1e-6]]), np.array([[False, True]])
    >>> fill(np.array([[0.8, 1.0]]), error, bad).round(6).tolist()
    [[0.8, 0.6]]
    """

    prior: SpectrumPrior

    def __call__(self, flux: np.ndarray, error: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Fill the masked pixels of spectra; see `Continuum`."""
        rows = np.flatnonzero(bad.any(axis=1))
        masked = bad[rows]
        weight = np.where(masked, 0.0, 1.0 / np.where(masked, 1.0, error[rows]))
        filled = flux.copy()
        filled[rows] = np.where(masked, self.prior.expected(flux[rows], weight), flux[rows])
        return filled


Fill = Continuum | Components


def fit_components(flux: np.ndarray, n_components: int) -> Components:
    """Learn the principal components of noise-free spectra.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
    n_components : int
        How many, at most n − 1 and p; those without variance are left out.

    Returns
    -------
    Components
    """
    mean = flux.mean(axis=0)
    _, lengths, directions = np.linalg.svd(flux - mean, full_matrices=False)
    variances = lengths**2 / max(len(flux) - 1, 1)
    kept = np.flatnonzero(variances > variances[0] * 1e-12)[:n_components]
    return Components(SpectrumPrior(mean, directions[kept], variances[kept]))
