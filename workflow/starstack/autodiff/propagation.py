"""Noise of the inputs, carried to the outputs to first order: J C Jᵀ, without keeping J.

Two ways, which agree to rounding. By rows: the Jacobian of a batch, and its products with the
covariance C of each row's noise. By the Gram matrix, where all rows have the same noise and the
model is a stack of Dense layers: J = R W₁ᵀ with the short rows R = ∂output/∂(x W₁ + b₁), so that
J C Jᵀ = R (W₁ᵀ C W₁) Rᵀ, and the inputs, of which there are most, are summed over only once.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from starstack.autodiff.inference import coarsest_type, rounds_to_tf32
from starstack.autodiff.jacobian import InputJacobian, as_rows, scale_vector
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

METHODS = ("auto", "rows", "gram")
# What eigenvalues of correlations may be below zero by rounding, by the type that computes.
ROUNDING = {"tf32": 1e-2, "float32": 1e-3, "float64": 1e-10}
# Columns of the Gram matrix that are multiplied at once, each block only down to the diagonal.
GRAM_BLOCK = 256
# By how much a correlation of inputs may be above 1: errors may have been stored in float32.
CORRELATION_ROUNDING = 1e-5


class NoisePropagation:
    """J C Jᵀ of a model, compiled once for batches of one shape.

    Parameters
    ----------
    model, input_scale, target_scale, batch_size
        See `starstack.autodiff.jacobian.InputJacobian`.
    """

    def __init__(
        self,
        model: "keras.Model",
        *,
        input_scale: np.ndarray | float | None = None,
        target_scale: np.ndarray | float | None = None,
        batch_size: int = 256,
    ) -> None:
        import tensorflow as tf

        self._input_scale, self._target_scale = input_scale, target_scale
        # Scales are of physical units, whose squares are beyond float32 as soon as they are 1e-20:
        # flux in erg/s/cm², say. They are applied outside of the model, in float64.
        self._jacobian = InputJacobian(model, batch_size=batch_size)
        self._compiled = {
            # See `InputJacobian`.
            method: tf.function(partial(function), autograph=False)
            for method, function in (("rows", self._by_rows), ("gram", self._by_gram))
        }

    @property
    def has_gram(self) -> bool:
        """Whether the model has a Gram matrix: a stack of Dense layers, the inputs as they are."""
        stack = self._jacobian.stack
        return stack is not None and not stack.between[0]

    @property
    def rounding(self) -> float:
        """What an eigenvalue of the outputs' correlations may be below zero by rounding."""
        return ROUNDING["tf32" if rounds_to_tf32() else coarsest_type(self._jacobian.model)]

    def gram_pays(self, n: int) -> bool:
        """Whether the Gram matrix saves n rows more products than it takes."""
        (p, width), k = self._jacobian.stack.weights[0][0].shape, self._jacobian.n_outputs
        return n * k * (p - width) > p * width

    @property
    def n_traces(self) -> int:
        """How often TensorFlow has compiled; 1 per method and kind of covariance."""
        return sum(each.experimental_get_tracing_count() for each in self._compiled.values())

    def by_rows(
        self, x: np.ndarray, variance: np.ndarray, off_diagonals: np.ndarray | None = None
    ) -> np.ndarray:
        """Propagate noise that may differ from row to row.

        Parameters
        ----------
        x : ndarray of shape (n, …)
            Rows as the model takes them.
        variance : ndarray of shape (n, p) or (p,)
            Of the raw inputs; ``inf`` where they are masked.
        off_diagonals : ndarray of shape (m, p) or (n, m, p), optional
            See `propagated_covariance`.

        Returns
        -------
        ndarray of float64, shape (n, k, k)
        """
        import tensorflow as tf

        scale = scale_vector(self._input_scale, variance.shape[-1], "input")
        given = [variance] if off_diagonals is None else [variance, off_diagonals]
        found = []
        for rows, batch in self._jacobian.batches(x):
            n = rows.stop - rows.start
            parts = []
            for values, rank in zip(given, (2, 3), strict=False):
                own = values.ndim == rank
                part = values[rows] if own else values[None]
                if own and n < len(batch):
                    part = np.concatenate([part, part[-1:].repeat(len(batch) - n, axis=0)])
                parts.append(part)
            unit, *noise = _in_units_of_largest(scale, *_without_masked(*parts))
            noise = [tf.constant(part, batch.dtype) for part in noise]
            out = self._compiled["rows"](batch, *noise).numpy().astype(np.float64)
            found.append((out * unit[:, None, None] ** 2)[:n])
        return self._in_units_of_targets(np.concatenate(found))

    def gram(self, variance: np.ndarray, off_diagonals: np.ndarray | None = None) -> np.ndarray:
        """Return W₁ᵀ C W₁ of the raw inputs' noise, float64 (d₁, d₁), for `by_gram`."""
        kernel = self._jacobian.stack.weights[0][0].numpy()
        scale = scale_vector(self._input_scale, len(kernel), "input")
        (unit,), *noise = _in_units_of_largest(
            scale,
            *_without_masked(
                variance[None], *([] if off_diagonals is None else [off_diagonals[None]])
            ),
        )
        deviation, *others = (part[0].astype(kernel.dtype) for part in noise)
        kernel_noise = kernel * deviation[:, None]
        gram = kernel_noise.T @ kernel_noise
        for step, covariance in enumerate(others[0] if others else (), start=1):
            upper = (kernel[:-step] * covariance[:-step, None]).T @ kernel[step:]
            gram += upper + upper.T
        return gram.astype(np.float64) * unit**2

    def by_gram(self, x: np.ndarray, gram: np.ndarray) -> np.ndarray:
        """Propagate the noise of a `gram` matrix, the same for all rows, float64 (n, k, k)."""
        import tensorflow as tf

        kind = self._jacobian.stack.dtype
        unit = np.abs(gram).max() or 1.0
        halves = [tf.constant(block, kind) for block in _upper_halves(gram, unit)]
        found = []
        for rows, batch in self._jacobian.batches(x):
            out = self._compiled["gram"](batch, halves).numpy()
            found.append(out[: rows.stop - rows.start])
        return self._in_units_of_targets(np.concatenate(found).astype(np.float64) * unit)

    def _in_units_of_targets(self, covariance: np.ndarray) -> np.ndarray:
        scale = scale_vector(self._target_scale, covariance.shape[1], "target")
        return covariance * scale[:, None] * scale

    def _by_rows(
        self, x: "tf.Tensor", deviation: "tf.Tensor", off_diagonals: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        import tensorflow as tf

        jacobian = self._jacobian.jacobian_tensor(x)
        noise = jacobian * deviation[:, None]
        out = tf.matmul(noise, noise, transpose_b=True)
        if off_diagonals is None:
            return out
        for step in range(1, off_diagonals.shape[1] + 1):
            weighted = jacobian[:, :, :-step] * off_diagonals[:, None, step - 1, :-step]
            upper = tf.matmul(weighted, jacobian[:, :, step:], transpose_b=True)
            out += upper + tf.linalg.matrix_transpose(upper)
        return out

    def _by_gram(self, x: "tf.Tensor", halves: "list[tf.Tensor]") -> "tf.Tensor":
        """Use R G Rᵀ = R U Rᵀ + (R U Rᵀ)ᵀ, U + Uᵀ = G: what is zero in U is not multiplied."""
        import tensorflow as tf

        rows = self._jacobian.stack.output_rows(x)
        n, k, width = rows.shape
        flat = tf.reshape(rows, [n * k, width])
        products = [flat[:, : half.shape[0]] @ half for half in halves]
        product = tf.reshape(tf.concat(products, axis=1), [n, k, width])
        upper = tf.matmul(product, rows, transpose_b=True)
        return upper + tf.linalg.matrix_transpose(upper)


def _upper_halves(gram: np.ndarray, unit: float) -> list[np.ndarray]:
    """Cut a symmetric G into blocks of columns, each from the top to its half diagonal block."""
    halves = []
    for start in range(0, len(gram), GRAM_BLOCK):
        half = gram[: start + GRAM_BLOCK, start : start + GRAM_BLOCK] / unit
        half[start:] /= 2
        halves.append(half)
    return halves


def propagated_covariance(
    model: "keras.Model",
    x: np.ndarray,
    variance: np.ndarray | float,
    *,
    off_diagonals: np.ndarray | None = None,
    input_scale: np.ndarray | float | None = None,
    target_scale: np.ndarray | float | None = None,
    batch_size: int = 256,
    method: str = "auto",
) -> np.ndarray:
    """Carry the noise of the inputs to the outputs of a model, to first order.

    Parameters
    ----------
    model : keras.Model
        See `starstack.autodiff.jacobian.input_jacobian`, also for the scales.
    x : ndarray of shape (n, p) or (n, *shape)
        Rows as the model takes them.
    variance : float, or ndarray of shape (p,) or (n, p)
        Variance of each raw input, in its unit squared: of all rows alike, or of each. A masked
        input has the variance ``inf``; the model sees a fixed value in its place, which has no
        noise, so that it contributes nothing.
    off_diagonals : ndarray of shape (m, p) or (n, m, p), optional
        Covariance of neighbouring inputs: ``off_diagonals[..., d - 1, i]`` is that of inputs i
        and i + d; what would go beyond the last input is not looked at. Masked inputs have none.
    input_scale, target_scale : float or array, optional
        Scales of inputs and outputs.
    batch_size : int
        Rows at once.
    method : str
        ``rows``, ``gram`` (noise that all rows share, and a stack of Dense layers), or ``auto``:
        the Gram matrix where there is one and enough rows make up for computing it.

    Returns
    -------
    ndarray of float64, shape (n, k, k)
        Covariance matrices of the outputs, in the product of their units.

    Raises
    ------
    InputError
        If a variance is negative or NaN, x is not finite, shapes do not fit, or what results is no
        covariance.

    Examples
    --------
    Of a linear model Wᵀx the covariance is Wᵀ diag(σ²) W; the second input is masked:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros(2)])
    >>> propagated_covariance(model, np.ones((1, 2)), np.array([0.5, np.inf])).tolist()
    [[[0.5, 1.0], [1.0, 2.0]]]
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}; got {method!r}")
    x = as_rows(x)
    n, p = len(x), int(np.prod(x.shape[1:]))
    variance = np.asarray(variance)
    off_diagonals = None if off_diagonals is None else np.asarray(off_diagonals)
    variance = np.full(p, variance) if variance.ndim == 0 else variance
    _check_noise(variance, off_diagonals, n, p)
    noise = NoisePropagation(
        model,
        input_scale=input_scale,
        target_scale=target_scale,
        batch_size=min(batch_size, max(n, 1)),
    )
    same = variance.ndim == 1 and (off_diagonals is None or off_diagonals.ndim == 2)
    possible = same and noise.has_gram
    if method == "gram" and not possible:
        raise InputError(
            "method 'gram' needs noise that all rows share and a plain stack of Dense layers; use "
            "method='auto'"
        )
    if method == "gram" or (method == "auto" and possible and noise.gram_pays(n)):
        covariance = noise.by_gram(x, noise.gram(variance, off_diagonals))
    else:
        covariance = noise.by_rows(x, variance, off_diagonals)
    if not np.isfinite(covariance).all():
        raise InputError("the covariance is not finite; look for huge values in x or the weights")
    if off_diagonals is not None:
        _check_covariance(covariance, noise.rounding)
    return covariance


def _check_covariance(covariance: np.ndarray, rounding: float) -> None:
    """Refuse what has a negative variance along any direction, beyond rounding."""
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    # Of correlations, so that one output's unit does not hide another's.
    deviations = np.sqrt(np.where(variances > 0, variances, 1))
    correlations = covariance / (deviations[:, :, None] * deviations[:, None, :])
    least = np.linalg.eigvalsh(correlations)[:, 0]
    bad = (least < -rounding) | (variances < 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            "off_diagonals and variance make a negative variance along some direction of the "
            f"outputs of row {row} (least eigenvalue of the correlations {least[row]:.2g}), so "
            "they are no covariance; the matrix of each row has to be positive semi-definite"
        )


def _without_masked(
    variance: np.ndarray, off_diagonals: np.ndarray | None = None
) -> list[np.ndarray]:
    """Set what involves a masked input to zero."""
    masked = np.isposinf(variance)
    parts = [np.where(masked, 0, variance)]
    if off_diagonals is None:
        return parts
    cleaned = np.zeros((max(len(masked), len(off_diagonals)), *off_diagonals.shape[1:]))
    cleaned[:] = off_diagonals
    for step in range(1, cleaned.shape[1] + 1):
        either = masked[:, :-step] | masked[:, step:]
        cleaned[:, step - 1, :-step] *= ~either
    return [*parts, cleaned]


def _in_units_of_largest(
    scale: np.ndarray, variance: np.ndarray, off_diagonals: np.ndarray | None = None
) -> list[np.ndarray]:
    """Divide the noise of scaled inputs by the largest deviation of each row.

    Returns
    -------
    list of ndarray of float64
        These deviations, shape (n,), 1 for rows without noise; all deviations in units of them,
        (n, p); covariances in units of their squares, if there are any.
    """
    deviation = np.sqrt(variance, dtype=np.float64) / scale
    unit = deviation.max(axis=1)
    unit[unit == 0] = 1
    parts = [unit, deviation / unit[:, None]]
    if off_diagonals is not None:
        weights = np.zeros_like(off_diagonals)
        for step in range(1, weights.shape[1] + 1):
            # One after the other: products of two units may be beyond float64.
            one, other = (unit[:, None] * part for part in (scale[:-step], scale[step:]))
            weights[:, step - 1, :-step] = off_diagonals[:, step - 1, :-step] / one / other
        parts.append(weights)
    return parts


def _check_noise(variance: np.ndarray, off_diagonals: np.ndarray | None, n: int, p: int) -> None:
    if variance.shape not in ((p,), (n, p)):
        raise InputError(
            f"variance has shape {variance.shape}; expected ({p},) for all rows or ({n}, {p})"
        )
    if not (variance >= 0).all():
        raise InputError(
            "variance has values that are negative or NaN; give the squares of the errors, inf "
            "where an input is masked"
        )
    if off_diagonals is None:
        return
    shape = off_diagonals.shape
    fits = shape[-1] == p and (len(shape) == 2 or (len(shape) == 3 and shape[0] == n))
    if not fits or not shape[-2] < p:
        raise InputError(
            f"off_diagonals has shape {shape}; expected (m, {p}) or ({n}, m, {p}) with m below {p}"
        )
    if not np.isfinite(off_diagonals).all():
        raise InputError("off_diagonals has NaN or infinite values; use 0 for masked inputs")
    # Of masked inputs nothing is looked at, and infinity times zero would be NaN.
    deviation = np.sqrt(variance)
    for step in range(1, shape[-2] + 1):
        one, other = deviation[..., :-step], deviation[..., step:]
        masked = np.isinf(one) | np.isinf(other)
        bound = np.where(masked, np.inf, np.where(masked, 0, one) * np.where(masked, 0, other))
        if (
            np.abs(off_diagonals[..., step - 1, :-step]) > bound * (1 + CORRELATION_ROUNDING)
        ).any():
            raise InputError(
                f"off_diagonals has a covariance of inputs {step} apart that is larger than the "
                "product of their standard deviations; give covariances, in the units of variance"
            )
