"""Proofs that an operator's products are what they claim to be, on the actual model."""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.inference import coarsest_type, rounds_to_tf32
from starstack.autodiff.losses import output_hessian, output_hessian_product
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.products import Products

logger = logging.getLogger(__name__)

# Relative errors that rounding explains, by the coarsest type that a layer computes in: of
# symmetry, and of differences at the best step, which are taken in float64.
TOLERANCES = {"float32": (1e-4, 1e-3), "float64": (1e-10, 1e-4)}
# Of differences where they, or the products, are coarser: without a copy in float64, or in TF32.
ROUGH = 1e-2
# Steps of the differences, relative to the weights: around the cube root of the rounding error,
# and smaller for networks whose units switch on or off nearby, of which differences see the jump
# (37 rows and 100 rectified units: relative error 3.4 at all steps that float32 allows, 1e-8 in
# float64 below 1e-6). What is wrong is so at all steps.
STEPS = {"float32": (1e-2, 3e-3, 1e-3, 3e-4), "float64": (1e-4, 1e-6, 1e-8)}
# TensorFlow's `tf.nn.moments` keeps the mean constant inside the variance: the first derivative is
# right, the second is not (seen in 2.20).
HALF_DIFFERENTIABLE = ("LayerNormalization", "GroupNormalization")
# What has a kink, and no derivative on it: all inputs zero and no bias put a unit there.
KINKED = re.compile("relu|maxpool|hard_", re.IGNORECASE)


@dataclass(frozen=True)
class Proofs:
    """What the proofs measured.

    Attributes
    ----------
    matrix : str
        ``hessian``, ``gauss_newton`` or ``jacobian``.
    symmetry_error : float
        |uᵀAv − vᵀAᵀu| / (‖u‖‖Av‖ + ‖v‖‖Aᵀu‖).
    difference_error : float
        Relative error against finite differences, of gradients (for the Hessian) or of outputs
        (for the others).
    norm : float
        ‖Av‖ for ‖v‖ = 1.
    dtype : str
        The coarsest type that a layer computes in, which sets the tolerances.
    """

    matrix: str
    symmetry_error: float
    difference_error: float
    norm: float
    dtype: str


def prove(products: "Products", matrix: str = "hessian", *, seed: int = 0) -> Proofs:
    """Prove the products of a model's Hessian or Gauss–Newton matrix on a batch.

    It is the first batch that has weight and products that are not zero.

    1. They are finite and not zero: ``ForwardAccumulator`` returns zeros for what XLA compiled.
    2. uᵀAv = vᵀAu for random directions u, v.
    3. H v is the central difference of gradients along v; vᵀGv is scale · Σ_i w_i
       (Δz_i)ᵀ Λ_i (Δz_i), Δz the central difference of the outputs along v and Λ from
       `starstack.autodiff.losses.output_hessian`. The best of several steps counts. Differences
       of a model that computes in float32 are taken of a copy in float64, where there can be one.

    Parameters
    ----------
    products : Products
        The products; the compiled functions themselves are tried.
    matrix : str
        ``hessian`` or ``gauss_newton``.
    seed : int
        Of the directions.

    Returns
    -------
    Proofs
        The errors measured.

    Raises
    ------
    InputError
        Naming the proof that failed. The model keeps its weights.
    """
    if matrix not in DIFFERENCES:
        raise InputError(f"matrix is '{matrix}'; expected one of {', '.join(DIFFERENCES)}")
    if not products.batches.total_weight:
        raise InputError("all sample weights are zero; expected some weight to prove products with")
    if matrix == "gauss_newton":
        products = products.without_penalties()
    where = f"{matrix.replace('_', '–')} products of model '{products.model.name}'"
    rng = np.random.default_rng(seed)
    u, v = map(_unit, rng.standard_normal((2, products.parameters.size)))

    def multiply(part: "Products", vector: np.ndarray) -> np.ndarray:
        return getattr(part, f"{matrix}_vector_product")(vector)

    parts = (products.over(part) for part in products.batches.parts() if part.total_weight)
    products, Av = _first_not_zero(
        parts,
        partial(multiply, vector=v),
        where,
        f"the loss '{products.row_loss.name}' has no curvature here",
    )
    exact = _in_float64(products)
    return _judge(
        products,
        exact,
        where,
        Proofs(
            matrix=matrix,
            symmetry_error=_mismatch(u, Av, v, multiply(products, u)),
            difference_error=_best(partial(DIFFERENCES[matrix], exact, v, Av), exact),
            norm=float(np.linalg.norm(Av)),
            dtype=coarsest_type(products.model),
        ),
    )


