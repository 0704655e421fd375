"""Scores with standard errors, and the reliability of predicted probabilities."""

from importlib import import_module

_EXPORTS = {
    "METRICS": "scores",
    "Metric": "scores",
    "Score": "scores",
    "error_statistics": "errors",
    "error_table": "errors",
    "reliability_table": "reliability",
    "score": "scores",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
