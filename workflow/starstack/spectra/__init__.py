"""Stellar spectra in the H band: simulated from physics, or read from surveys."""

from importlib import import_module

_EXPORTS = {
    "Stars": "stars",
    "draw_stars": "stars",
    "label_derivatives": "simulator",
    "synthesise": "simulator",
}


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
