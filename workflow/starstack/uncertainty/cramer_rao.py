r"""The smallest errors that the noise of a spectrum allows.

The labels ℓ of a spectrum f(ℓ) + n with Gaussian noise of covariance Σ have the Fisher information

    F = G Σ⁻¹ Gᵀ,    G = ∂f/∂ℓ  (labels × pixels),

and every unbiased estimate has a covariance of at least F⁻¹ (Cramér 1946; Rao 1945; for stellar
labels: Ting et al. 2017, ApJ 843, 32). Labels that are not asked for (nuisances) are joined to ℓ,
with the information of what is known of them before, 1/spread², on their diagonal, and the block
of the inverse is the bound of the others. An estimate whose mean has the slope B = ∂E[ℓ̂]/∂ℓ has at
least B F⁻¹ Bᵀ. For a network of Jacobian J the slope is J Gᵀ, and

    J Σ Jᵀ ≥ (J Gᵀ) F⁻¹ (J Gᵀ)ᵀ

holds for every matrix J: it is the Cauchy–Schwarz inequality of the rows of J Σ^½ and G Σ^{-½}.

The noise is Σ = D R D + diag(s²): the errors of each spectrum on the diagonal of D, correlations R
of neighbouring pixels that all spectra share (`starstack.data.noise_correlation`; none by default),
and a scatter s of its own in each pixel, such as that of real spectra about a model of them.
"""

from collections.abc import Sequence

import numpy as np

from starstack.data.noise_correlation import NoiseCorrelation
from starstack.errors import InputError

# Least eigenvalue of the information in units of its diagonal: of a smaller one, the bound, which
# is its inverse, has less than three digits that are not rounding.
SMALLEST = 1e-12


def fisher_information(
    derivatives: np.ndarray,
    errors: np.ndarray,
    *,
    correlation: NoiseCorrelation | None = None,
    scatter: np.ndarray | None = None,
) -> np.ndarray:
    """Return G Σ⁻¹ Gᵀ.

    Parameters
    ----------
    derivatives : ndarray of shape (n, k, p)
        ∂flux/∂label.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise; infinite where a pixel is masked, which tells nothing.
    correlation : NoiseCorrelation, optional
        Of the noise of the pixels, which are independent by default.
    scatter : ndarray of shape (p,), optional
        Standard deviation of what else moves each pixel, independent of all others.

    Returns
    -------
    ndarray of float64, shape (n, k, k)

    Raises
    ------
    InputError
        If an error is not above 0, a derivative not finite, or shapes do not agree.
    """
    derivatives = _checked_derivatives(derivatives)
    n, _, p = derivatives.shape
    _check_shape("errors have", errors, (n, p))
    if scatter is not None:
        _check_shape("scatter has", scatter, (p,))
    errors = np.asarray(errors, dtype=float)
    total = errors if scatter is None else np.hypot(errors, scatter)
    if (wrong := ~((errors >= 0) & (total > 0))).any():
        raise InputError(
            f"Cramér–Rao bound: expected errors above 0, got {errors[wrong][0]:g}; mask the pixel "
            "with an infinite error"
        )
    weight = 1.0 / total
    weighted = np.asarray(derivatives, dtype=float) * weight[:, np.newaxis, :]
    if not (finite := np.isfinite(weighted).all(axis=(1, 2))).all():
        raise InputError(
            "Cramér–Rao bound: expected finite derivatives, got NaN or infinity in spectrum "
            f"{np.argmin(finite)}; leave out the spectrum"
        )
    if correlation is None:
        return np.matmul(weighted, weighted.swapaxes(1, 2))
    share = np.where(np.isfinite(errors), errors, 0.0) * weight
    return np.stack(
        [correlation.solve(rows, own) @ rows.T for rows, own in zip(weighted, share, strict=True)]
    )


