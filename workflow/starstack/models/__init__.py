"""Models: from an entry of the config to an estimator, and from a fitted estimator to a file."""

_EXPORTS = {"build_estimator": "specs", "dump_models": "persistence", "load_models": "persistence"}


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
