"""The data set that every step reads: where it comes from, what it must satisfy, how it is kept."""

_EXPORTS = {"Dataset": "dataset"}


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