def prove_jacobian(products: "Products", x: np.ndarray, *, seed: int = 0) -> Proofs:
    """Prove the products with J = ∂z/∂θ and with Jᵀ, on the first rows of x where J is not zero.

    1. They are finite and not zero.
    2. uᵀ(Jv) = (Jᵀu)ᵀv, for directions with a random part and one along which J is large.
    3. J v is the central difference of the outputs along v, as in `prove`.

    Parameters
    ----------
    products : Products
        The products.
    x : ndarray of shape (n, …)
        Rows as the model takes them.
    seed : int
        Of the directions.

    Returns
    -------
    Proofs

    Raises
    ------
    InputError
        Naming the proof that failed.
    """
    where = f"Jacobian products of model '{products.model.name}'"
    rng, size = np.random.default_rng(seed), products.batches.batch_size
    v = _unit(rng.standard_normal(products.parameters.size))
    x, Jv = _first_not_zero(
        (x[start : start + size] for start in range(0, len(x), size)),
        partial(products.jacobian_vector_product, v=v),
        where,
        "the outputs do not depend on the weights here",
    )
    u = _unit(rng.standard_normal(Jv.shape)) + _unit(Jv)
    Ju = products.vector_jacobian_product(x, u)
    v = _unit(v + _unit(Ju))
    Jv = products.jacobian_vector_product(x, v)
    exact = _in_float64(products)

    def difference(step: float) -> float:
        upper, lower, moved = _both_sides(exact, v, step, lambda: exact.outputs(x))
        return _relative_error((upper - lower) / moved, Jv)

    return _judge(
        products,
        exact,
        where,
        Proofs(
            matrix="jacobian",
            symmetry_error=_mismatch(u, Jv, v, Ju),
            difference_error=_best(difference, exact),
            norm=float(np.linalg.norm(Jv)),
            dtype=coarsest_type(products.model),
        ),
    )


def _first_not_zero(
    parts: Iterable, multiply: Callable[[Any], np.ndarray], where: str, otherwise: str
) -> tuple[Any, np.ndarray]:
    """Return the first part of the data whose product is not zero, and the product."""
    for part in parts:
        product = multiply(part)
        norm = np.linalg.norm(product)
        if not np.isfinite(norm):
            raise InputError(f"{where}: not finite; check the loss and the weights")
        if norm:
            return part, product
    raise InputError(
        f"{where}: the proof that they are not zero failed: A v = 0 for a random v in every batch; "
        f"{otherwise}, or an operation has no derivative"
    )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / (np.linalg.norm(vector) or 1.0)


def _mismatch(u: np.ndarray, Av: np.ndarray, v: np.ndarray, Au: np.ndarray) -> float:
    """Return |uᵀAv − vᵀAᵀu| relative to the lengths of the factors."""
    norm = np.linalg.norm
    difference = abs(np.vdot(u, Av) - np.vdot(v, Au))
    return float(difference / (norm(u) * norm(Av) + norm(v) * norm(Au)))


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _best(difference: Callable[[float], float], exact: "Products") -> float:
    """Return the least error over the steps."""
    steps = STEPS[coarsest_type(exact.model)]
    return min(difference(step * _length(exact)) for step in steps)


def _judge(products: "Products", exact: "Products", where: str, proofs: Proofs) -> Proofs:
    """Return the proofs, or refuse what they show to be wrong."""
    symmetry, difference = TOLERANCES[proofs.dtype]
    if coarsest_type(exact.model) == "float32" or rounds_to_tf32():
        difference = ROUGH
    for what, error, limit in (
        (
            "the adjoint" if proofs.matrix == "jacobian" else "symmetry",
            proofs.symmetry_error,
            symmetry,
        ),
        ("agreement with finite differences", proofs.difference_error, difference),
    ):
        if not error <= limit:
            raise InputError(
                f"{where}: the proof of {what} failed: relative error {error:.2g}, at most "
                f"{limit:g} expected in {proofs.dtype}{_hint(products, proofs.matrix)}"
            )
    logger.info(
        "%s proved: symmetry %.1e, differences %.1e, norm %.3g",
        where,
        proofs.symmetry_error,
        proofs.difference_error,
        proofs.norm,
    )
    return proofs


