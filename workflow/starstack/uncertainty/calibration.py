"""Whether predicted covariances agree with the errors that were made.

Everything is read from the standardised error z = (predicted - observed) / σ and its probability
integral transform u = F(z), which is uniform if the errors have the distribution F (Gneiting,
Balabdaoui & Raftery 2007, J. R. Stat. Soc. B 69, 243). The central interval of probability p holds
the observed value where |u - 1/2| ≤ p/2.

All labels of a row together are judged by d² = eᵀ C⁻¹ e, which has the χ² distribution of k degrees
of freedom if the errors are Gaussian of covariance C; its rows are called ``joint``.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from starstack.errors import InputError
from starstack.metrics.reliability import wilson_standard_error
from starstack.uncertainty.covariances import (
    check_covariance,
    have_inverses,
    squared_mahalanobis,
    standardised,
)

LEVELS = (0.5, 0.68, 0.9, 0.95, 0.99)
JOINT, ALL_ROWS = "joint", "all"
COLUMNS = ("output", "snr", "statistic", "value", "standard_error", "n")
RELIABILITY_COLUMNS = ("output", "bin", "predicted_error", "rms_error", "standard_error", "n")
HISTOGRAM_COLUMNS = ("output", "quantity", "low", "high", "count", "n")
Z_LIMIT, Z_BINS, PIT_BINS = 4.0, 40, 20


def inside(pit: np.ndarray, level: float) -> np.ndarray:
    """Say which rows lie in the central interval of a probability."""
    return np.abs(pit - 0.5) <= level / 2


def coverage_curve(pit: np.ndarray, n_levels: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return levels from 0 to 1, and the share of rows in each central interval."""
    levels = np.linspace(0, 1, n_levels)
    sizes = np.sort(2 * np.abs(pit - 0.5))
    return levels, np.searchsorted(sizes, levels, side="right") / len(sizes)


def calibration_error(pit: np.ndarray, n_levels: int = 100) -> float:
    """Return the mean of |coverage - level| over levels (Kuleshov et al. 2018, ICML, eq. 9).

    Examples
    --------
    >>> calibration_error((np.arange(1000) + 0.5) / 1000) < 1e-3
    True
    """
    levels, covered = coverage_curve(pit, n_levels)
    return float(np.abs(covered - levels).mean())


def miscalibration_area(pit: np.ndarray, n_levels: int = 100) -> float:
    """Return the area between the curve of coverage and the diagonal (Chung et al. 2021)."""
    levels, covered = coverage_curve(pit, n_levels)
    off = covered - levels
    a, b = np.abs(off[:-1]), np.abs(off[1:])
    # Where the curve crosses the diagonal, two triangles lie between the levels.
    crosses = off[:-1] * off[1:] < 0
    means = np.where(crosses, (a**2 + b**2) / np.where(crosses, 2 * (a + b), 1), (a + b) / 2)
    return float(np.sum(means * np.diff(levels)))


def sharpness(sigma: np.ndarray) -> float:
    """Return the root mean square of predicted standard deviations."""
    return float(np.sqrt(np.mean(np.square(sigma))))


