"""Where a joint fit starts: zero, near zero, or orthogonal factors."""

from collections.abc import Callable

import numpy as np

from starstack.projection.objective import JointObjective

SMALL = 1e-2


def zeros(objective: JointObjective, rng: np.random.Generator) -> np.ndarray:
    """Start at zero: a saddle without an intercept, and next to one with it."""
    return np.zeros(objective.size)


def small_random(objective: JointObjective, rng: np.random.Generator) -> np.ndarray:
    """Start at normal numbers of standard deviation 0.01/√‖x‖, the intercept at zero."""
    W, V, b = objective.layout.unpack(rng.normal(size=objective.size))
    return _scaled(objective, SMALL * W, SMALL * V, b)


def orthogonal(objective: JointObjective, rng: np.random.Generator) -> np.ndarray:
    """Start at random factors with orthogonal columns or rows, the intercept at zero.

    All singular values are the same (Saxe, McClelland & Ganguli 2014, ICLR, arXiv:1312.6120), and
    1/√‖x‖: on outputs that are millions nothing but the largest residuals has a gradient.
    """
    layout = objective.layout
    W = _semi_orthogonal(rng.normal(size=(layout.n_features, layout.rank)))
    V = _semi_orthogonal(rng.normal(size=(layout.rank, layout.n_outputs)))
    return _scaled(objective, W, V, np.zeros(layout.n_outputs))


STARTS: dict[str, Callable[[JointObjective, np.random.Generator], np.ndarray]] = {
    "orthogonal": orthogonal,
    "small-random": small_random,
    "zeros": zeros,
}


def _scaled(objective: JointObjective, W: np.ndarray, V: np.ndarray, b: np.ndarray) -> np.ndarray:
    length = objective.factor_length
    return objective.layout.pack(length * W, length * V, np.zeros_like(b))


def _semi_orthogonal(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right
