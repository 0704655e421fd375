"""Where a joint fit starts: zero, near zero, or orthogonal factors."""

from collections.abc import Callable

import numpy as np

from starstack.projection.objective import Layout

SMALL = 1e-2


def zeros(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Start at zero: a saddle without an intercept, and next to one with it."""
    return np.zeros(layout.size)


def small_random(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Start at normal numbers of standard deviation 0.01, the intercept at zero."""
    return _with_zero_intercept(layout, SMALL * rng.normal(size=layout.size))


def orthogonal(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Start at random factors with orthonormal columns or rows, the intercept at zero.

    All singular values are one (Saxe, McClelland & Ganguli 2014, ICLR, arXiv:1312.6120).
    """
    W = _semi_orthogonal(rng.normal(size=(layout.n_features, layout.rank)))
    V = _semi_orthogonal(rng.normal(size=(layout.rank, layout.n_outputs)))
    return layout.pack(W, V, np.zeros(layout.n_outputs))


STARTS: dict[str, Callable[[Layout, np.random.Generator], np.ndarray]] = {
    "orthogonal": orthogonal,
    "small-random": small_random,
    "zeros": zeros,
}


def _with_zero_intercept(layout: Layout, flat: np.ndarray) -> np.ndarray:
    W, V, b = layout.unpack(flat)
    return layout.pack(W, V, np.zeros_like(b))


def _semi_orthogonal(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right
