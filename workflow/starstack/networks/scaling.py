"""Scale features and targets before a network sees them; the scale is learnt in one pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from starstack.errors import InputError

KINDS = ("per_feature", "common", "none")


@dataclass(frozen=True, eq=False)
class Scaler:
    """Subtract a mean and divide by a scale, both in the units of the values.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (p,), or float
        One per column, or one for all columns.

    Examples
    --------
    >>> scaler = Scaler(mean=5000.0, scale=500.0)
    >>> scaler.transform(np.array([[4500.0], [5500.0]])).tolist()
    [[-1.0], [1.0]]
    >>> scaler.inverse(np.array([[2.0]])).tolist()
    [[6000.0]]
    """

    mean: np.ndarray | float
    scale: np.ndarray | float

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale values of shape (n, p), in float64."""
        return (np.asarray(values, dtype=np.float64) - self.mean) / self.scale

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """Undo `transform`, in float64: a large mean must not cost digits."""
        return np.asarray(scaled, dtype=np.float64) * self.scale + self.mean

    def to_json(self) -> dict[str, Any]:
        """Return mean and scale as plain numbers and lists, without loss of digits."""
        return {"mean": np.asarray(self.mean).tolist(), "scale": np.asarray(self.scale).tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Scaler":
        """Read what `to_json` gave."""
        parts = (np.asarray(content[key], dtype=np.float64) for key in ("mean", "scale"))
        return cls(*(part if part.ndim else float(part) for part in parts))


def fit_scaler(
    blocks: Iterable[np.ndarray], kind: str, weights: Iterable[np.ndarray] | None = None
) -> Scaler:
    """Learn a scale from blocks of rows, in one pass and in the memory of one block.

    Means and squared deviations of the blocks are combined as in [1]_, in float64, so that a
    large common offset costs no digits. The variance divides by the number of rows (or the sum of
    their weights), as scikit-learn's ``StandardScaler`` does. A column that is constant to within
    rounding keeps the scale 1.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (rows, p)
        All rows, a block at a time.
    kind : str
        ``per_feature``: each column gets its own mean and standard deviation; ``common``: its own
        mean, and one scale for all columns, the root mean square of their standard deviations
        (pixels of a spectrum keep their relative heights); ``none``: values stay as they are.
    weights : iterable of ndarray of shape (rows,), optional
        How often each row counts, block by block.

    Returns
    -------
    Scaler
        With arrays of shape (p,), except a scale that is common.

    Raises
    ------
    InputError
        If the kind is unknown, there are no rows, or a value is NaN or infinite.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983), "Algorithms for computing the
       sample variance", The American Statistician 37, 242.

    Examples
    --------
    >>> scaler = fit_scaler([np.array([[1.0, 7.0], [3.0, 7.0]])], "per_feature")
    >>> scaler.mean.tolist(), scaler.scale.tolist()
    ([2.0, 7.0], [1.0, 1.0])
    """
    if kind not in KINDS:
        raise InputError(f"scaling: expected one of {', '.join(KINDS)}; got {kind!r}")
    if kind == "none":
        return Scaler(0.0, 1.0)
    total, mean, squares = 0.0, np.zeros(1), np.zeros(1)
    weights = iter(weights) if weights is not None else None
    for block in blocks:
        block = np.asarray(block, dtype=np.float64)
        weight = np.ones(len(block)) if weights is None else np.asarray(next(weights), np.float64)
        if not (block_total := weight.sum()):
            continue
        block_mean = weight @ block / block_total
        block_squares = weight @ np.square(block - block_mean)
        delta, together = block_mean - mean, total + block_total
        squares = squares + block_squares + np.square(delta) * (total * block_total / together)
        mean = mean + delta * (block_total / together)
        total = together
    if not total:
        raise InputError("scaling: expected at least one row; got none")
    variance = squares / total
    if not np.isfinite(variance).all():
        column = int(np.flatnonzero(~np.isfinite(variance))[0])
        raise InputError(
            f"scaling: column {column} holds NaN, infinity or values too large to square; fill "
            "or rescale them"
        )
    # The rounding error of a variance, by Chan et al.; below it, a column is constant.
    eps = np.finfo(np.float64).eps
    constant = variance <= total * eps * variance + np.square(total * mean * eps)
    if kind == "common":
        varying = variance[~constant]
        return Scaler(mean, float(np.sqrt(varying.sum() / len(variance))) if len(varying) else 1.0)
    return Scaler(mean, np.where(constant, 1.0, np.sqrt(variance)))
