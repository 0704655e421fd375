"""Many products with the Hessian at the same weights: what the vector does not enter is kept.

Of layers hᵢ = φᵢ(zᵢ), zᵢ = hᵢ₋₁ Wᵢ + bᵢ, with δᵢ = ∂l/∂zᵢ, the Hessian times v = (Vᵢ, cᵢ) is
(Pearlmutter 1994, Neural Computation 6, 147)

    Rzᵢ = hᵢ₋₁ Vᵢ + cᵢ + Rhᵢ₋₁ Wᵢ,    Rhᵢ = φᵢ′ Rzᵢ,    Rδ_L = ∂²l/∂z_L² Rz_L,
    Rδᵢ = φᵢ′ (Rδᵢ₊₁ Wᵢ₊₁ᵀ + δᵢ₊₁ Vᵢ₊₁ᵀ) + φᵢ″ (δᵢ₊₁ Wᵢ₊₁ᵀ) Rzᵢ,
    H v = (hᵢ₋₁ᵀ Rδᵢ + Rhᵢ₋₁ᵀ δᵢ, Σ Rδᵢ).

One forward and one backward pass give hᵢ, φᵢ′, δᵢ and φᵢ″ δᵢ₊₁ Wᵢ₊₁ᵀ for all v. Of the products of
matrices six of eight remain in a layer, and two of three in the first: in the network of stellar
labels 1.22 times those of a gradient, where a product by itself takes 1.76 times.
"""

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from starstack.autodiff.compiled import Compiled
from starstack.autodiff.dense_stack import DenseStack, Step, dense_stack
from starstack.autodiff.inference import coarsest_type, logits_of, rounds_to_tf32
from starstack.autodiff.losses import RowLoss, output_hessian_product
from starstack.autodiff.products import Products
from starstack.autodiff.transfer import Staging, Sum

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger(__name__)

# Bytes that may be kept, of all batches together.
KEPT_BYTES = 1e9
# Relative differences that rounding explains between the two ways to a product.
TOLERANCES = {"float64": 1e-8, "float32": 1e-3, "tf32": 3e-2}


class Kept(NamedTuple):
    """What all products over a batch have in common, layer by layer."""

    inputs: "list[tf.Tensor]"
    slopes: "list[tf.Tensor]"
    bends: "list[tf.Tensor]"
    deltas: "list[tf.Tensor]"
    last: "tf.Tensor"
    y: "tf.Tensor"
    weight: "tf.Tensor"


class FixedHessian:
    """The function v ↦ H v at the weights of its making, or of the last `renew`.

    Models that are no stack of Dense layers, or whose other layers have weights to train, data
    for which too much would be kept, and losses with penalties take `Products` instead, at the
    weights of each product; so does any model whose first product here is not theirs.

    Parameters
    ----------
    products : Products
        Model, loss and data.
    memory_limit : float
        Bytes that may be kept.

    Attributes
    ----------
    keeps : bool
        Whether anything is kept.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> products = Products(model, "mse", (np.diag([1.0, 3.0]), np.zeros(2)))
    >>> multiply = FixedHessian(products)
    >>> multiply(np.array([1.0, 1.0]))  # 2/N XᵀX v
    array([1., 9.])
    """

    def __init__(self, products: Products, memory_limit: float = KEPT_BYTES) -> None:
        self._products = products
        stack = dense_stack(products.model)
        self.keeps = (
            stack is not None
            and not products.has_penalties
            and _has_all_weights(stack, products)
            and _kept_bytes(stack, products) <= memory_limit
        )
        self._kept: list[Kept] | None = None
        if self.keeps:
            passes = _Passes(stack.between, products.row_loss, products.splits_at_logits)
            self._first = Compiled(passes.first, "what all Hessian products share", False)
            self._second = Compiled(passes.second, "hessian product at fixed weights", False)
            self._staging = Staging(products.parameters)
            self._variables = [list(pair) for pair in stack.weights]
        self.renew()
        self.keeps = self.keeps and self._agrees()

    def renew(self) -> None:
        """Take the model's weights as they are from here on."""
        self._kept = None
        if self.keeps:
            # Assigning to a variable leaves what was read of it as it is.
            self._weights = [
                [None if part is None else part.read_value() for part in pair]
                for pair in self._variables
            ]

    def _agrees(self) -> bool:
        """Whether the product with some vector is that of `Products`, which is proved elsewhere."""
        v = np.random.default_rng(0).standard_normal(self._products.parameters.size)
        expected = self._products.hessian_vector_product(v)
        error = np.linalg.norm(self._multiply(v) - expected)
        dtype = "tf32" if rounds_to_tf32() else coarsest_type(self._products.model)
        if error <= TOLERANCES[dtype] * np.linalg.norm(expected):
            return True
        logger.warning(
            "Hessian products of model '%s' at fixed weights are not those of its loss (they "
            "differ by %.1e of them %.1e): all are computed as a whole, which takes longer",
            self._products.model.name,
            error,
            np.linalg.norm(expected),
        )
        self._kept = None
        return False

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """Multiply; v and the result of shape (P,)."""
        if not self.keeps:
            return self._products.hessian_vector_product(v)
        result = self._multiply(v)
        if not np.isfinite(result.sum()):
            self._products.explain_not_finite("hessian_product", v)
        return result

    def _multiply(self, v: np.ndarray) -> np.ndarray:
        if self._kept is None:
            self._kept = [
                Kept(*self._first(self._weights, *self._products.tensors(batch)))
                for batch in self._products.batches
            ]
        parts = iter(self._staging.fill(self._products.parameters.check(v)))
        vectors = [
            [None if part is None else next(parts) for part in pair] for pair in self._weights
        ]
        total = Sum(self._products.parameters)
        for kept in self._kept:
            total.add(self._second(self._weights, vectors, kept))
        return total.times(self._products.scale)


