r"""The posterior of a curvature that is never stored: each answer is solved for.

P v = (Σ_n J_nᵀ Λ_n J_n + Δ) v goes over the data; P⁻¹ v is the solution by conjugate gradients
(`starstack.curvature.conjugate_gradient`), with another posterior of the same prior (KFAC) as
preconditioner. Exact up to the tolerance for any network, at the price of tens of passes over the
data per vector, and of one vector per row and output for a predictive covariance: for checks of the
other structures, and for the expected decrease.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from starstack.autodiff.batches import Batches
from starstack.autodiff.layers import trainable_layers
from starstack.curvature.conjugate_gradient import Product, Solution, solve
from starstack.curvature.diagnosis import OPERATORS, diagnose, likelihood_products
from starstack.curvature.kfac import KroneckerPosterior
from starstack.curvature.likelihood import measure_likelihood
from starstack.curvature.low_rank import LowRankPosterior
from starstack.curvature.posterior import Posterior
from starstack.curvature.record import MATRICES
from starstack.curvature.row_jacobian import RowJacobian
from starstack.curvature.spectrum import Estimate, lanczos_quadrature
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.curvature.likelihood import Likelihood

logger = logging.getLogger(__name__)

# Residuals relative to the right-hand side, by the type of the weights.
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
# Weights up to which a log-determinant takes a product with each: an estimate takes 640 products.
EXACT_SIZE = 640
# Preconditioners that are saved with the rows.
SAVED = {kind.structure: kind for kind in (KroneckerPosterior, LowRankPosterior)}
_PREFIX, _COVERED = "preconditioner", "covered"


class MatrixFreePosterior(Posterior):
    """Posterior by conjugate gradients; see the module.

    Parameters
    ----------
    model, likelihood, **options
        As for `Posterior`.
    data : Batches
        The rows, gone over for each product, and therefore to be left as they are.
    matrix : str
        ``"gauss_newton"`` or ``"hessian"``.
    shift : float
        Added to the diagonal beside δ.
    preconditioner : Posterior, optional
        Of the same network; its σ and δ follow those of this one. Weights that it does not cover
        get a scale of their own. One of ``kfac`` or ``low_rank`` is saved with it.
    tolerance : float, optional
        Of the residuals; by default what the type of the weights allows.
    """

    structure = "cg"

    def __init__(
        self,
        model: "keras.Model",
        likelihood: "Likelihood",
        *,
        data: Batches,
        matrix: str = "gauss_newton",
        shift: float = 0.0,
        preconditioner: Posterior | None = None,
        tolerance: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, likelihood, **options)
        self.matrix, self._data = matrix, data
        self.shift = shift
        usual = TOLERANCES[str(self.parameters.dtype)]
        self.tolerance = usual if tolerance is None else tolerance
        self._check_preconditioner(preconditioner)
        self._preconditioner = preconditioner
        self._jacobian = RowJacobian(model, logits=not likelihood.is_gaussian)

    def solve(self, v: np.ndarray) -> Solution:
        """Return P⁻¹ v for v of shape (P,) or (P, m), with iterations and residuals.

        Raises
        ------
        InputError
            If the matrix has a direction of negative curvature; see
            `starstack.curvature.conjugate_gradient.solve`.
        """
        self.check_weights()
        return solve(
            self.operator(),
            v,
            shift=self.prior_vector() + self.shift,
            preconditioner=self._inner_product(),
            tolerance=self.tolerance,
        )

    def operator(self) -> LinearOperator:
        """Return the curvature at this σ, with neither δ nor the shift, as a proved operator."""
        # σ is a constant of the compiled loss.
        if "operator" not in self._derived:
            products = likelihood_products(self, self._data)
            self._derived["operator"] = OPERATORS[self.matrix](products)
        return self._derived["operator"]

    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m)."""
        return self.solve(v).x

    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return J P⁻¹ Jᵀ of each row, (n, k, k): one solution per row and output."""
        parts, solutions = [], []
        for row in range(len(x)):
            _, blocks = self._jacobian(x[row : row + 1])
            flat = self._jacobian.flat(blocks)[0]
            solutions.append(self.solve(flat.T))
            product = flat @ solutions[-1].x
            parts.append((product + product.T) / 2)
        logger.info(
            "cg: %d rows, %d right-hand sides, up to %d iterations, residuals up to %.1e",
            len(x),
            sum(len(solution.n_iterations) for solution in solutions),
            max(max(solution.n_iterations) for solution in solutions),
            max(max(solution.residuals) for solution in solutions),
        )
        return np.stack(parts)

    def estimate_log_determinant(
        self, n_probes: int = 8, n_steps: int = 80, seed: int = 0
    ) -> Estimate:
        """Estimate log det P by stochastic Lanczos quadrature, with its standard error."""
        quadrature = lanczos_quadrature(
            self._shifted(), n_steps=n_steps, n_probes=n_probes, seed=seed
        )
        self._check_definite(min(nodes[0] for nodes in quadrature.nodes))
        return quadrature.trace_of(np.log)

    def log_determinant(self) -> float:
        """Return log det P, an estimate where P has more than `EXACT_SIZE` weights.

        The standard error of an estimate is logged, and set in the record.
        """
        if "log_determinant" not in self._derived:
            if self.parameters.size <= EXACT_SIZE:
                matrix = self._shifted() @ np.eye(self.parameters.size)
                values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
                self._check_definite(values[0])
                found = Estimate(float(np.log(values).sum()), 0.0, 0)
            else:
                found = self.estimate_log_determinant()
                logger.warning(
                    "log-determinant %.6g ± %.2g, an estimate; the log marginal likelihood has "
                    "half this error",
                    found.value,
                    found.standard_error,
                )
            self._derived["log_determinant"] = float(found.value)
            if self.record is not None:
                error = float(found.standard_error)
                self.record = replace(self.record, log_determinant_error=error)
        return self._derived["log_determinant"]

    def _shifted(self) -> LinearOperator:
        operator, added = self.operator(), self.prior_vector() + self.shift
        return LinearOperator(
            operator.shape,
            matvec=lambda v: operator @ v.ravel() + added * v.ravel(),
            dtype=np.float64,
        )

    def _check_definite(self, lowest: float) -> None:
        if lowest <= 0:
            raise InputError(
                f"log-determinant: the matrix is indefinite or singular, it has a Ritz value of "
                f"{lowest:.3g}; take the Gauss–Newton matrix or a larger prior precision"
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows themselves, the matrix, the shift, and the preconditioner's arrays."""
        blocks = [
            (batch.x[: batch.n], batch.y[: batch.n], batch.weight[: batch.n])
            for batch in self._data
        ]
        x, y, weight = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        numbers = {"shift": self.shift, "tolerance": self.tolerance}
        number_arrays = {name: np.array(value) for name, value in numbers.items()}
        number_arrays["is_hessian"] = np.array(self.matrix == "hessian")
        inner = self._inner()
        kept = {} if inner is None or inner.structure not in SAVED else inner.arrays()
        if kept:
            kept[_COVERED] = np.array([list(self.layers).index(name) for name in inner.covered])
        saved = {f"{_PREFIX}/{inner.structure}/{name}": array for name, array in kept.items()}
        return {"x": x, "y": y, "weight": weight, **number_arrays, **saved}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "MatrixFreePosterior":
        """Make the posterior again from `arrays`."""
        return cls(
            model,
            data=Batches(arrays["x"], arrays["y"], arrays["weight"]),
            matrix="hessian" if arrays["is_hessian"] else "gauss_newton",
            shift=float(arrays["shift"]),
            preconditioner=_saved_preconditioner(arrays, model, **options),
            tolerance=float(arrays["tolerance"]),
            **options,
        )

    def _inner(self) -> Posterior | None:
        """Return the preconditioner at this σ and δ."""
        if self._preconditioner is None:
            return None
        if "inner" not in self._derived:
            self._derived["inner"] = self._preconditioner.with_hyperparameters(
                noise=self.noise, prior_precision=self.prior_precision
            )
        return self._derived["inner"]

    def _inner_product(self) -> Product | None:
        """Return the preconditioner's product, positive definite also where it holds weights."""
        inner = self._inner()
        if inner is None:
            return None
        held = ~inner.is_covered()
        if not held.any():
            return inner.inverse_hessian_product
        if "held" not in self._derived:
            # The mean curvature of these weights, by random signs: one product. With 1/δ alone
            # solutions took five times as many.
            signs = held * np.random.default_rng(0).choice([-1.0, 1.0], len(held))
            mean = max(float(signs @ (self.operator() @ signs)) / held.sum(), 0.0)
            diagonal = self.prior_vector() + self.shift + mean
            self._derived["held"] = held / np.where(diagonal > 0, diagonal, 1.0)
        scale = self._derived["held"]
        return lambda v: inner.inverse_hessian_product(v) + scale * v

    def _check_preconditioner(self, preconditioner: Any) -> None:
        if preconditioner is None:
            return
        if not isinstance(preconditioner, Posterior):
            raise InputError(
                f"cg: preconditioner: expected a posterior of this network, got "
                f"{preconditioner!r}; make one first, such as laplace(..., structure='kfac')"
            )
        if preconditioner.weights_digest != self.weights_digest:
            raise InputError(
                "cg: preconditioner: expected a posterior of this network at these weights, got "
                "one of another network or of other weights; make it again"
            )


