"""What the data say of a posterior: gradient, extreme eigenvalues and proofs, for its record."""

import logging
import time
from typing import TYPE_CHECKING

from starstack.autodiff.batches import as_batches
from starstack.autodiff.losses import RowLoss
from starstack.autodiff.operators import GaussNewtonOperator, HessianOperator
from starstack.autodiff.products import Products
from starstack.curvature.likelihood_losses import likelihood_loss, term_scales
from starstack.curvature.options import check_options, count
from starstack.curvature.record import CurvatureRecord, describe_curvature
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.curvature.posterior import Posterior

logger = logging.getLogger(__name__)

OPERATORS = {"gauss_newton": GaussNewtonOperator, "hessian": HessianOperator}
# XLA takes 0.2 s longer to compile a product than TensorFlow, longer than thirty products of a
# network with fewer weights take.
COMPILED_SIZE = 10_000
# Lanczos steps for the extreme eigenvalues.
N_STEPS = 30


def diagnose(
    posterior: "Posterior",
    products: "Products | Batches",
    *,
    matrix: str = "gauss_newton",
    shift: float = 0.0,
    started: float | None = None,
    n_steps: int = N_STEPS,
    fewer: Products | None = None,
    expected_decrease: bool = True,
    seed: int = 0,
) -> CurvatureRecord:
    """Prove the products on the network itself, and fill the record of a posterior.

    λ_max, λ_min and whether it is indefinite are those of the Hessian of the negative
    log-likelihood, whichever matrix the posterior inverts: the Gauss–Newton matrix is positive
    semidefinite everywhere, also where the weights are no minimum.

    Parameters
    ----------
    posterior : Posterior
        With its σ and δ.
    products : Products or Batches
        The rows it was made from, with their targets; or `likelihood_products` of these, where
        products of some rows are to be kept.
    matrix : str
        What the posterior inverts.
    shift : float
        See `CurvatureRecord`.
    started : float, optional
        See `starstack.curvature.record.describe_curvature`; the time of this call by default.
    n_steps : int
        Hessian products for the extreme eigenvalues; 0 leaves them out.
    fewer : Products, optional
        Of fewer rows, for the Hessian products of the eigenvalues, which cost the most.
    expected_decrease : bool
        Whether to apply the inverse to the gradient.
    seed : int
        Of the first vector of Lanczos.

    Returns
    -------
    CurvatureRecord
        To be set as ``posterior.record``; it has the time of this call, or that since `started`.

    Raises
    ------
    InputError
        Naming the proof that failed, or an option that cannot be.
    """
    started = time.perf_counter() if started is None else started
    if matrix not in OPERATORS:
        raise InputError(
            f"diagnose: matrix is {matrix!r}; expected one of {', '.join(OPERATORS)}, the one that "
            "the posterior inverts"
        )
    n_steps = count(n_steps, "diagnose: n_steps")
    options = {"shift": shift, "seed": seed}
    shift, seed = check_options(diagnose, options, "diagnose").values()
    if not isinstance(products, Products):
        products = likelihood_products(posterior, as_batches(products))
    proved = OPERATORS[matrix](products)
    operator = None
    if n_steps:
        own = fewer is None and matrix == "hessian"
        operator = proved if own else HessianOperator(products if fewer is None else fewer)
    # Weights that the posterior does not cover are fixed: no part of the gradient is theirs.
    covered = posterior.is_covered()
    prior_gradient = covered * posterior.prior_vector() * posterior.parameters.read()
    return describe_curvature(
        matrix=matrix,
        structure=posterior.structure,
        n_rows=posterior.likelihood.n_rows,
        prior_precision=posterior.prior_precision,
        noise=posterior.noise,
        shift=shift,
        operator=operator,
        eigenvalue_rows=None if fewer is None else fewer.batches.n_rows,
        precision=posterior.parameters.dtype,
        gradient=covered * products.gradient() + prior_gradient,
        prior_gradient=prior_gradient,
        inverse_product=posterior.inverse_hessian_product if expected_decrease else None,
        proofs=proved.proofs,
        started=started,
        n_steps=n_steps,
        seed=seed,
    )


def likelihood_products(posterior: "Posterior", data: "Batches") -> Products:
    """Return the products with derivatives of the negative log-likelihood at the posterior's σ."""
    posterior.check_layers()
    scales = term_scales(posterior.likelihood, posterior.noise)
    return products_of(posterior.model, likelihood_loss(posterior.likelihood, scales), data)


def products_of(model: "keras.Model", loss: RowLoss, data: "Batches") -> Products:
    """Return products with derivatives of a loss, compiled by XLA where that is worth its time."""
    small = model.count_params() < COMPILED_SIZE
    return Products(model, loss, data, jit_compile=False if small else None)