class _Passes:
    """Forward and backward, without v and with it."""

    def __init__(
        self, between: tuple[tuple[Step, ...], ...], row_loss: RowLoss, splits_at_logits: bool
    ) -> None:
        self._between, self._row_loss, self._splits = between, row_loss, splits_at_logits

    def first(self, weights: list, x: "tf.Tensor", y: "tf.Tensor", weight: "tf.Tensor") -> Kept:
        import tensorflow as tf

        h, inputs, sums = _apply(self._between[0], x), [], []
        for number, (kernel, bias) in enumerate(weights, start=1):
            inputs.append(h)
            z = h @ kernel if bias is None else h @ kernel + bias
            sums.append(z)
            if number < len(weights):
                h = _apply(self._between[number], z)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            total = tf.reduce_sum(weight * self._loss(y, z))
        deltas, slopes, bends = [tape.gradient(total, z)], [], []
        for number in range(len(weights) - 1, 0, -1):
            back = tf.matmul(deltas[0], weights[number][0], transpose_b=True)
            slope, bend = _slope_and_bend(self._between[number], sums[number - 1], back)
            slopes.insert(0, slope)
            bends.insert(0, bend)
            deltas.insert(0, slope * back)
        return Kept(inputs, slopes, bends, deltas, z, y, weight)

    def second(self, weights: list, vectors: list, kept: Kept) -> "list[tf.Tensor]":
        import tensorflow as tf

        moved, moved_inputs, moved_sums = None, [], []
        pairs = zip(weights, vectors, strict=True)
        for number, ((kernel, _), (direction, shift)) in enumerate(pairs):
            moved_inputs.append(moved)
            moved_sum = kept.inputs[number] @ direction
            if shift is not None:
                moved_sum += shift
            if moved is not None:
                moved_sum += moved @ kernel
            moved_sums.append(moved_sum)
            if number < len(kept.slopes):
                moved = kept.slopes[number] * moved_sum
        moved_delta = kept.weight[:, None] * output_hessian_product(
            self._loss, kept.y, kept.last, moved_sums[-1]
        )
        found: list = []
        for number in range(len(weights) - 1, -1, -1):
            slope_of_kernel = tf.matmul(kept.inputs[number], moved_delta, transpose_a=True)
            if number:
                slope_of_kernel += tf.matmul(
                    moved_inputs[number], kept.deltas[number], transpose_a=True
                )
            found[:0] = [slope_of_kernel]
            if weights[number][1] is not None:
                found.insert(1, tf.reduce_sum(moved_delta, 0))
            if number:
                back = tf.matmul(moved_delta, weights[number][0], transpose_b=True)
                back += tf.matmul(kept.deltas[number], vectors[number][0], transpose_b=True)
                moved_delta = kept.slopes[number - 1] * back
                moved_delta += kept.bends[number - 1] * moved_sums[number - 1]
        return found

    def _loss(self, y: "tf.Tensor", z: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        # What follows the last layer is part of the loss, up to the logits where it takes these.
        outputs = _apply(self._between[-1], z)
        # Under its own name, as in `Kernels.outputs`.
        return self._row_loss(y, tf.identity(logits_of(outputs) if self._splits else outputs))


def _apply(steps: tuple[Step, ...], h: "tf.Tensor") -> "tf.Tensor":
    for step in steps:
        h = step(h)
    return h


def _slope_and_bend(
    steps: tuple[Step, ...], z: "tf.Tensor", back: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return φ′ and φ″ · back."""
    import tensorflow as tf

    if not steps:
        return tf.ones_like(z), tf.zeros_like(z)
    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(z)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(z)
            h = _apply(steps, z)
        slope = inner.gradient(h, z, unconnected_gradients=zero)
    return slope, outer.gradient(slope, z, output_gradients=back, unconnected_gradients=zero)


def _has_all_weights(stack: DenseStack, products: Products) -> bool:
    """Whether the layers' matrices are all that is trained, in the order of the flat vector."""
    own = [part for pair in stack.weights for part in pair if part is not None]
    trained = products.parameters.variables
    return len(own) == len(trained) and all(a is b for a, b in zip(own, trained, strict=True))


def _kept_bytes(stack: DenseStack, products: Products) -> int:
    numbers = sum(kernel.shape[0] + 3 * kernel.shape[1] for kernel, _ in stack.weights)
    item = np.dtype(stack.dtype).itemsize
    return item * numbers * products.batches.batch_size * len(products.batches)
