"""Hessian, Gauss–Newton matrix and Jacobian as linear operators of SciPy."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from starstack.autodiff.products import Products
from starstack.autodiff.proofs import Proofs, prove, prove_jacobian
from starstack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from starstack.autodiff.batches import Batches


class _Operator(LinearOperator):
    """A matrix that takes vectors of its own width, and its transpose of its height, only."""

    def matvec(self, v: np.ndarray) -> np.ndarray:
        return super().matvec(self._check(v, self.shape[1]))

    def matmat(self, V: np.ndarray) -> np.ndarray:
        return super().matmat(self._check(V, self.shape[1]))

    def rmatvec(self, u: np.ndarray) -> np.ndarray:
        return super().rmatvec(self._check(u, self.shape[0]))

    def rmatmat(self, U: np.ndarray) -> np.ndarray:
        return super().rmatmat(self._check(U, self.shape[0]))

    def _check(self, v: np.ndarray, size: int) -> np.ndarray:
        v = np.asanyarray(v)
        if v.ndim not in (1, 2) or len(v) != size:
            raise InputError(f"the vector has shape {v.shape}; expected ({size},) or ({size}, m)")
        return v


class _CurvatureOperator(_Operator):
    """A symmetric matrix of shape (P, P) in float64 that is known by its products."""

    matrix = ""

    def __init__(self, products: Products, *, proved: bool = True) -> None:
        self.products = products
        if proved:  # the proofs are of one batch only; the loss is one pass over all
            products.check_finite()
        self.proofs: Proofs | None = prove(products, self.matrix) if proved else None
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

    def _transpose(self) -> "_CurvatureOperator":
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


class JacobianOperator(_Operator):
    """J = ∂z/∂θ at given rows: one row of the matrix per output of each, shape (n·k, P).

    Its transpose is the vector-Jacobian product, so that SciPy's solvers of least squares take it.

    Parameters
    ----------
    products : Products
        The model, and the size of the batches.
    x : ndarray of shape (n, …)
        Rows as the model takes them.
    proved : bool
        Prove the products first, see `starstack.autodiff.proofs.prove_jacobian`.

    Attributes
    ----------
    proofs : Proofs or None
        What the proofs measured.

    Raises
    ------
    InputError
        If a proof fails, or the model does not take these rows.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> J = JacobianOperator(Products(model, "mse", (x, np.zeros(3))), x)
    >>> J @ np.array([1.0, 1.0]), J.T @ np.ones(3)  # of a linear model J is x
    (array([ 3.,  7., 11.]), array([ 9., 12.]))
    """

    def __init__(self, products: Products, x: np.ndarray, *, proved: bool = True) -> None:
        self.products, self.x = products, np.asarray(x)
        self._z_shape = products.outputs(self.x).shape
        self.proofs: Proofs | None = prove_jacobian(products, self.x) if proved else None
        shape = int(np.prod(self._z_shape)), products.parameters.size
        super().__init__(np.dtype(np.float64), shape)

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        found = self.products.jacobian_vector_product(self.x, np.reshape(v, -1))
        return found.reshape(-1).astype(np.float64)

    def _rmatvec(self, u: np.ndarray) -> np.ndarray:
        return self.products.vector_jacobian_product(self.x, np.reshape(u, self._z_shape))
