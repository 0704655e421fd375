r"""Spectrum of a symmetric operator that is known by its products only.

Trace and diagonal are means over random signs z (Hutchinson 1990, *Communications in Statistics*
19, 433; Bekas, Kokiopoulou & Saad 2007, *Applied Numerical Mathematics* 57, 1214)::

    tr A = E[zᵀ A z],    diag A = E[z ∘ A z]

Density and log-determinant go through stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017,
*SIAM Journal on Matrix Analysis* 38, 1075): with q₁ = z/√n, the eigenvalues θ_i of the tridiagonal
matrix and the squared first components τ_i² of its eigenvectors,

    tr f(A) / n = E[q₁ᵀ f(A) q₁] ≈ mean over probes of Σ_i τ_i² f(θ_i).

The density is that of f = a Gaussian around each λ (Lin, Saad & Yang 2016, *SIAM Review* 58, 34).
Every estimate comes with its standard error over the probes. One probe says little of a small
matrix, much of a large one: the error falls with n as well as with the number of probes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from starstack.curvature.lanczos import tridiagonalise
from starstack.curvature.options import check_options
from starstack.errors import InputError

logger = logging.getLogger(__name__)

# Neighbouring nodes of the quadrature are about (range / steps) apart; a Gaussian of this many
# such distances keeps ripples between them below 10 % at the middle of the range: 1/√(8 ln κ) with
# κ = 3, of the distance 2 range / (steps - 1) (Lin, Saad & Yang 2016, §3.2).
_WIDTH = 1 / np.sqrt(8 * np.log(3.0))
_ASINH_WIDTH = 0.2
# The grid of the density reaches this many widths beyond the outermost nodes, in steps of a
# quarter of a width, so that its integral by the trapezoidal rule is 1 to six digits.
_REACH, _STEPS_PER_WIDTH = 6, 4


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over random probes.

    Attributes
    ----------
    value : float or ndarray
        The mean.
    standard_error : float or ndarray
        Of it; NaN for one probe.
    n_probes : int
        Number of probes.
    """

    value: np.ndarray
    standard_error: np.ndarray
    n_probes: int


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Stochastic Lanczos quadrature: nodes and weights of each probe.

    Attributes
    ----------
    size : int
        n, of the operator.
    nodes, weights : tuple of ndarray of shape (K,)
        θ and τ² of each probe; the weights of a probe sum to 1.
    """

    size: int
    nodes: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]

    @property
    def resolution(self) -> float:
        """Smallest distance of eigenvalues that the nodes can tell apart, (π/K)² of the range.

        So near are nodes to each other at the ends of the spectrum, where zero lies for a network;
        in the middle they are π/K of it apart.
        """
        low = min(nodes[0] for nodes in self.nodes)
        high = max(nodes[-1] for nodes in self.nodes)
        reach = high - low or abs(high) or 1.0
        return float((np.pi / max(map(len, self.nodes))) ** 2 * reach)

    def trace_of(self, function: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Estimate tr f(A).

        Parameters
        ----------
        function : callable
            f, of an array of eigenvalues: ``np.log`` for the log-determinant.

        Returns
        -------
        Estimate
            Of one number.
        """
        each = [
            self.size * float(weights @ function(nodes))
            for nodes, weights in zip(self.nodes, self.weights, strict=True)
        ]
        return _mean(np.array(each))


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """Density of eigenvalues, of integral 1.

    Attributes
    ----------
    eigenvalue : ndarray of shape (g,)
        λ, rising.
    density : ndarray of shape (g,)
        Mean over the probes, per unit of λ.
    standard_error : ndarray of shape (g,)
        Of the mean; NaN for one probe.
    probes : ndarray of shape (probes, g)
        The density of each probe.
    width : ndarray of shape (g,)
        Standard deviation, in the unit of λ, of what a Gaussian there makes of one eigenvalue.
    """

    eigenvalue: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    probes: np.ndarray
    width: np.ndarray