def cramer_rao_bound(
    derivatives: np.ndarray,
    errors: np.ndarray,
    *,
    nuisances: np.ndarray | None = None,
    prior_spreads: Sequence[float] | np.ndarray = (),
    correlation: NoiseCorrelation | None = None,
    scatter: np.ndarray | None = None,
) -> np.ndarray:
    """Return the least covariance of unbiased estimates of the labels.

    Parameters
    ----------
    derivatives : ndarray of shape (n, k, p)
        ∂flux/∂label.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise, infinite where a pixel is masked.
    nuisances : ndarray of shape (n, m, p), optional
        ∂flux/∂nuisance, over which is marginalised; without, they are taken as known.
    prior_spreads : sequence of float, length m, or ndarray of shape (n, m)
        Standard deviation of each nuisance before the spectrum is seen; infinite for unknown.
    correlation, scatter
        See `fisher_information`.

    Returns
    -------
    ndarray of float64, shape (n, k, k)

    Raises
    ------
    InputError
        If the pixels of a spectrum do not tell the labels apart, or shapes do not agree.

    Examples
    --------
    One label of slope 2 in four pixels of error 1: σ = 1 / (2 √4).

    >>> cramer_rao_bound(np.full((1, 1, 4), 2.0), np.ones((1, 4))).tolist()
    [[[0.0625]]]
    """
    derivatives = _checked_derivatives(derivatives)
    k = derivatives.shape[1]
    if nuisances is not None:
        n, _, p = derivatives.shape
        _check_shape("nuisances have", nuisances, (n, "m", p))
        derivatives = np.concatenate([derivatives, nuisances], axis=1)
    information = fisher_information(derivatives, errors, correlation=correlation, scatter=scatter)
    if extra := derivatives.shape[1] - k:
        spreads = np.asarray(prior_spreads, float)
        n = len(derivatives)
        _check_shape("prior_spreads have", spreads, (extra,) if spreads.ndim < 2 else (n, extra))
        if not (spreads > 0).all():
            raise InputError("Cramér–Rao bound: a prior spread is not above 0; give what is known")
        place = np.arange(k, k + extra)
        information[:, place, place] += 1.0 / spreads**2
    return _inverse(information)[:, :k, :k]


def _checked_derivatives(derivatives: np.ndarray) -> np.ndarray:
    derivatives = np.asarray(derivatives)
    if derivatives.ndim != 3:
        raise InputError(
            f"Cramér–Rao bound: derivatives have shape {derivatives.shape}; expected (n, k, p), "
            "spectra by labels by pixels"
        )
    return derivatives


def _inverse(information: np.ndarray) -> np.ndarray:
    """Invert in units of the diagonal: temperatures in K and abundances differ by 1e8."""
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    if not (diagonal > 0).all():
        row, label = np.argwhere(~(diagonal > 0))[0]
        raise InputError(
            f"Cramér–Rao bound: the good pixels of spectrum {row} do not depend on label {label}; "
            "leave out the spectrum or the label"
        )
    scale = 1.0 / np.sqrt(diagonal)
    unit = scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    scaled = information * unit
    # Rounding leaves a singular matrix an inverse, whose variances may be negative.
    if (alike := np.linalg.eigvalsh(scaled)[:, 0] < SMALLEST).any():
        raise InputError(
            f"Cramér–Rao bound: the labels of spectrum {np.argmax(alike)} cannot be told apart; "
            "leave out the spectrum or a label, or give prior_spreads"
        )
    return np.linalg.inv(scaled) * unit


def _check_shape(what: str, values: object, expected: tuple[int | str, ...]) -> None:
    """Compare a shape with the expected one, in which a name stands for any number."""
    shape = np.shape(values)
    fits = len(shape) == len(expected) and all(
        isinstance(wanted, str) or wanted == found
        for wanted, found in zip(expected, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise InputError(
            f"Cramér–Rao bound: {what} shape {shape}; expected ({wanted}), to agree with the "
            "derivatives"
        )


def biased_bound(
    jacobian: np.ndarray,
    derivatives: np.ndarray,
    errors: np.ndarray,
    *,
    correlation: NoiseCorrelation | None = None,
) -> np.ndarray:
    """Return (J Gᵀ) F⁻¹ (J Gᵀ)ᵀ, the bound of an estimate with the slope of a network.

    Parameters
    ----------
    jacobian : ndarray of shape (n, k, p)
        ∂label/∂pixel of the network.
    derivatives : ndarray of shape (n, q, p)
        ∂flux/∂label of all that is unknown, at the same spectra.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise, infinite where a pixel is masked.
    correlation
        See `fisher_information`.

    Returns
    -------
    ndarray of float64, shape (n, k, k)

    Raises
    ------
    InputError
        As for `cramer_rao_bound`.
    """
    inverse = _inverse(fisher_information(derivatives, errors, correlation=correlation))
    n, _, p = derivatives.shape
    _check_shape("jacobian has", jacobian, (n, "k", p))
    good = np.isfinite(errors)[:, np.newaxis, :]
    slope = np.matmul(np.where(good, jacobian, 0.0), derivatives.swapaxes(1, 2)).astype(float)
    return np.matmul(np.matmul(slope, inverse), slope.swapaxes(1, 2))


def least_excess(covariance: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return the least eigenvalue of covariance - bound, relative to the covariance, shape (n,).

    It is zero or more where the inequality holds, up to rounding, in every direction of the
    labels; 1 would be a covariance that is infinitely larger than the bound.
    """
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    unit = sigma[:, :, np.newaxis] * sigma[:, np.newaxis, :]
    return np.linalg.eigvalsh((covariance - bound) / unit)[:, 0]
