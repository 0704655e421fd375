"""Result tables: how they are stored, and the readable tables of a paper made from them."""

from importlib import import_module

_EXPORTS = {
    "Measurement": "measurement",
    "RESULT_TABLES": "results",
    "diversity_matrix": "summaries",
    "numbers": "quoted",
    "read_table": "results",
    "runtime_table": "summaries",
    "score_table": "summaries",
    "weight_share_table": "summaries",
    "weight_table": "summaries",
    "write_csv": "results",
    "write_latex": "latex",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
