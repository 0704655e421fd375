"""Messages about a name that is not there: what was meant, and what there is."""

from collections.abc import Iterable
from difflib import get_close_matches

from starstack.errors import InputError

_MOST_SHOWN = 20


def not_among(where: str, what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a `name` that is not among the `known` ones, the nearest suggested.

    Examples
    --------
    >>> print(not_among("data set 'a'", "column", "tef", ["teff", "logg"]))
    data set 'a': there is no column 'tef'; did you mean 'teff'? Expected one of teff, logg
    """
    known = [str(item) for item in known]
    near = get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'? Expected" if near else "expected"
    shown = ", ".join(known[:_MOST_SHOWN])
    rest = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
    return InputError(f"{where}: there is no {what} '{name}'; {hint} one of {shown}{rest}")
