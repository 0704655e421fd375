"""A projection and a logistic regression, trained together; saddles found and escaped."""

from importlib import import_module

_EXPORTS = {"ProjectedLogisticRegression": "projected_logistic"}


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
