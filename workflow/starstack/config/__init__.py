"""The configuration: its defaults, its checks, and the models that it describes."""

_EXPORTS = {"check_models": "check", "validate_config": "validation"}


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
