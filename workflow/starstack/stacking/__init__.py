"""Stacked generalisation without leakage: estimators, meta-learners, readable weights."""

from importlib import import_module

_EXPORTS = {
    "BlendClassifier": "blends",
    "BlendRegressor": "blends",
    "StackingClassifier": "estimators",
    "StackingRegressor": "estimators",
    "load_stack": "study_stack",
}


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
