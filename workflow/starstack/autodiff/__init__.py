"""Derivatives of Keras networks: products with Hessians and Jacobians, and SciPy's minimisers."""

from importlib import import_module

_EXPORTS = {
    "Batches": "batches",
    "FixedHessian": "fixed_hessian",
    "FlatParameters": "flat",
    "GaussNewtonOperator": "operators",
    "HessianOperator": "operators",
    "JacobianOperator": "operators",
    "Products": "products",
    "factors_by_layer": "layer_factors",
    "gauss_newton_vector_product": "products",
    "hessian_vector_product": "products",
    "input_jacobian": "jacobian",
    "inverse_hessian_error": "scipy_bridge",
    "inverse_hessian_product": "scipy_bridge",
    "minimize": "scipy_bridge",
    "output_hessian": "losses",
    "propagated_covariance": "propagation",
    "prove": "proofs",
    "prove_jacobian": "proofs",
    "stream_input_jacobian": "jacobian_stream",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
