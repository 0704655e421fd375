"""Spectra with most of their noise taken out, to ask what a network does about the noise there.

The principal components of training spectra are a prior of noiseless ones; what it makes of a noisy
spectrum is found by `starstack.spectra.prior`.
"""

import numpy as np

from starstack.data.noise_correlation import NoiseCorrelation
from starstack.errors import InputError
from starstack.spectra.prior import SpectrumPrior


def denoise(
    prior: SpectrumPrior,
    spectra: np.ndarray,
    errors: np.ndarray,
    correlation: NoiseCorrelation | None = None,
) -> np.ndarray:
    """Return the most probable noiseless spectra; masked pixels keep what the network sees there.

    Parameters
    ----------
    prior : SpectrumPrior
    spectra : ndarray of shape (n, p)
    errors : ndarray of shape (n, p)
        Standard deviations of the noise; infinite where a pixel is masked.
    correlation : NoiseCorrelation, optional
        Of the noise of the pixels, which are independent by default.

    Returns
    -------
    ndarray of shape (n, p)
        In the type of `spectra`.
    """
    good = np.isfinite(errors) & (errors > 0)
    weight = np.where(good, 1.0 / np.where(good, errors, 1.0), 0.0)
    return np.where(good, prior.expected(spectra, weight, correlation), spectra)


def fit_prior(
    spectra: np.ndarray,
    errors: np.ndarray | None = None,
    *,
    n_components: int = 60,
    seed: int = 0,
    correlation: NoiseCorrelation | None = None,
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
    correlation : NoiseCorrelation, optional
        Of that noise, whose pixels are independent by default.

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
        variance = variance - _noise_of(components.astype(float), errors, correlation)
    kept = variance > 1e-12 * max(float(variance.max()), 0.0)
    if not kept.any():
        raise InputError(
            "denoising: the spectra vary no more than their noise; learn from brighter ones"
        )
    return SpectrumPrior(mean, components[kept].astype(float), variance[kept])


def _noise_of(
    components: np.ndarray, errors: np.ndarray, correlation: NoiseCorrelation | None
) -> np.ndarray:
    """Return the variance of the noise along components, mean over spectra, shape (m,)."""
    error = np.where(np.isfinite(errors), errors, 0).astype(float)
    found = np.einsum("mp,p->m", components**2, (error**2).mean(axis=0))
    for lag, band in enumerate(() if correlation is None else correlation.band[1:], start=1):
        shared = band[:-lag] * (error[:, :-lag] * error[:, lag:]).mean(axis=0)
        found += 2 * np.einsum("mp,mp,p->m", components[:, :-lag], components[:, lag:], shared)
    return found