def _in_float64(products: "Products") -> "Products":
    """Return the same products of a float64 copy of the model, without XLA."""
    import keras

    if coarsest_type(products.model) == "float64":
        return products

    def copy(layer: "keras.Layer") -> "keras.Layer":
        return type(layer).from_config(layer.get_config() | {"dtype": "float64"})

    try:
        model = keras.models.clone_model(
            products.model,
            input_tensors=_float64_input(products.model),
            clone_function=copy,
            recursive=True,
        )
        model.set_weights(products.model.get_weights())
        exact = products.of(model)
    except (TypeError, ValueError, NotImplementedError, InputError) as error:
        logger.info("no float64 copy of model '%s' (%s)", products.model.name, error)
        return products
    same = exact.parameters.shapes == products.parameters.shapes
    return exact if same and coarsest_type(model) == "float64" else products


def _float64_input(model: "keras.Model") -> "keras.KerasTensor | None":
    """Return an input that does not round what a float32 one would; None for no change."""
    import keras

    inputs = getattr(model, "inputs", None)  # a subclassed model has none
    if not inputs or inputs[0].dtype != "float32":
        return None
    return keras.Input(batch_shape=inputs[0].shape, dtype="float64", name=inputs[0].name)


def _length(products: "Products") -> float:
    """Return the length of a step of relative size one along a unit vector."""
    return max(float(np.linalg.norm(products.parameters.read())), 1.0)


def _gradient_difference(products: "Products", v: np.ndarray, Av: np.ndarray, step: float) -> float:
    upper, lower, moved = _both_sides(products, v, step, products.gradient)
    return _relative_error((upper - lower) / moved, Av)


def _output_difference(products: "Products", v: np.ndarray, Av: np.ndarray, step: float) -> float:
    import tensorflow as tf

    batch = next(iter(products.batches))
    upper, lower, moved = _both_sides(products, v, step, lambda: products.outputs(batch.x))
    slope = tf.constant((upper - lower) / moved, dtype=upper.dtype)
    z = tf.constant(products.outputs(batch.x))
    y = tf.constant(products.targets(batch.y))
    if z.shape.rank == 2:
        curved = tf.linalg.matvec(output_hessian(products.row_loss)(y, z), slope)
    else:
        curved = output_hessian_product(products.row_loss, y, z, slope)
    per_row = np.sum((slope * curved).numpy(), axis=tuple(range(1, z.shape.rank)), dtype=float)
    expected = products.scale * float(batch.weight @ per_row)
    # Against the product's length too: a form that is negative here and positive there cancels.
    return abs(float(v @ Av) - expected) / max(abs(expected), 1e-3 * float(np.linalg.norm(Av)))


def _both_sides(
    products: "Products", v: np.ndarray, step: float, function: Callable[[], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Evaluate at weights moved along v and back; return how far they moved after rounding, too."""
    found, at = [], products.parameters.read()
    for sign in (1, -1):
        with products.parameters.at(at + sign * step * v):
            found += [products.parameters.read(), function()]
    above, upper, below, lower = found
    return upper, lower, float((above - below) @ v)


def _hint(products: "Products", matrix: str) -> str:
    layers = products.model._flatten_layers(include_self=False, recursive=True)
    found = [layer.name for layer in layers if type(layer).__name__ in HALF_DIFFERENTIABLE]
    if matrix == "hessian" and found:
        return (
            f"; layer '{found[0]}' normalises by tf.nn.moments, whose second derivative is wrong: "
            "use RMSNormalization, or Gauss–Newton products"
        )
    found = [layer.name for layer in layers if KINKED.search(_kind(layer))]
    if found:
        return (
            f"; layer '{found[0]}' has no derivative where a value is exactly at a kink or two "
            "maxima are equal, as for a row of zeros: leave out such rows, or move the biases"
        )
    return ""


def _kind(layer: "keras.Layer") -> str:
    """Return the names of a layer's class and of its activation."""
    return f"{type(layer).__name__} {getattr(getattr(layer, 'activation', None), '__name__', '')}"


DIFFERENCES: dict[str, Callable[..., float]] = {
    "hessian": _gradient_difference,
    "gauss_newton": _output_difference,
}
