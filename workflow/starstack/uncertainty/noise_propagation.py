r"""What the noise of a spectrum does to the predicted labels, for networks that are not linear.

With noise n ~ N(0, Σ) on a noiseless spectrum s, the covariance of a network f is cov f(s + n). To
first order it is J Σ Jᵀ. A piecewise linear network is not linear over the noise of a faint star,
and its noisy spectrum is not its noiseless one; both make J Σ Jᵀ at the noisy spectrum too large,
by up to a fifth in standard deviation at S/N 20. That it errs to this side is no accident
(Gaussian Poincaré inequality, Chen 1982, Stochastic Process. Appl. 12, 61, and Stein's identity)::

    E[J] Σ E[J]ᵀ  ≤  cov f(s + n)  ≤  E[J Σ Jᵀ].

Between the two lies an identity (Houdré, Pérez-Abreu & Surgailis 1998, J. Fourier Anal. Appl. 4,
651): with two draws of noise n, n' whose correlation is r,

    cov f(s + n) = ∫₀¹ E[ J(s + n) Σ J(s + n')ᵀ ] dr.

It holds for every f that has a derivative almost everywhere and is continuous, as networks of
rectified linear units are. Its integrand is E[J] Σ E[J]ᵀ at r = 0 and E[J Σ Jᵀ] at r = 1, and a
polynomial in r for a polynomial f; two nodes of Gauss and Legendre are exact up to degree four of
the Hermite expansion. It needs few draws, since a Jacobian varies less than a prediction does: the
three Jacobians of one draw, which cost twelve predictions, scatter as 30 to 60 predictions do.

The noise of pixels may be correlated: Σ = D R D, with the errors of each row on the diagonal of D
and a band R of correlations (`starstack.data.noise_correlation`) that all rows share.

All methods draw about a *reference*: the noisy spectrum itself, which has its noise twice then, or
better one from which the noise was taken (`starstack.uncertainty.denoising`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from starstack.data.noise_correlation import NoiseCorrelation
from starstack.errors import InputError
from starstack.seeds import derive_seed

BATCH_ROWS = 128
# Draws of a batch that are predicted together: predictions are made of 1024 rows at a time.
STACKED_DRAWS = 8
# The estimate of few draws is not positive definite in one row of a thousand; there it is raised to
# this part of E[J] Σ E[J]ᵀ, which the truth exceeds.
FLOOR = 0.25
# Nodes of Gauss and Legendre on [0, 1].
NODES = tuple(float(node) for node in (0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)))

Rows = np.ndarray


@dataclass(frozen=True)
class Network:
    """A network as functions of spectra in their own units.

    Attributes
    ----------
    predict : callable
        From spectra of shape (n, p) to labels (n, k).
    jacobian : callable
        From spectra of shape (n, p) to ∂label/∂pixel (n, k, p).
    """

    predict: Callable[[Rows], np.ndarray]
    jacobian: Callable[[Rows], np.ndarray]


def functions_of(network: object, batch_size: int = BATCH_ROWS) -> Network:
    """Give a trained network as functions of spectra in their own units.

    Parameters
    ----------
    network : starstack.networks.persistence.FittedNetwork
        A regression on rows of shape (p,).
    batch_size : int
        Rows that are differentiated at once.
    """
    from starstack.autodiff.jacobian import InputJacobian

    inputs, targets = network.input_scaler, network.target_scaler
    width = int(np.prod(network.input_shape))
    compiled = InputJacobian(
        network.model,
        input_scale=inputs.scale,
        target_scale=targets.scale,
        batch_size=batch_size,
    )

    def jacobian(spectra: Rows) -> np.ndarray:
        scaled = inputs.transform(spectra).astype(network.model.inputs[0].dtype)
        return compiled(scaled.reshape(-1, *network.input_shape)).reshape(len(spectra), -1, width)

    return Network(network.predict, jacobian)


def propagate(
    jacobian: np.ndarray,
    error: np.ndarray,
    other: np.ndarray | None = None,
    *,
    correlation: NoiseCorrelation | None = None,
) -> np.ndarray:
    """Return J Σ Kᵀ, shape (n, k, k); with J alone, K = J.

    Parameters
    ----------
    jacobian, other : ndarray of shape (n, k, p)
    error : ndarray of shape (n, p)
        Standard deviations; where one is infinite, the pixel is masked and contributes nothing.
    correlation : NoiseCorrelation, optional
        Of the noise of the pixels; they are independent by default, Σ = diag(σ²).
    """
    error = np.where(np.isfinite(error), error, 0)[:, np.newaxis, :]
    left, right = jacobian * error, (jacobian if other is None else other) * error
    if correlation is not None:
        left = correlation.multiply(left)
    return np.matmul(left, right.swapaxes(1, 2)).astype(float)


@dataclass(frozen=True, eq=False)
class RowNoise:
    """The noise of some rows.

    Attributes
    ----------
    error : ndarray of shape (n, p)
        Standard deviations; zero where a pixel is masked.
    correlation : NoiseCorrelation or None
    draw : callable
        Draws noise of unit variance, shape (n, p).
    """

    error: Rows
    correlation: NoiseCorrelation | None
    draw: Callable[[], Rows]

    def carry(self, jacobian: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
        """Return J Σ Kᵀ, see `propagate`."""
        return propagate(jacobian, self.error, other, correlation=self.correlation)


def _plain(network: Network, reference: Rows, noise: RowNoise, n_draws: int) -> np.ndarray:
    return noise.carry(network.jacobian(reference))


def _mean_jacobian(network: Network, reference: Rows, noise: RowNoise, n_draws: int) -> np.ndarray:
    jacobians = (network.jacobian(reference + noise.error * noise.draw()) for _ in range(n_draws))
    return noise.carry(sum(jacobians) / n_draws)


def _monte_carlo(network: Network, reference: Rows, noise: RowNoise, n_draws: int) -> np.ndarray:
    if n_draws < 2:
        raise InputError(f"noise covariance: monte_carlo has {n_draws} draw; give 2 or more")
    labels = []
    for start in range(0, n_draws, STACKED_DRAWS):
        count = min(STACKED_DRAWS, n_draws - start)
        noisy = np.concatenate([reference + noise.error * noise.draw() for _ in range(count)])
        labels.append(network.predict(noisy).reshape(count, len(reference), -1))
    labels = np.concatenate(labels)
    off = labels - labels.mean(axis=0)
    return np.einsum("rni,rnj->nij", off, off) / (n_draws - 1)


def _two_jacobians(network: Network, reference: Rows, noise: RowNoise, n_draws: int) -> np.ndarray:
    total, mean, error = 0.0, 0.0, noise.error
    for _ in range(n_draws):
        first, fresh = noise.draw(), noise.draw()
        one = network.jacobian(reference + error * first)
        correlated = (node * first + np.sqrt(1 - node**2) * fresh for node in NODES)
        other = sum(network.jacobian(reference + error * each) for each in correlated)
        total = total + noise.carry(one, other / len(NODES))
        mean = mean + one + other
    estimate = (total + total.swapaxes(1, 2)) / (2 * n_draws)
    mean = mean / ((1 + len(NODES)) * n_draws)
    return at_least(estimate, FLOOR * noise.carry(mean))


def at_least(matrices: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Raise symmetric matrices of shape (n, k, k) to positive semidefinite ones in all directions.

    In the coordinates in which `floor` is the unit matrix, eigenvalues below one become one.
    """
    variance = np.diagonal(floor, axis1=1, axis2=2)
    # A label that noise does not reach has no variance, and two labels that answer to it alike a
    # singular matrix, up to the rounding of float32: neither has a Cholesky factor.
    least = 1e-9 * np.abs(np.diagonal(matrices, axis1=1, axis2=2)) + np.finfo(float).tiny
    scale = np.sqrt(np.maximum(variance, least))
    unit = scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    root = np.linalg.cholesky(floor / unit + 1e-5 * np.eye(floor.shape[1]))
    inner = np.linalg.solve(root, matrices / unit)
    inner = np.linalg.solve(root, inner.swapaxes(1, 2))
    values, vectors = np.linalg.eigh((inner + inner.swapaxes(1, 2)) / 2)
    low = np.flatnonzero(values[:, 0] < 1)
    if not len(low):
        return matrices
    outer = np.matmul(root[low], vectors[low])
    raised = np.maximum(values[low], 1)[:, np.newaxis, :]
    result = matrices.copy()
    result[low] = np.matmul(outer * raised, outer.swapaxes(1, 2)) * unit[low]
    return result


