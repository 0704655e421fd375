"""Numbers that a caller gives as options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from starstack.errors import InputError


def not_negative(value: Any, what: str) -> float:
    """Return a finite number of at least 0.

    Examples
    --------
    >>> not_negative("2", "shift")
    2.0
    """
    return _number(value, what, "a number of at least 0", lambda n: 0 <= n < np.inf)


def positive(value: Any, what: str) -> float:
    """Return a finite number above 0."""
    return _number(value, what, "a number above 0", lambda n: 0 < n < np.inf)


def limit(value: Any, what: str) -> float:
    """Return a number above 0, infinite for no limit."""
    return _number(value, what, "a number above 0", lambda n: n > 0)


def whole_number(value: Any, what: str, least: int = 1) -> int:
    """Return a whole number of at least 1, or of at least another one.

    Examples
    --------
    >>> whole_number(3.0, "rank")
    3
    """
    wanted = f"a whole number of at least {least}"
    return _number(value, what, wanted, lambda n: n >= least and n == value, int)


def count(value: Any, what: str) -> int:
    """Return a whole number of at least 0."""
    return whole_number(value, what, least=0)


def _number(
    value: Any, what: str, wanted: str, fits: Callable[[Any], bool], kind: type = float
) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not fits(number):
        shown = " ".join(repr(value).split())
        raise InputError(f"{what}: expected {wanted}, got {shown}; correct it")
    return number


# What an option of one of these names must be, in every function that has it.
OPTIONS: dict[str, Callable[[Any, str], Any]] = {
    "max_bytes": limit,
    "max_iterations": whole_number,
    "max_restarts": count,
    "memory_limit": limit,
    "n_basis": whole_number,
    "n_probes": whole_number,
    "n_steps": whole_number,
    "rank": whole_number,
    "seed": count,
    "shift": not_negative,
    "tolerance": positive,
}


def check_options(function: Callable, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return options with those of `OPTIONS` as the numbers that they must be.

    Parameters
    ----------
    function : callable
        What has the options; None is taken where it is the default.
    options : mapping of str to object
        By name.
    where : str
        What an error begins with.

    Raises
    ------
    InputError
        If one is not such a number.

    Examples
    --------
    >>> def fit(rank=20, tolerance=None): ...
    >>> check_options(fit, {"rank": 3.0, "tolerance": None}, "low rank")
    {'rank': 3, 'tolerance': None}
    """
    parameters = inspect.signature(function).parameters

    def is_number(name: str) -> bool:
        by_default = options[name] is None and parameters[name].default is None
        return name in OPTIONS and not by_default

    return {
        name: OPTIONS[name](value, f"{where}: {name}") if is_number(name) else value
        for name, value in options.items()
    }
