r"""What other pixels of a spectrum tell about one of its pixels: a Wiener filter.

Spectra of stars vary along few directions. Their principal components :math:`C`, with the variance
:math:`\lambda` of each, are a Gaussian prior :math:`x = m + a C`, :math:`a \sim N(0, \lambda)`, as
in probabilistic principal components (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611). Of a
spectrum whose pixels weigh :math:`w = 1 / \sigma`, masked ones nothing, the most probable
coefficients are those of a Wiener filter (Rybicki & Press 1992, ApJ 398, 169),

.. math:: a = (C W R^{-1} W C^T + \mathrm{diag}(1 / \lambda))^{-1} C W R^{-1} W (x - m),

with the correlations R of the noise of neighbouring pixels, where it has some.
"""

from dataclasses import dataclass

import numpy as np

from starstack.data.noise_correlation import NoiseCorrelation


@dataclass(frozen=True, eq=False)
class SpectrumPrior:
    """A Gaussian prior of noiseless spectra.

    Attributes
    ----------
    mean : ndarray of shape (p,)
    components : ndarray of shape (m, p)
        Orthonormal rows.
    variance : ndarray of shape (m,)
        Of the coefficients.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray

    def expected(
        self,
        spectra: np.ndarray,
        weight: np.ndarray,
        correlation: NoiseCorrelation | None = None,
    ) -> np.ndarray:
        """Return the most probable noiseless spectra.

        Parameters
        ----------
        spectra : ndarray of shape (n, p)
        weight : ndarray of shape (n, p)
            One over the standard deviation of the noise; 0 where a pixel is masked.
        correlation : NoiseCorrelation, optional
            Of the noise of the pixels, which are independent by default.

        Returns
        -------
        ndarray of shape (n, p)
            In the type of `spectra`, in which the products over the pixels are summed too. The
            mean, for a spectrum that is masked everywhere.

        Examples
        --------
        The variance of the prior is that of the noise, which takes half of what was observed:

        >>> prior = SpectrumPrior(np.ones(1), np.ones((1, 1)), np.array([0.01]))
        >>> prior.expected(np.array([[0.8]]), np.array([[10.0]])).round(6).tolist()
        [[0.9]]
        """
        components = self.components.astype(spectra.dtype)
        weight = weight.astype(spectra.dtype)
        # A masked pixel may hold anything, infinity too.
        off = np.where(weight > 0, (spectra - self.mean.astype(spectra.dtype)) * weight, 0)
        result = np.empty_like(spectra)
        for row in range(len(spectra)):
            weighted = components * weight[row]
            informed = weighted
            if correlation is not None:
                share = (weight[row] > 0).astype(float)
                informed = correlation.solve(weighted, share).astype(spectra.dtype)
            precision = (informed @ weighted.T).astype(float) + np.diag(1.0 / self.variance)
            # Coefficients in units of their spread, so that a star of high S/N is well conditioned.
            scale = 1.0 / np.sqrt(np.diag(precision))
            right = scale * (informed @ off[row])
            coefficients = scale * np.linalg.solve(scale[:, None] * precision * scale, right)
            result[row] = self.mean + coefficients @ components
        return result
