"""SciPy's minimisers on the weights of a Keras model, and how good their inverse Hessians are."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import OptimizeResult, OptimizeWarning
from scipy.optimize import minimize as scipy_minimize
from scipy.sparse.linalg import LinearOperator

from starstack.autodiff.batches import Batches
from starstack.autodiff.fixed_hessian import FixedHessian
from starstack.autodiff.inference import coarsest_type
from starstack.autodiff.products import Products
from starstack.autodiff.proofs import prove
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """What one of SciPy's methods uses.

    Attributes
    ----------
    needs_products : bool
        Hessian-vector products.
    dense : bool
        Keeps a dense (P, P) matrix.
    """

    needs_products: bool = False
    dense: bool = False


METHODS: dict[str, Method] = {
    "BFGS": Method(dense=True),
    "L-BFGS-B": Method(),
    "Newton-CG": Method(needs_products=True),
    "trust-ncg": Method(needs_products=True),
    "trust-krylov": Method(needs_products=True),
}
# SciPy's BFGS holds so many matrices of this size while it updates its own (1.17, tracemalloc).
DENSE_COPIES = 6
MEMORY_LIMIT = 4e9
# What helps after SciPy's ``status``, which its messages do not say.
REMEDIES = {
    1: "raise maxiter in options, or tol if the loss no longer falls",
    2: "where the loss falls by less than its rounding no step helps: raise tol above this slope, "
    "try another method, or build the model in float64",
    3: "try another method, or build the model in float64",
}


def minimize(
    model: "keras.Model",
    loss: "str | keras.losses.Loss | Callable",
    data: Batches | tuple,
    method: str = "L-BFGS-B",
    *,
    x0: "np.ndarray | Sequence[np.ndarray] | None" = None,
    reduction: str | None = None,
    regularization: bool = True,
    options: dict[str, Any] | None = None,
    tol: float | None = None,
    callback: Callable[[OptimizeResult], None] | None = None,
    memory_limit: float = MEMORY_LIMIT,
    jit_compile: bool | None = None,
) -> OptimizeResult:
    """Minimise the loss over all of a data set by `scipy.optimize.minimize`.

    SciPy sees the trainable weights as one float64 vector, with the gradient by differentiation
    and, for the methods that use them, Hessian-vector products, which are proved at the start.

    Parameters
    ----------
    model : keras.Model
        Starts from its weights, unless `x0` is given, and has the final ones afterwards; its own
        come back if anything goes wrong. A float32 model rounds the vector at each evaluation,
        so that line searches may stop early: for the last digits, build it in float64.
    loss, data, reduction
        See `Products`.
    method : str
        ``BFGS``, ``L-BFGS-B``, ``Newton-CG``, ``trust-ncg`` or ``trust-krylov``.
    x0 : ndarray of shape (P,) or sequence of arrays, optional
        Initial weights, flat or one array per trainable variable.
    regularization : bool
        Include the layers' weight penalties, as ``model.fit`` does.
    options, tol
        Of SciPy's method.
    callback : callable, optional
        Called after each iteration with an ``OptimizeResult`` of ``x`` and ``fun``.
    memory_limit : float
        Bytes that BFGS may take for its dense matrices.
    jit_compile : bool, optional
        See `Products`.

    Returns
    -------
    OptimizeResult
        SciPy's, with float64 ``x``, ``fun``, ``jac``, and ``hess_inv``: the dense (P, P) estimate
        for BFGS, SciPy's operator for L-BFGS-B, and for the others the exact inverse by
        conjugate gradients, an operator that raises where the Hessian is not positive definite.
        It stays that at ``x``, whatever the model's weights become. ``message`` of a failure says
        what slope was reached and what helps. If a Hessian-vector product on the way is not
        finite, the point of least loss is the result, and ``success`` is False. ``products`` holds
        the derivatives, at the model's weights of the time.

    Raises
    ------
    InputError
        If the method or an option is unknown, BFGS's matrix would not fit, the model or data do not
        do, or the loss or its gradient is not finite at the start.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((1,), dtype="float64"),
    ...         keras.layers.Dense(1, use_bias=False, dtype="float64"),
    ...     ]
    ... )
    >>> X = np.array([[1.0], [2.0]])
    >>> result = minimize(model, "mse", (X, 3 * X), method="trust-krylov")
    >>> result.x.round(6), model.get_weights()[0].round(6).tolist()
    (array([3.]), [[3.0]])
    """
    if method not in METHODS:
        raise InputError(f"method is '{method}'; expected one of {', '.join(METHODS)}")
    if tol is not None and not tol >= 0:
        raise InputError(f"tol is {tol!r}; expected a number from 0")
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"options are {options!r}; expected a dict, such as {{'maxiter': 100}}")
    products = Products(
        model, loss, data, reduction, regularization=regularization, jit_compile=jit_compile
    )
    parameters = products.parameters
    if METHODS[method].dense:
        _check_memory(parameters.size, memory_limit)
    own = parameters.read()
    start = own if x0 is None else _flat(parameters, x0)
    objective = _Objective(products)
    try:
        parameters.write(start)
        products.check_finite(gradient=True)
        if METHODS[method].needs_products:
            prove(products, "hessian")
        # See `_Objective.product`; the vectors before the NaN may be too long to square.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"), _named_options(method):
            try:
                result = scipy_minimize(
                    objective.value_and_gradient,
                    start,
                    jac=True,
                    method=method,
                    hessp=objective.product if METHODS[method].needs_products else None,
                    tol=tol,
                    callback=objective.iterated(callback),
                    options=options,
                )
            except _NoProductError as error:
                result = objective.reached(error)
        # Newton-CG gives the gradient from before its last step.
        result.fun, result.jac = objective.value_and_gradient(result.x)
    except BaseException:
        parameters.write(own)
        raise
    result.x = np.asarray(result.x, dtype=np.float64)
    result.products = products
    slope = np.abs(result.jac).max()
    if result.status in REMEDIES:
        remedy = REMEDIES[result.status]
        result.message = f"{result.message} The largest slope is {slope:.1e}; {remedy}."
    if "hess_inv" not in result:
        result.hess_inv = ExactInverse(products, result.x)
    logger.log(
        logging.INFO if result.success else logging.WARNING,
        "%s: %s after %d iterations, loss %.6g, largest slope %.1e",
        method,
        "converged" if result.success else f"stopped ({result.message})",
        result.nit,
        result.fun,
        slope,
    )
    return result


def inverse_hessian_product(
    products: Products, v: np.ndarray, *, rtol: float = 1e-10, max_iterations: int | None = None
) -> np.ndarray:
    """Return H⁻¹ v by conjugate gradients, without the matrix.

    Parameters
    ----------
    products : Products
        At a minimum, where H is positive definite.
    v : ndarray of shape (P,)
        The vector.
    rtol : float
        Residual at the end, relative to v's length.
    max_iterations : int, optional
        By default 10 P, at most 10,000.

    Raises
    ------
    InputError
        If a direction of negative curvature is met, or the residual stays above `rtol`.
    """
    v = products.parameters.check(v)
    x, residual = np.zeros_like(v), v.copy()
    direction, square = residual.copy(), float(residual @ residual)
    limit = rtol * np.sqrt(square)
    for _ in range(max_iterations or min(10 * len(v), 10_000)):
        if np.sqrt(square) <= limit:
            return x
        curved = products.hessian_vector_product(direction)
        curvature = float(direction @ curved)
        if curvature <= 0:
            raise InputError(
                "the Hessian is not positive definite (curvature "
                f"{curvature / (direction @ direction):.2g} along a unit "
                "direction): this is no strict minimum; take the Gauss–Newton matrix with a prior"
            )
        step = square / curvature
        x += step * direction
        residual -= step * curved
        square, previous = float(residual @ residual), square
        direction = residual + square / previous * direction
    if np.sqrt(square) <= limit:
        return x
    reached = rtol * np.sqrt(square) / limit
    raise InputError(
        f"conjugate gradients stopped at a relative residual of {reached:.1e}; "
        f"expected {rtol:.0e}: the Hessian is ill-conditioned, or the model's float32 too coarse"
    )


class ExactInverse(LinearOperator):
    """H⁻¹ at some weights by `inverse_hessian_product`, a solve per product.

    The model has these weights during a product and its own again afterwards.

    Parameters
    ----------
    products : Products
        Model, loss and data.
    at : ndarray of shape (P,)
        The weights.
    """

    def __init__(self, products: Products, at: np.ndarray) -> None:
        self.products, self.at = products, products.parameters.check(at, "at").copy()
        size = products.parameters.size
        super().__init__(np.dtype(np.float64), (size, size))

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        rtol = 1e-10 if coarsest_type(self.products.model) == "float64" else 1e-4
        with self.products.parameters.at(self.at):
            return inverse_hessian_product(self.products, np.reshape(v, -1), rtol=rtol)

    def _adjoint(self) -> "ExactInverse":
        return self


@dataclass(frozen=True)
class InverseHessianError:
    """How far an estimate of the inverse Hessian is from it.

    Attributes
    ----------
    frobenius : float
        ‖estimate − H⁻¹‖ / ‖H⁻¹‖ in the Frobenius norm.
    variances : ndarray of shape (P,)
        Ratio of each diagonal element to the true one; 1 is right.
    median_ratio, worst_ratio : float
        Median of them, and the one whose logarithm is furthest from 0.
    """

    frobenius: float
    variances: np.ndarray
    median_ratio: float
    worst_ratio: float


def inverse_hessian_error(
    result: OptimizeResult, hessian: np.ndarray | None = None
) -> InverseHessianError:
    """Compare ``result.hess_inv`` with the inverse of the exact Hessian at ``result.x``.

    Parameters
    ----------
    result : OptimizeResult
        Of `minimize`, for a model small enough for the dense matrix.
    hessian : ndarray of shape (P, P), optional
        The exact Hessian; by default P products over the data.

    Raises
    ------
    InputError
        If the Hessian is not positive definite: its inverse is no covariance then.

    Examples
    --------
    >>> result = OptimizeResult(x=np.zeros(2), hess_inv=np.diag([1.0, 1.0]))
    >>> error = inverse_hessian_error(result, hessian=np.diag([1.0, 2.0]))
    >>> error.variances, error.worst_ratio
    (array([1., 2.]), 2.0)
    """
    size = len(result.x)
    if hessian is None:
        products: Products = result.products
        with products.parameters.at(result.x):
            hessian = products.hessian_vector_product(np.eye(size))
    eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    if eigenvalues[0] <= 0:
        raise InputError(
            f"the Hessian has the eigenvalue {eigenvalues[0]:.2g}, so that its inverse is no "
            "covariance; penalise the weights or minimise further"
        )
    exact = (vectors / eigenvalues) @ vectors.T
    estimate = result.hess_inv
    if not isinstance(estimate, np.ndarray):
        estimate = estimate @ np.eye(size)
    ratios = np.diag(estimate) / np.diag(exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = ratios[np.argmax(np.abs(np.log(np.abs(ratios))))]
    return InverseHessianError(
        frobenius=float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact)),
        variances=ratios,
        median_ratio=float(np.median(ratios)),
        worst_ratio=float(worst),
    )


class _NoProductError(Exception):
    """A product that is not finite, on its way through SciPy."""


class _Objective:
    """Loss, gradient and products at the points that SciPy asks for."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._hessian: FixedHessian | None = None
        self._at: np.ndarray | None = None
        self._first: float | None = None
        self._best: OptimizeResult | None = None
        self._n_iterations = 0
        self._n_gradients = 0
        self._n_products = 0

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self._move(x)
        self._n_gradients += 1
        value, gradient = self._products.loss_and_gradient()
        if self._best is None or value < self._best.fun:
            self._first = value if self._first is None else self._first
            self._best = OptimizeResult(x=np.array(x), fun=value, jac=gradient)
        return value, gradient

    def iterated(
        self, callback: Callable[[OptimizeResult], None] | None
    ) -> Callable[[OptimizeResult], None]:
        """Return a callback that counts, and calls another if there is one."""

        # SciPy passes the result to a callback whose argument has this very name.
        def call(intermediate_result: OptimizeResult) -> None:
            self._n_iterations += 1
            if callback is not None:
                callback(intermediate_result)

        return call

    def reached(self, error: "_NoProductError") -> OptimizeResult:
        """Return the point of least loss where a product is not finite; the start is none."""
        if self._best is None or not self._best.fun < self._first:
            raise error.__cause__
        return OptimizeResult(
            self._best,
            success=False,
            status=3,
            nit=self._n_iterations,
            nfev=self._n_gradients,
            njev=self._n_gradients,
            nhev=self._n_products,
            message=f"Stopped at the least loss, as a product is missing: {error}.",
        )

    def product(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        if not np.isfinite(v).all():
            # At a minimum trust-krylov divides zero by zero, and ends by the NaN that it gets back.
            return np.full_like(v, np.nan, dtype=np.float64)
        self._move(x)
        self._n_products += 1
        try:
            if self._hessian is None:  # many methods ask for none
                self._hessian = FixedHessian(self._products)
            return self._hessian(np.asarray(v, dtype=np.float64))
        except InputError as error:
            # NaN instead would leave trust-ncg in its loop for ever.
            raise _NoProductError(str(error)) from error

    def _move(self, x: np.ndarray) -> None:
        # SciPy changes its vector in place.
        if self._at is None or not np.array_equal(self._at, x):
            self._products.parameters.write(x)
            self._at = np.array(x)
            if self._hessian is not None:
                self._hessian.renew()


@contextmanager
def _named_options(method: str) -> Iterator[None]:
    """Refuse options that SciPy only warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Unknown solver options", OptimizeWarning)
        try:
            yield
        except OptimizeWarning as unknown:
            names = str(unknown).partition(": ")[2]
            raise InputError(
                f"options hold {names}, which SciPy's method '{method}' does not know; see "
                f"scipy.optimize.show_options('minimize', '{method}')"
            ) from unknown


def _flat(parameters: Any, x0: "np.ndarray | Sequence[np.ndarray]") -> np.ndarray:
    one_array = isinstance(x0, np.ndarray) or np.isscalar(x0) or not len(x0) or np.isscalar(x0[0])
    return parameters.check(np.asarray(x0), "x0") if one_array else parameters.pack(x0)


def _check_memory(size: int, limit: float) -> None:
    needed = DENSE_COPIES * 8 * size**2
    if needed > limit:
        raise InputError(
            f"BFGS keeps a dense {size} × {size} matrix, {8 * size**2 / 1e9:.3g} GB, "
            f"{needed / 1e9:.3g} GB while it updates it, above memory_limit "
            f"{limit / 1e9:.3g} GB; use L-BFGS-B, whose hess_inv is an operator, or "
            "inverse_hessian_product, which is exact"
        )
