"""Proofs that an operator's products are what they claim to be, on the actual model."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from starstack.autodiff.losses import output_hessian, output_hessian_product
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.products import Products

logger = logging.getLogger(__name__)

# Relative errors that rounding explains, by the type of the weights: of symmetry, and of
# differences at the best step.
TOLERANCES = {"float32": (1e-4, 1e-2), "float64": (1e-10, 1e-4)}
# Steps of the differences, relative to the weights: around the cube root of the rounding error,
# and smaller for networks whose units switch on or off nearby, of which differences see the jump
# (37 rows and 100 rectified units: relative error 3.4 at all steps that float32 allows, 1e-8 in
# float64 below 1e-6). What is wrong is so at all steps.
STEPS = {"float32": (1e-2, 3e-3, 1e-3, 3e-4), "float64": (1e-4, 1e-6, 1e-8)}
# TensorFlow's `tf.nn.moments` keeps the mean constant inside the variance: the first derivative is
# right, the second is not (seen in 2.20).
HALF_DIFFERENTIABLE = ("LayerNormalization", "GroupNormalization")


@dataclass(frozen=True)
class Proofs:
    """What the proofs measured.

    Attributes
    ----------
    matrix : str
        ``hessian`` or ``gauss_newton``.
    symmetry_error : float
        |uᵀAv − vᵀAu| / (‖u‖‖Av‖ + ‖v‖‖Au‖).
    difference_error : float
        Relative error against finite differences, of gradients (for the Hessian) or of outputs
        (for the Gauss–Newton matrix).
    norm : float
        ‖Av‖ for ‖v‖ = 1.
    dtype : str
        Type of the weights, which sets the tolerances.
    """

    matrix: str
    symmetry_error: float
    difference_error: float
    norm: float
    dtype: str


def prove(products: "Products", matrix: str = "hessian", *, seed: int = 0) -> Proofs:
    """Prove the products of a model's Hessian or Gauss–Newton matrix on the first batch.

    1. They are finite and not zero: ``ForwardAccumulator`` returns zeros for what XLA compiled.
    2. uᵀAv = vᵀAu for random directions u, v.
    3. H v is the central difference of gradients along v; vᵀGv is scale · Σ_i w_i
       (Δz_i)ᵀ Λ_i (Δz_i), Δz the central difference of the outputs along v and Λ from
       `starstack.autodiff.losses.output_hessian`. The best of several steps counts. Differences
       of a float32 model are taken of its copy in float64, where it can be copied.

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
    products = products.over(products.batches.first())
    if matrix == "gauss_newton":
        products = products.without_penalties()
    dtype = str(products.parameters.dtype)
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((2, products.parameters.size))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    multiply = getattr(products, f"{matrix}_vector_product")
    Au, Av = multiply(u), multiply(v)
    norms = np.linalg.norm(Au), np.linalg.norm(Av)
    where = f"{matrix.replace('_', '–')} products of model '{products.model.name}'"
    if not np.isfinite(norms).all():
        raise InputError(f"{where}: not finite; check the loss and the weights")
    if not min(norms):
        raise InputError(
            f"{where}: the proof that they are not zero failed: A v = 0 for a random v; the loss "
            f"'{products.row_loss.name}' has no curvature here, or an operation has no derivative"
        )
    symmetry = abs(u @ Av - v @ Au) / sum(norms)
    exact = _in_float64(products)
    differences = [
        DIFFERENCES[matrix](exact, v, Av, step * _length(exact))
        for step in STEPS[str(exact.parameters.dtype)]
    ]
    proofs = Proofs(matrix, float(symmetry), float(min(differences)), float(norms[1]), dtype)
    limits = TOLERANCES[dtype]
    for what, error, limit in (
        ("symmetry", proofs.symmetry_error, limits[0]),
        ("agreement with finite differences", proofs.difference_error, limits[1]),
    ):
        if not error <= limit:
            raise InputError(
                f"{where}: the proof of {what} failed: relative error {error:.2g}, at most "
                f"{limit:g} expected in {dtype}{_hint(products, matrix)}"
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

    if products.parameters.dtype == np.float64:
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
    return exact if same and exact.parameters.dtype == np.float64 else products


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
    return float(np.linalg.norm((upper - lower) / moved - Av) / np.linalg.norm(Av))


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
    if matrix != "hessian" or not found:
        return ""
    return (
        f"; layer '{found[0]}' normalises by tf.nn.moments, whose second derivative is wrong: use "
        "RMSNormalization, or Gauss–Newton products"
    )


DIFFERENCES: dict[str, Callable[..., float]] = {
    "hessian": _gradient_difference,
    "gauss_newton": _output_difference,
}