def trace_and_diagonal(
    operator: LinearOperator, n_probes: int, *, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Estimate the trace and the diagonal by Hutchinson's method, from the same products.

    The variance of the trace is 2 (‖A‖_F² − Σ_i a_ii²): random signs are exact for a diagonal
    matrix.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        Symmetric.
    n_probes : int
        Number of products, at least 1.
    seed : int
        Of the signs.

    Returns
    -------
    trace : Estimate
        Of one number.
    diagonal : Estimate
        Of shape (n,).

    Raises
    ------
    InputError
        If n_probes is no whole number of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> trace, diagonal = trace_and_diagonal(aslinearoperator(np.diag([1.0, 2.0, 4.0])), 2)
    >>> trace.value, diagonal.value.tolist()
    (7.0, [1.0, 2.0, 4.0])
    """
    options = {"n_probes": n_probes, "seed": seed}
    n_probes, seed = check_options(trace_and_diagonal, options, "spectrum").values()
    rng = np.random.default_rng(seed)
    n = operator.shape[0]
    traces = np.empty(n_probes)
    mean, squares = np.zeros(n), np.zeros(n)
    for probe in range(n_probes):
        signs = rng.choice([-1.0, 1.0], size=n)
        sample = signs * np.asarray(operator.matvec(signs), np.float64).reshape(n)
        traces[probe] = sample.sum()
        # Welford's update: sums of squares would lose the variance of large entries.
        change = sample - mean
        mean += change / (probe + 1)
        squares += change * (sample - mean)
        logger.info("Hutchinson: %d of %d probes", probe + 1, n_probes)
    several = n_probes > 1
    error = np.sqrt(squares / ((n_probes - 1) * n_probes)) if several else np.full(n, np.nan)
    return _mean(traces), Estimate(mean, error, n_probes)


def lanczos_quadrature(
    operator: LinearOperator,
    *,
    n_steps: int = 80,
    n_probes: int = 4,
    seed: int = 0,
    keep_basis: bool = False,
) -> Quadrature:
    """Take nodes and weights of several probes: `n_probes` times `n_steps` products.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        Symmetric.
    n_steps : int
        Lanczos steps per probe, n if that is fewer. With 80 the nodes of a network's Hessian
        settle (Ghorbani, Krishnan & Xiao 2019, ICML).
    n_probes : int
        Random first vectors.
    seed : int
        Of the probes.
    keep_basis : bool
        Re-orthogonalise, with a basis of `n_steps` vectors. Without it three vectors are held, and
        a converged eigenvalue shares its weight with its ghosts.

    Returns
    -------
    Quadrature
        Use it for as many functions and widths as wanted: the products are taken.

    Raises
    ------
    InputError
        If n_probes or n_steps is no whole number of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> quadrature = lanczos_quadrature(aslinearoperator(np.diag([1.0, 2.0, 4.0])))
    >>> np.isclose(quadrature.trace_of(np.log).value, np.log(8.0)).item()
    True
    """
    options = {"n_steps": n_steps, "n_probes": n_probes, "seed": seed}
    n_steps, n_probes, seed = check_options(lanczos_quadrature, options, "spectrum").values()
    rng = np.random.default_rng(seed)
    n = operator.shape[0]
    nodes, weights = [], []
    for probe in range(n_probes):
        signs = rng.choice([-1.0, 1.0], size=n)
        # The basis is gone before the next one: one of a large network takes gigabytes.
        values, vectors = tridiagonalise(
            operator, min(n_steps, n), start=signs, seed=seed, keep_basis=keep_basis
        ).eigh()
        nodes.append(values)
        weights.append(vectors[0] ** 2)
        logger.info("Lanczos quadrature: %d of %d probes", probe + 1, n_probes)
    return Quadrature(n, tuple(nodes), tuple(weights))


def spectral_density(
    quadrature: Quadrature, *, width: float | None = None, linear_scale: float | None = None
) -> SpectralDensity:
    """Smooth the nodes of a quadrature into a density: ρ(λ) = mean Σ_i τ_i² N(λ; θ_i, width²).

    The eigenvalues of a network's Hessian spread over many powers of ten, and Gaussians of one
    width smear all small ones into one peak around zero, half of it negative. With a linear scale
    λ₀ the Gaussians are those of u = asinh(λ/λ₀), which is λ/λ₀ near zero and ± ln(2|λ|/λ₀) far
    from it, and ρ(λ) = ρ(u) du/dλ still has the integral 1.

    Parameters
    ----------
    quadrature : Quadrature
        From `lanczos_quadrature`.
    width : float, optional
        Standard deviation of the Gaussians, in the unit of λ, or of u (in which 0.2 is 20 % of a
        large λ). By default what the distance of the nodes allows in λ, and 0.2 in u.
    linear_scale : float, optional
        λ₀ > 0, such as ``quadrature.resolution``: below it the shape is that of the nodes, not of
        the spectrum (measured on a spectrum like a network's, 60 steps: the densities differ by
        0.1 of the area at the resolution, by 1.0 at a thousandth of it).

    Returns
    -------
    SpectralDensity
        On a grid that reaches beyond the outermost nodes.

    Raises
    ------
    InputError
        If the width or the scale is not positive.
    """
    if linear_scale is not None and not linear_scale > 0:
        raise InputError(
            f"spectral density: linear_scale is {linear_scale!r}; expected a positive number"
        )
    each = [
        nodes if linear_scale is None else np.arcsinh(nodes / linear_scale)
        for nodes in quadrature.nodes
    ]
    low, high = min(nodes[0] for nodes in each), max(nodes[-1] for nodes in each)
    if width is None:
        width = _spacing(low, high, max(map(len, each))) if linear_scale is None else _ASINH_WIDTH
    if not width > 0:
        raise InputError(f"spectral density: width is {width!r}; expected a positive number")
    low, high = low - _REACH * width, high + _REACH * width
    grid = np.linspace(low, high, int(np.ceil(_STEPS_PER_WIDTH * (high - low) / width)) + 1)
    probes = np.stack(
        [
            np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ weights
            for nodes, weights in zip(each, quadrature.weights, strict=True)
        ]
    ) / (width * np.sqrt(2 * np.pi))
    if linear_scale is None:
        slope = np.ones_like(grid)  # dλ/du
    else:
        slope, grid = linear_scale * np.cosh(grid), linear_scale * np.sinh(grid)
    mean = _mean(probes / slope)
    return SpectralDensity(
        grid,
        mean.value,
        mean.standard_error,
        probes / slope,
        np.broadcast_to(width * slope, grid.shape),
    )


def _spacing(low: float, high: float, n_nodes: int) -> float:
    reach = high - low or abs(high) or 1.0
    return _WIDTH * 2 * reach / max(n_nodes - 1, 1)


def _mean(samples: np.ndarray) -> Estimate:
    n = len(samples)
    mean = samples.mean(axis=0)
    error = samples.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
    if samples.ndim == 1:
        return Estimate(float(mean), float(error), n)
    return Estimate(mean, error, n)
