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
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from starstack.errors import InputError
from starstack.spectra.apogee import CHIPS, N_PIXELS
from starstack.spectra.cannon import CannonModel
from starstack.spectra.simulator import LABELS, NUISANCES, Stars, label_derivatives, synthesise

# What is known of the nuisances before a spectrum is seen: spreads of `draw_stars` about what the
# labels say. [α/Fe] has two ridges, 0.06 about their mean at a metallicity; the velocity is uniform
# within ±1 km/s; macroturbulence scatters by a fifth of itself, 0.9 km/s over all stars.
PRIOR_SPREADS = {
    "alpha_fe": 0.06,
    "c_n": 0.12,
    "v_macro": 0.9,
    "radial_velocity": 1.0 / np.sqrt(3.0),
    "tilt_blue": 0.005,
    "tilt_green": 0.005,
    "tilt_red": 0.005,
}
# Half the distance of the central differences, where those of second order are below 1e-4.
STEPS = {"alpha_fe": 0.01, "c_n": 0.01, "v_macro": 0.05, "radial_velocity": 0.05}


def fisher_information(derivatives: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return G Σ⁻¹ Gᵀ for independent pixels.

    Parameters
    ----------
    derivatives : ndarray of shape (n, k, p)
        ∂flux/∂label.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise; infinite where a pixel is masked, which tells nothing.

    Returns
    -------
    ndarray of float64, shape (n, k, k)
    """
    with np.errstate(divide="raise"):
        try:
            weight = 1.0 / np.asarray(errors, dtype=float)
        except FloatingPointError:
            raise InputError(
                "Cramér–Rao bound: a pixel has the error 0, which would tell everything; give "
                "errors above 0, infinite where a pixel is masked"
            ) from None
    weighted = np.asarray(derivatives, dtype=float) * weight[:, np.newaxis, :]
    return np.matmul(weighted, weighted.swapaxes(1, 2))


def cramer_rao_bound(
    derivatives: np.ndarray,
    errors: np.ndarray,
    *,
    nuisances: np.ndarray | None = None,
    prior_spreads: Sequence[float] | np.ndarray = (),
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
    k = derivatives.shape[1]
    if nuisances is not None and nuisances.shape[1]:
        derivatives = np.concatenate([derivatives, nuisances], axis=1)
    information = fisher_information(derivatives, errors)
    if extra := derivatives.shape[1] - k:
        spreads = np.broadcast_to(np.asarray(prior_spreads, float), (len(derivatives), extra))
        if not (spreads > 0).all():
            raise InputError("Cramér–Rao bound: a prior spread is not above 0; give what is known")
        place = np.arange(k, k + extra)
        information[:, place, place] += 1.0 / spreads**2
    return _inverse(information)[:, :k, :k]


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
    try:
        return np.linalg.inv(information * unit) * unit
    except np.linalg.LinAlgError:
        raise InputError(
            "Cramér–Rao bound: the labels of a spectrum cannot be told apart; give prior_spreads"
        ) from None


def biased_bound(jacobian: np.ndarray, derivatives: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return (J Gᵀ) F⁻¹ (J Gᵀ)ᵀ, the bound of an estimate with the slope of a network.

    Parameters
    ----------
    jacobian : ndarray of shape (n, k, p)
        ∂label/∂pixel of the network.
    derivatives : ndarray of shape (n, q, p)
        ∂flux/∂label of all that is unknown, at the same spectra.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise, infinite where a pixel is masked.

    Returns
    -------
    ndarray of float64, shape (n, k, k)
    """
    good = np.isfinite(errors)[:, np.newaxis, :]
    slope = np.matmul(np.where(good, jacobian, 0.0), derivatives.swapaxes(1, 2)).astype(float)
    inverse = _inverse(fisher_information(derivatives, errors))
    return np.matmul(np.matmul(slope, inverse), slope.swapaxes(1, 2))


def least_excess(covariance: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return the least eigenvalue of covariance - bound, relative to the covariance, shape (n,).

    It is zero or more where the inequality holds, up to rounding, in every direction of the
    labels; 1 would be a covariance that is infinitely larger than the bound.
    """
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    unit = sigma[:, :, np.newaxis] * sigma[:, np.newaxis, :]
    return np.linalg.eigvalsh((covariance - bound) / unit)[:, 0]


def stars_of(labels: np.ndarray, row_values: Mapping[str, np.ndarray]) -> Stars:
    """Build the stars of rows of a simulated data set.

    Parameters
    ----------
    labels : ndarray of shape (n, 3)
        Targets.
    row_values : mapping of str to ndarray of shape (n,)
        With all nuisances, as a simulated data set holds them.

    Raises
    ------
    InputError
        If a nuisance is missing: the data are not simulated.
    """
    missing = [name for name in NUISANCES if name not in row_values]
    if missing:
        raise InputError(
            f"Cramér–Rao bound: the data hold no {', '.join(missing)}; the bound is that of the "
            "simulator, for data of the source simulated-spectra"
        )
    return Stars(np.asarray(labels, float), {name: row_values[name] for name in NUISANCES})


def nuisance_derivatives(
    stars: Stars, names: Sequence[str] = NUISANCES, *, pixels: slice | np.ndarray | None = None
) -> np.ndarray:
    """Differentiate simulated spectra with respect to nuisances.

    By central differences; for the tilts of the continuum, which are linear, exactly.

    Parameters
    ----------
    stars : Stars
    names : sequence of str
        Some of `starstack.spectra.simulator.NUISANCES`.
    pixels : slice or ndarray of int, optional
        Which of the 7214 pixels; all by default.

    Returns
    -------
    ndarray of float64, shape (n, len(names), p)
    """
    unknown = [name for name in names if name not in NUISANCES]
    if unknown:
        raise InputError(f"nuisance: is {unknown[0]!r}; expected some of {', '.join(NUISANCES)}")
    chosen = slice(None) if pixels is None else pixels
    shape = (len(stars), len(names), len(np.arange(N_PIXELS)[chosen]))
    result = np.zeros(shape)
    for number, name in enumerate(names):
        if name.startswith("tilt_"):
            result[:, number] = _tilt_derivative(stars, name.removeprefix("tilt_"), chosen)
            continue
        step = STEPS[name]
        # Macroturbulence cannot be negative: the difference is one-sided below the step.
        low = np.minimum(step, stars.nuisances[name]) if name == "v_macro" else step
        ends = [
            synthesise(_moved(stars, name, by), pixels=pixels) for by in (step, -np.asarray(low))
        ]
        width = np.broadcast_to(np.asarray(low, float) + step, len(stars))
        result[:, number] = (ends[0] - ends[1]) / width[:, np.newaxis]
    return result


def _moved(stars: Stars, name: str, by: float | np.ndarray) -> Stars:
    return replace(stars, nuisances=stars.nuisances | {name: stars.nuisances[name] + by})


def _tilt_derivative(stars: Stars, chip: str, chosen: slice | np.ndarray) -> np.ndarray:
    span = CHIPS[chip]
    along = np.zeros(N_PIXELS)
    along[span] = np.linspace(-1.0, 1.0, span.stop - span.start)
    flat = np.zeros(len(stars))
    untilted = replace(stars, nuisances=stars.nuisances | {f"tilt_{chip}": flat})
    return synthesise(untilted, pixels=chosen) * along[chosen]


def simulator_bound(
    stars: Stars,
    errors: np.ndarray,
    *,
    pixels: slice | np.ndarray | None = None,
    marginalise: Sequence[str] = (),
    prior_spreads: Mapping[str, float] = PRIOR_SPREADS,
    block_rows: int = 256,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the Cramér–Rao bound of simulated stars at their own noise.

    Parameters
    ----------
    stars : Stars
    errors : ndarray of shape (n, p)
        Standard deviations of the noise of the given pixels, infinite where masked.
    pixels : slice or ndarray of int, optional
        Which of the 7214 pixels; all by default.
    marginalise : sequence of str
        Nuisances that are not known; by default all are ("known physics").
    prior_spreads : mapping of str to float
        What is known of them before.
    block_rows : int
        Stars in memory at once.
    progress : callable of int, optional
        Told how many stars are done.

    Returns
    -------
    ndarray of float64, shape (n, 3, 3)
        For Teff in K, log g in dex and [Fe/H] in dex.
    """
    bounds = np.empty((len(stars), len(LABELS), len(LABELS)))
    for start in range(0, len(stars), block_rows):
        rows = slice(start, start + block_rows)
        block = stars[rows]
        nuisances = None
        if marginalise:
            nuisances = nuisance_derivatives(block, marginalise, pixels=pixels)
        bounds[rows] = cramer_rao_bound(
            label_derivatives(block, pixels=pixels),
            errors[rows],
            nuisances=nuisances,
            prior_spreads=[prior_spreads[name] for name in marginalise],
        )
        if progress is not None:
            progress(min(start + block_rows, len(stars)))
    return bounds


def cannon_derivatives(
    model: CannonModel, labels: np.ndarray, kept: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Differentiate the spectra of a quadratic model with respect to its labels, in closed form.

    Parameters
    ----------
    model : CannonModel
    labels : ndarray of shape (n, 4)
    kept : slice or ndarray of int
        Which pixels.

    Returns
    -------
    ndarray of float64, shape (n, 4, p)
        ∂f/∂ℓᵢ = cᵢ + Σⱼ (1 + δᵢⱼ) cᵢⱼ dⱼ.
    """
    d = np.asarray(labels, dtype=float) - model.baseline
    k = d.shape[1]
    coeffs = model.coeffs[:, kept].astype(float)
    result = np.tile(coeffs[1 : 1 + k], (len(d), 1, 1))
    for (i, j), term in zip(zip(*np.triu_indices(k), strict=True), coeffs[1 + k :], strict=True):
        # For i = j both lines count: the derivative of d² is 2 d.
        result[:, i] += np.outer(d[:, j], term)
        result[:, j] += np.outer(d[:, i], term)
    return result
