"""Spectra with most of their noise taken out, to ask what a network does about the noise there.

Spectra of stars vary along few directions. The principal components of training spectra, with the
variance λ of each, are a Gaussian prior x = μ + C a, a ~ N(0, diag λ); the coefficients of a noisy
spectrum with errors σ are then those of a Wiener filter,

    â = (C diag(σ⁻²) Cᵀ + diag(λ⁻¹))⁻¹ C diag(σ⁻²) (x - μ),

(Wiener filtering with a principal-component prior; Rybicki & Press 1992, ApJ 398, 169). Masked
pixels weigh nothing and keep the value that the network sees there.
"""

from dataclasses import dataclass

import numpy as np

from starstack.errors import InputError


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

    def denoise(self, spectra: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return the most probable noiseless spectra.

        Parameters
        ----------
        spectra : ndarray of shape (n, p)
        errors : ndarray of shape (n, p)
            Standard deviations of the noise; infinite where a pixel is masked.

        Returns
        -------
        ndarray of shape (n, p)
            In the type of `spectra`.
        """
        good = np.isfinite(errors) & (errors > 0)
        weight = np.where(good, 1.0 / np.where(good, errors, 1.0), 0.0).astype(spectra.dtype)
        components = self.components.astype(spectra.dtype)
        off = (spectra - self.mean.astype(spectra.dtype)) * weight
        result = np.empty_like(spectra)
        for row in range(len(spectra)):
            weighted = components * weight[row]
            information = (weighted @ weighted.T).astype(float) + np.diag(1.0 / self.variance)
            result[row] = self.mean + np.linalg.solve(information, weighted @ off[row]) @ components
        return np.where(good, result, spectra)


def fit_prior(
    spectra: np.ndarray, errors: np.ndarray | None = None, *, n_components: int = 60, seed: int = 0
) -> SpectrumPrior:
    """Learn a prior of spectra from training rows.

    Parameters
    ----------
    spectra : ndarray of shape (n, p)
        Noiseless, or of a high signal-to-noise ratio.
    errors : ndarray of shape (n, p), optional
        Of their noise, if they have some: its mean variance is taken off that of the components.
    n_components : int
        At most; components below the noise are left out.
    seed : int
        Of the randomised decomposition.

    Raises
    ------
    InputError
        If there are fewer than two spectra.
    """
    from sklearn.utils.extmath import randomized_svd

    if len(spectra) < 2:
        raise InputError(f"denoising: has {len(spectra)} spectra to learn from; expected 2 or more")
    mean = spectra.mean(axis=0, dtype=float)
    rank = min(n_components, min(spectra.shape) - 1)
    _, singular, components = randomized_svd(
        spectra - mean.astype(spectra.dtype), n_components=max(rank, 1), random_state=seed
    )
    variance = singular.astype(float) ** 2 / (len(spectra) - 1)
    if errors is not None:
        noise = np.where(np.isfinite(errors), errors, 0).astype(float) ** 2
        variance = variance - np.einsum(
            "mp,p->m", components.astype(float) ** 2, noise.mean(axis=0)
        )
    kept = variance > 1e-12 * max(float(variance.max()), 0.0)
    if not kept.any():
        raise InputError(
            "denoising: the spectra vary no more than their noise; learn from brighter ones"
        )
    return SpectrumPrior(mean, components[kept].astype(float), variance[kept])
