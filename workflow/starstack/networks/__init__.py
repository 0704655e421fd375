"""Networks of Keras: as scikit-learn estimators, and as the model of a study."""

from importlib import import_module

_EXPORTS = {
    "FittedNetwork": "persistence",
    "KerasClassifier": "estimators",
    "KerasRegressor": "estimators",
    "load_network": "persistence",
    "make_network": "heads",
    "save_network": "persistence",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