def _saved_preconditioner(
    arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
) -> Posterior | None:
    for structure, kind in SAVED.items():
        start = f"{_PREFIX}/{structure}/"
        own = {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}
        if own:
            covered = own.pop(_COVERED, None)
            if covered is not None:
                layers = list(trainable_layers(model))
                options = options | {"covered": tuple(layers[index] for index in covered)}
            return kind.from_arrays(own, model, **options | {"record": None})
    return None


def fit_matrix_free(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    noise: Any = None,
    prior_precision: float | Mapping[str, float] = 1.0,
    scaler_digest: str = "",
    matrix: str = "gauss_newton",
    shift: float = 0.0,
    preconditioner: Posterior | None = None,
    tolerance: float | None = None,
) -> MatrixFreePosterior:
    """Make the posterior of a curvature that is known by its products.

    Parameters
    ----------
    model, data, loss, noise, prior_precision, scaler_digest
        As for `starstack.curvature.structures.laplace`.
    matrix, shift, preconditioner, tolerance
        As for `MatrixFreePosterior`.

    Raises
    ------
    InputError
        If a proof of the products fails, or the matrix is indefinite along the gradient.
    """
    started = time.perf_counter()
    if matrix not in MATRICES:
        raise InputError(f"cg: matrix is {matrix!r}; expected one of {', '.join(MATRICES)}")
    posterior = MatrixFreePosterior(
        model,
        measure_likelihood(model, data, loss),
        data=data,
        matrix=matrix,
        shift=shift,
        preconditioner=preconditioner,
        tolerance=tolerance,
        noise=noise,
        prior_precision=prior_precision,
        scaler_digest=scaler_digest,
    )
    products = posterior.operator().products
    posterior.record = diagnose(posterior, products, matrix=matrix, shift=shift, started=started)
    return posterior
