"""Error bars of predictions: their parts, their calibration, and what they could be at best."""

from importlib import import_module

_EXPORTS = {
    "ErrorBudget": "budget",
    "calibration_table": "calibration",
    "cramer_rao_bound": "cramer_rao",
    "cv_plus_intervals": "conformal",
    "fit_intrinsic": "intrinsic",
    "fit_recalibration": "recalibration",
    "load_budget": "budget",
    "noise_covariance": "noise_covariance",
    "split_conformal_intervals": "conformal",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
