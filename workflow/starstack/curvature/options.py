"""Numbers that a caller gives as options."""

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
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and number >= 0):
        raise InputError(f"{what}: expected a number of at least 0, got {value!r}; correct it")
    return number


def whole_number(value: Any, what: str) -> int:
    """Return a whole number of at least 1.

    Examples
    --------
    >>> whole_number(3.0, "rank")
    3
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1 or number != value:
        raise InputError(
            f"{what}: expected a whole number of at least 1, got {value!r}; correct it"
        )
    return number