def calibration_table(
    errors: np.ndarray,
    covariance: np.ndarray,
    names: Sequence[str],
    *,
    snr: np.ndarray | None = None,
    snr_bins: Sequence[float] = (),
    pit: np.ndarray | None = None,
    log_density: np.ndarray | None = None,
    joint_pit: np.ndarray | None = None,
    joint: bool = True,
    levels: Sequence[float] = LEVELS,
) -> pd.DataFrame:
    """Tabulate how predicted covariances agree with errors, by label and signal-to-noise ratio.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus observed, of rows that took part in neither training nor recalibration.
    covariance : ndarray of shape (n, k, k)
        Predicted.
    names : sequence of str, length k
        Labels.
    snr : ndarray of shape (n,), optional
        Signal-to-noise ratios.
    snr_bins : sequence of float
        Edges in rising order; a bin holds its lower edge, the last one both.
    pit, log_density : ndarray of shape (n, k), optional
        Probability integral transform, and logarithm of the density, of the standardised errors
        where they are not taken to be Gaussian, from
        `starstack.uncertainty.recalibration.Recalibration`.
    joint_pit : ndarray of shape (n,), optional
        Probability of the ellipsoid through the errors of each row, where it is not that of a
        Gaussian, from the same.
    joint : bool
        Whether all labels are judged together, too. Where a row's covariance has no inverse they
        are not, and the log says so: see `starstack.uncertainty.covariances.have_inverses`.
    levels : sequence of float
        Probabilities of the central intervals.

    Returns
    -------
    DataFrame
        `COLUMNS`, one number per row. ``statistic`` is ``coverage_<percent>`` (binomial standard
        error), ``chi2_per_n`` (mean of z², standard error from the scatter of z²), ``mean_z``,
        ``sd_z``, ``sharpness`` (unit of the label), ``nll``, ``calibration_error``,
        ``miscalibration_area``. Rows of the label ``joint``, where there are any, have coverage of
        the ellipsoids, χ² per number of labels and the likelihood of a Gaussian.

    Raises
    ------
    InputError
        If the shapes do not agree, a predicted variance is not above 0, or a matrix cannot be a
        covariance.
    """
    errors, covariance = np.asarray(errors, float), np.asarray(covariance, float)
    check_covariance(errors, covariance)
    _check_names_and_snr(errors, names, snr)
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    z = errors / sigma
    pit = stats.norm.cdf(z) if pit is None else pit
    log_density = stats.norm.logpdf(z) if log_density is None else log_density
    together = None
    if joint and have_inverses(covariance, "calibration"):
        together = _together(errors, covariance, joint_pit)
    rows: list[tuple] = []
    for snr_name, chosen in snr_groups(len(errors), snr, snr_bins).items():
        for column, label in enumerate(names):
            own = (part[chosen, column] for part in (z, sigma, pit, log_density))
            rows += [(label, snr_name, *line, len(chosen)) for line in _of_label(*own, levels)]
        if together is not None:
            own = (part[chosen] for part in together)
            rows += [(JOINT, snr_name, *line, len(chosen)) for line in _of_all(*own, levels)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_names_and_snr(errors: np.ndarray, names: Sequence[str], snr: np.ndarray | None) -> None:
    n, k = errors.shape
    if isinstance(names, str) or len(names) != k:
        raise InputError(
            f"calibration: names are {names!r}; expected a list of {k}, one for each label"
        )
    if snr is not None and np.shape(snr) != (n,):
        raise InputError(
            f"calibration: snr has shape {np.shape(snr)}; expected ({n},), one for each row"
        )


def _together(
    errors: np.ndarray, covariance: np.ndarray, joint_pit: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return d²/k, minus the log likelihood of a Gaussian, and the probability of the ellipsoid."""
    k, squared = errors.shape[1], squared_mahalanobis(errors, covariance)
    likelihood = 0.5 * (squared + np.linalg.slogdet(covariance)[1] + k * np.log(2 * np.pi))
    joint_pit = stats.chi2.cdf(squared, k) if joint_pit is None else joint_pit
    return squared / k, likelihood, joint_pit


def _of_all(
    squared: np.ndarray, likelihood: np.ndarray, joint_pit: np.ndarray, levels: Sequence[float]
) -> list[tuple[str, float, float]]:
    found = [_coverage(level, joint_pit <= level) for level in levels]
    return [*found, ("chi2_per_n", *_mean(squared)), ("nll", *_mean(likelihood))]


def _of_label(
    z: np.ndarray,
    sigma: np.ndarray,
    pit: np.ndarray,
    log_density: np.ndarray,
    levels: Sequence[float],
) -> list[tuple[str, float, float]]:
    found = [_coverage(level, inside(pit, level)) for level in levels]
    found += [("chi2_per_n", *_mean(z**2)), ("mean_z", *_mean(z))]
    found += [("sd_z", float(np.std(z)), _standard_error_of_deviation(z))]
    found += [("nll", *_mean(np.log(sigma) - log_density))]
    for name, value in (
        ("sharpness", sharpness(sigma)),
        ("calibration_error", calibration_error(pit)),
        ("miscalibration_area", miscalibration_area(pit)),
    ):
        found.append((name, value, float("nan")))
    return found


def _coverage(level: float, covered: np.ndarray) -> tuple[str, float, float]:
    frequency, n = float(np.mean(covered)), len(covered)
    error = float(wilson_standard_error(np.array([frequency]), np.array([n]))[0])
    return f"coverage_{100 * level:g}", frequency, error


def _mean(values: np.ndarray) -> tuple[float, float]:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(error)


def _standard_error_of_deviation(z: np.ndarray) -> float:
    if len(z) < 2 or not (spread := float(np.std(z))):
        return float("nan")
    return _mean((z - z.mean()) ** 2)[1] / (2 * spread)


def snr_groups(n: int, snr: np.ndarray | None, edges: Sequence[float]) -> dict[str, np.ndarray]:
    """Return the rows of all signal-to-noise ratios and of each bin that has rows, by name."""
    groups = {ALL_ROWS: np.arange(n)}
    if snr is None:
        return groups
    for low, high in pairwise(edges):
        last = high == edges[-1]
        chosen = np.flatnonzero((snr >= low) & ((snr <= high) if last else (snr < high)))
        if len(chosen):
            groups[f"{low:g}-{high:g}"] = chosen
    return groups


def error_reliability_table(
    errors: np.ndarray, covariance: np.ndarray, names: Sequence[str], *, n_bins: int = 10
) -> pd.DataFrame:
    """Tabulate the errors that were made against those that were predicted.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus observed.
    covariance : ndarray of shape (n, k, k)
        Predicted.
    names : sequence of str, length k
        Labels.
    n_bins : int
        Bins of equally many rows, in order of the predicted error.

    Returns
    -------
    DataFrame
        `RELIABILITY_COLUMNS`: root mean squares of the predicted standard deviation and of the
        error, and the standard error of the latter.
    """
    check_covariance(errors, covariance)
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    rows = []
    for column, label in enumerate(names):
        order = np.argsort(sigma[:, column], kind="stable")
        for number, part in enumerate(np.array_split(order, min(n_bins, len(order))), start=1):
            mean_square, error = _mean(errors[part, column] ** 2)
            rms = float(np.sqrt(mean_square))
            predicted = sharpness(sigma[part, column])
            error = error / (2 * rms) if rms else float("nan")
            rows.append((label, number, predicted, rms, error, len(part)))
    return pd.DataFrame(rows, columns=list(RELIABILITY_COLUMNS))


def histogram_table(
    errors: np.ndarray,
    covariance: np.ndarray,
    names: Sequence[str],
    pit: np.ndarray | None = None,
) -> pd.DataFrame:
    """Count standardised errors and their probability integral transforms in bins.

    Returns
    -------
    DataFrame
        `HISTOGRAM_COLUMNS`. ``quantity`` is ``z`` (outer bins hold what lies beyond ±4) or
        ``pit``.
    """
    check_covariance(errors, covariance)
    z = standardised(errors, covariance)
    pit = stats.norm.cdf(z) if pit is None else pit
    rows = []
    for column, label in enumerate(names):
        clipped = np.clip(z[:, column], -Z_LIMIT, Z_LIMIT)
        for quantity, values, low, high, bins in (
            ("z", clipped, -Z_LIMIT, Z_LIMIT, Z_BINS),
            ("pit", pit[:, column], 0.0, 1.0, PIT_BINS),
        ):
            counts, edges = np.histogram(values, bins=bins, range=(low, high))
            rows += [
                (label, quantity, a, b, int(count), len(values))
                for (a, b), count in zip(pairwise(edges), counts, strict=True)
            ]
    return pd.DataFrame(rows, columns=list(HISTOGRAM_COLUMNS))
