"""Error bars of predictions: their parts, their calibration, and what they could be at best."""

from importlib import import_module

_EXPORTS = {
    "ErrorBudget": "budget",
    "calibration_table": "calibration",
    "cramer_rao_bound": "cramer_rao",
    "cv_plus_intervals": "conformal",
    "fit_intrinsic": "intrinsic",
    "fit_recalibration": "recalibration",
    "fit_temperature": "temperature",
    "load_budget": "budget",
    "load_error_bars": "error_bars",
    "monte_carlo_predictive": "classification",
    "noise_covariance": "noise_propagation",
    "probit_predictive": "classification",
    "split_conformal_intervals": "conformal",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
