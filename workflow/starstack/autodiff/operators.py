"""Hessian and Gauss–Newton matrix as linear operators of SciPy."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from starstack.autodiff.products import Products
from starstack.autodiff.proofs import Proofs, prove

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from starstack.autodiff.batches import Batches


class _CurvatureOperator(LinearOperator):
    """A symmetric matrix of shape (P, P) in float64 that is known by its products."""

    matrix = ""

    def __init__(self, products: Products, *, proved: bool = True) -> None:
        self.products = products
        self.proofs: Proofs | None = prove(products, self.matrix) if proved else None
        if proved:  # of the first batch only; the loss is one pass over all
            products.check_finite()
        size = products.parameters.size
        super().__init__(np.dtype(np.float64), (size, size))

    @classmethod
    def of(
        cls,
        model: "keras.Model",
        loss: "str | keras.losses.Loss | Callable",
        data: "Batches | tuple",
        reduction: str | None = None,
        *,
        proved: bool = True,
        **options: Any,
    ) -> "_CurvatureOperator":
        """Make the operator of a model, loss and data; see `Products` for the parameters."""
        return cls(Products(model, loss, data, reduction, **options), proved=proved)

    def _product(self, v: np.ndarray) -> np.ndarray:
        return getattr(self.products, f"{self.matrix}_vector_product")(v)

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        return self._product(np.reshape(v, -1))

    def _matmat(self, V: np.ndarray) -> np.ndarray:
        # One pass over the data for all columns.
        return self._product(V)

    def _adjoint(self) -> "_CurvatureOperator":
        return self


class HessianOperator(_CurvatureOperator):
    """The Hessian of the loss at the model's weights, at the time of each product.

    Parameters
    ----------
    products : Products
        Model, loss and data.
    proved : bool
        Prove the products first, see `starstack.autodiff.proofs.prove`, and that the loss of all
        rows is finite.

    Attributes
    ----------
    proofs : Proofs or None
        What the proofs measured.

    Raises
    ------
    InputError
        If a proof fails, or the loss is not finite in some row.

    Examples
    --------
    >>> import keras
    >>> from scipy.sparse.linalg import eigsh
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    >>> X = np.diag([1.0, 2.0, 3.0])
    >>> operator = HessianOperator.of(model, "mse", (X, np.zeros(3)), reduction="sum")
    >>> float(eigsh(operator, k=1, return_eigenvectors=False)[0])  # the largest of 2 XᵀX
    18.0
    """

    matrix = "hessian"


class GaussNewtonOperator(_CurvatureOperator):
    """The Gauss–Newton matrix of the loss, positive semidefinite for convex losses.

    Parameters
    ----------
    products : Products
        Model, loss and data.
    proved : bool
        Prove the products first, see `starstack.autodiff.proofs.prove`, and that the loss of all
        rows is finite.

    Attributes
    ----------
    proofs : Proofs or None
        What the proofs measured.

    Raises
    ------
    InputError
        If a proof fails, or the loss is not finite in some row.
    """

    matrix = "gauss_newton"
