"""Penalties of weights: what the layers' regularizers add to the loss of the data."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from starstack.autodiff.compiled import Compiled
from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.kernels import hessian_product, value_and_gradient
from starstack.autodiff.transfer import Sum
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Penalties:
    """The sum of the penalties of a model's trainable weights, and its derivatives.

    Parameters
    ----------
    model : keras.Model
        One that was called. Its layers may have ``kernel_regularizer``, ``bias_regularizer`` and
        the like.
    jit_compile : bool, optional
        See `starstack.autodiff.compiled.Compiled`.

    Raises
    ------
    InputError
        If a layer penalises its outputs or calls ``add_loss``: that need be no function of the
        weights alone.
    """

    def __init__(self, model: "keras.Model", jit_compile: bool | None = None) -> None:
        for layer in model._flatten_layers(include_self=True, recursive=True):
            if getattr(layer, "activity_regularizer", None) is not None:
                what = "penalises its outputs (activity_regularizer)"
            elif layer._losses:  # of its last call
                what = "adds to the loss what may depend on the data (add_loss)"
            else:
                continue
            raise InputError(
                f"layer '{layer.name}' {what}; expected penalties of weights alone: use "
                "kernel_regularizer and the like, or regularization=False"
            )
        self._parameters = FlatParameters(model)
        self._regularizers: list[Callable | None] = [
            variable.regularizer for variable in model.trainable_variables
        ]
        variables = self._parameters.variables
        self._gradient = Compiled(
            lambda: value_and_gradient(self._total, variables), "penalty", jit_compile
        )
        self._product = Compiled(
            lambda v: hessian_product(self._total, variables, v), "penalty product", jit_compile
        )

    def __bool__(self) -> bool:
        """Whether any weight has a penalty."""
        return any(self._regularizers)

    def loss_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the penalty and its gradient, shape (P,)."""
        value, parts = self._gradient()
        return float(value), self._flat(parts)

    def hessian_product(self, vectors: "list[tf.Tensor]") -> np.ndarray:
        """Return the penalty's Hessian times a vector that is divided by weights, shape (P,)."""
        return self._flat(self._product(vectors))

    def _total(self) -> "tf.Tensor":
        import tensorflow as tf

        return tf.add_n(
            [
                tf.cast(regularizer(variable), self._parameters.dtype)
                for regularizer, variable in zip(
                    self._regularizers, self._parameters.variables, strict=True
                )
                if regularizer is not None
            ]
        )

    def _flat(self, parts: "list[tf.Tensor]") -> np.ndarray:
        total = Sum(self._parameters)
        total.add(parts)
        return total.times(1.0)
