"""Derivatives over the rows of one batch, as TensorFlow computes them.

Everything is reverse mode: over a batch of the dense network of stellar labels a Hessian-vector
product by reverse over reverse takes three quarters of the time of forward over reverse, and
``ForwardAccumulator`` gives zeros without a word for what XLA has compiled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starstack.autodiff.losses import RowLoss, output_hessian_product
from starstack.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, eq=False, repr=False)
class Kernels:
    """What is compiled: sums over the rows of a batch, and products with their derivatives.

    Attributes
    ----------
    infer : callable
        Outputs z of a batch of inputs.
    row_loss : RowLoss
        Loss of each row, of targets and z.
    variables : sequence of tf.Variable
        The parameters θ.
    """

    infer: "Callable[[tf.Tensor], tf.Tensor]"
    row_loss: RowLoss
    variables: "Sequence[tf.Variable]"

    def outputs(self, x: "tf.Tensor") -> "tf.Tensor":
        """Return z, of shape (n, …)."""
        import tensorflow as tf

        # Under its own name: Keras's cross-entropies look behind a sigmoid or a softmax for the
        # logits, and would be constant as functions of the probabilities.
        return tf.identity(self.infer(x))

    def loss(self, x: "tf.Tensor", y: "tf.Tensor", weight: "tf.Tensor") -> "tf.Tensor":
        """Return Σ w_i l(y_i, z_i)."""
        import tensorflow as tf

        return tf.reduce_sum(weight * self.row_loss(y, self.outputs(x)))

    def gradient(
        self, x: "tf.Tensor", y: "tf.Tensor", weight: "tf.Tensor"
    ) -> "tuple[tf.Tensor, list[tf.Tensor]]":
        """Return Σ w_i l_i and its gradient."""
        return value_and_gradient(lambda: self.loss(x, y, weight), self.variables)

    def hessian_product(
        self, x: "tf.Tensor", y: "tf.Tensor", weight: "tf.Tensor", vectors: "list[tf.Tensor]"
    ) -> "list[tf.Tensor]":
        """Return H v of Σ w_i l_i."""
        return hessian_product(lambda: self.loss(x, y, weight), self.variables, vectors)

    def jacobian_product(self, x: "tf.Tensor", vectors: "list[tf.Tensor]") -> "tf.Tensor":
        """Return J v of shape (n, …), J = ∂z/∂θ."""
        return self._linearize(x, vectors)[1]

    def transposed_product(self, x: "tf.Tensor", cotangent: "tf.Tensor") -> "list[tf.Tensor]":
        """Return Jᵀ u, summed over the rows; u of shape (n, …)."""
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            z = self.outputs(x)
        if cotangent.shape != z.shape:
            raise InputError(
                f"u has rows of shape {tuple(cotangent.shape[1:])}; expected those of the outputs, "
                f"{tuple(z.shape[1:])}"
            )
        return _gradient(tape, z, self.variables, cotangent)

    def gauss_newton_product(
        self, x: "tf.Tensor", y: "tf.Tensor", weight: "tf.Tensor", vectors: "list[tf.Tensor]"
    ) -> "list[tf.Tensor]":
        """Return Σ w_i J_iᵀ Λ_i J_i v, Λ the Hessian of the loss by z."""
        import tensorflow as tf

        z, product, tape = self._linearize(x, vectors)
        curved = output_hessian_product(self.row_loss, y, z, product)
        weight = tf.reshape(weight, (-1,) + (1,) * (z.shape.rank - 1))
        return _gradient(tape, z, self.variables, weight * curved)

    def _linearize(
        self, x: "tf.Tensor", vectors: "list[tf.Tensor]"
    ) -> "tuple[tf.Tensor, tf.Tensor, tf.GradientTape]":
        """Return z, J v and the tape that leads from z to θ.

        Jᵀu is linear in u, so its derivative by u, transposed, is J at any u.
        """
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as outer:
            with tf.GradientTape(watch_accessed_variables=False, persistent=True) as inner:
                inner.watch(self.variables)
                z = self.outputs(x)
            cotangent = tf.zeros_like(z)
            outer.watch(cotangent)
            transposed = _gradient(inner, z, self.variables, cotangent)
        return z, _gradient(outer, transposed, cotangent, vectors), inner


def value_and_gradient(
    function: "Callable[[], tf.Tensor]", variables: "Sequence[tf.Variable]"
) -> "tuple[tf.Tensor, list[tf.Tensor]]":
    """Return a function of the variables and its gradient."""
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        value = function()
    return value, _gradient(tape, value, variables)


def hessian_product(
    function: "Callable[[], tf.Tensor]",
    variables: "Sequence[tf.Variable]",
    vectors: "list[tf.Tensor]",
) -> "list[tf.Tensor]":
    """Return the gradient of gᵀv, g the gradient of a function of the variables."""
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(variables)
        gradient = value_and_gradient(function, variables)[1]
    return _gradient(outer, gradient, variables, vectors)


def _gradient(
    tape: "tf.GradientTape", target: object, sources: object, cotangent: object = None
) -> object:
    import tensorflow as tf

    found = tape.gradient(
        target,
        sources,
        output_gradients=cotangent,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    # An embedding's gradient comes as slices.
    return tf.nest.map_structure(tf.convert_to_tensor, found)
