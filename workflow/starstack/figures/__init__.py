"""Figures of the report: they read result tables, draw, and fit nothing."""

from importlib import import_module

_EXPORTS = {
    "plot_diversity": "diversity",
    "plot_leakage": "leakage",
    "plot_reliability": "reliability",
    "plot_residuals": "residuals",
    "plot_runtime": "runtime",
    "plot_scores": "scores",
    "plot_weights": "weights",
    "save_figure": "style",
    "use_style": "style",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
