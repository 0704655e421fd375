"""The inverse Hessian of a trained network, in the structures that fit its size."""

from importlib import import_module

_EXPORTS = {
    "CurvatureRecord": "record",
    "Likelihood": "likelihood",
    "Posterior": "posterior",
    "PriorChoice": "hyperparameters",
    "STRUCTURES": "structures",
    "choose_prior_precision": "hyperparameters",
    "describe_curvature": "record",
    "diagnose": "diagnosis",
    "held_out_scores": "hyperparameters",
    "extreme_eigenvalues": "lanczos",
    "lanczos_quadrature": "spectrum",
    "laplace": "structures",
    "largest_eigenpairs": "lanczos",
    "load": "structures",
    "residual_noise": "hyperparameters",
    "solve": "conjugate_gradient",
    "spectral_density": "spectrum",
    "trace_and_diagonal": "spectrum",
}


__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