METHODS: dict[str, Callable[[Network, Rows, RowNoise, int], np.ndarray]] = {
    "jacobian": _plain,
    "mean_jacobian": _mean_jacobian,
    "monte_carlo": _monte_carlo,
    "two_jacobians": _two_jacobians,
}
DEFAULT_DRAWS = {"jacobian": 1, "mean_jacobian": 4, "monte_carlo": 100, "two_jacobians": 2}


def noise_covariance(
    network: Network,
    spectra: np.ndarray,
    errors: np.ndarray,
    *,
    method: str = "two_jacobians",
    reference: np.ndarray | None = None,
    n_draws: int | None = None,
    correlation: NoiseCorrelation | None = None,
    seed: int = 0,
    first_row: int = 0,
) -> np.ndarray:
    """Propagate the noise of spectra to the predicted labels.

    Parameters
    ----------
    network : Network
        From `functions_of`.
    spectra : ndarray of shape (n, p)
        As observed; masked pixels filled, since the network reads them too.
    errors : ndarray of shape (n, p)
        Standard deviations of the noise; infinite where a pixel is masked, which adds nothing.
    method : str
        ``jacobian``: J Σ Jᵀ at the reference, exact for a linear network. ``mean_jacobian``:
        E[J] Σ E[J]ᵀ, from below. ``monte_carlo``: covariance of predictions under fresh noise;
        its relative standard error in variance is √(2/(n_draws - 1)). ``two_jacobians``: the
        identity above.
    reference : ndarray of shape (n, p), optional
        Spectra about which noise is drawn; the observed ones by default.
    n_draws : int, optional
        How often noise is drawn, by default as in `DEFAULT_DRAWS`.
    correlation : NoiseCorrelation, optional
        Of the noise of the pixels, which are independent by default.
    seed, first_row : int
        Each row draws from a stream of its own, of the seed and its number, which starts at
        `first_row`: blocks of a data set may be of any size.

    Returns
    -------
    ndarray of float64, shape (n, k, k)
        Symmetric and positive semidefinite, in the units of the labels.

    Raises
    ------
    InputError
        If the method is unknown, shapes do not agree, there are no spectra or no draws, an error is
        negative or not a number, or a pixel of the reference is not finite.

    Examples
    --------
    A linear network of one label and two pixels: 3² · 0.1² + 4² · 0.1² = 0.5².

    >>> weights = np.array([[3.0, 4.0]])
    >>> line = Network(lambda x: x @ weights.T, lambda x: np.stack([weights] * len(x)))
    >>> found = noise_covariance(line, np.ones((1, 2)), np.full((1, 2), 0.1))
    >>> found.round(12).tolist()
    [[[0.25]]]
    """
    if method not in METHODS:
        raise InputError(
            f"noise covariance: method is {method!r}; expected one of {', '.join(METHODS)}"
        )
    n_draws = DEFAULT_DRAWS[method] if n_draws is None else n_draws
    if n_draws < 1:
        raise InputError(f"noise covariance: n_draws is {n_draws}; expected 1 or more")
    spectra, errors = np.asarray(spectra), np.asarray(errors)
    if spectra.ndim != 2 or not len(spectra):
        raise InputError(
            "noise covariance: expected at least one spectrum, shape (n, pixels), got shape "
            f"{spectra.shape}; give the rows to predict, a single one as spectrum[None]"
        )
    reference = spectra if reference is None else np.asarray(reference)
    for name, other in (("errors", errors), ("reference", reference)):
        if other.shape != spectra.shape:
            raise InputError(
                f"noise covariance: {name} have shape {other.shape}; expected {spectra.shape}, "
                "that of the spectra"
            )
    if not (errors >= 0).all():
        raise InputError(
            "noise covariance: expected errors of 0 or above, got "
            f"{errors[~(errors >= 0)][0]:g}; mask the pixel with an infinite error"
        )
    if not (finite := np.isfinite(reference).all(axis=1)).all():
        raise InputError(
            f"noise covariance: spectrum {np.argmin(finite)} has pixels that are NaN or infinite; "
            "fill them, and mask them with an infinite error"
        )
    # Spectra may be whole numbers, or of half precision: their errors are neither.
    kind = np.result_type(spectra.dtype, np.float32)
    sigma = np.where(np.isfinite(errors), errors, 0).astype(kind)
    blocks = []
    for start in range(0, len(spectra), BATCH_ROWS):
        rows = slice(start, min(start + BATCH_ROWS, len(spectra)))
        noise = row_noise(sigma[rows], correlation, seed, first_row + start)
        blocks.append(METHODS[method](network, reference[rows], noise, n_draws))
    return np.concatenate(blocks)


def row_noise(
    sigma: np.ndarray, correlation: NoiseCorrelation | None, seed: int, first_row: int
) -> RowNoise:
    """Give noise that each row draws from a stream of its own."""
    root = derive_seed(seed, "noise of error bars")
    streams = [np.random.default_rng([root, first_row + row]) for row in range(len(sigma))]
    kind = np.float64 if sigma.dtype == np.float64 else np.float32

    def draw() -> np.ndarray:
        white = np.stack([each.standard_normal(sigma.shape[1], dtype=kind) for each in streams])
        return white if correlation is None else correlation.colour(white)

    return RowNoise(sigma, correlation, draw)
