"""Turn columns as they came into what a data set holds: numbers, names, times, class codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from starstack.errors import InputError

# How a missing name is written; other words ("NA", "None") may be names.
_MISSING_NAMES = ("", "nan", "NaN")

_SPECIAL_NUMBERS = dict.fromkeys(
    ("", "NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan"), float("nan")
) | {"True": 1.0, "true": 1.0, "TRUE": 1.0, "False": 0.0, "false": 0.0, "FALSE": 0.0}


# What to do about a column of text, besides correcting a value.
ENCODE = "or encode the column as numbers"
CLASSES = "or, if these are classes, set task: classification"
LEAVE_OUT = "encode the column as numbers, or list the others under data.features"


@dataclass(frozen=True, eq=False)
class Columns:
    """What a source delivers, before it is made into a data set.

    Attributes
    ----------
    X : ndarray of float64, shape (n, p)
        The features.
    feature_names : sequence of str
        Their names.
    targets : sequence of ndarray, each of shape (n,)
        One array per target, of any type.
    target_names : sequence of str
        Their names.
    class_names : sequence of str
        Names of integer labels ``0, 1, …`` where the source has them.
    row_id, group, time, sample_weight : ndarray or None
        What else is known of each row, of any type.
    provenance : dict of str to str
        Where it came from.
    """

    X: np.ndarray
    feature_names: Sequence[str]
    targets: Sequence[np.ndarray]
    target_names: Sequence[str]
    class_names: Sequence[str] = ()
    row_id: np.ndarray | None = None
    group: np.ndarray | None = None
    time: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    provenance: dict[str, str] = field(default_factory=dict)


def as_names(
    values: np.ndarray, what: str, where: str, row_id: np.ndarray | None = None
) -> np.ndarray:
    """Return ids or groups as text: whole numbers without a decimal point, text as it is.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Text, integers, booleans, or floats that are whole.
    what, where : str
        The column and the data set, for the messages.
    row_id : ndarray of str, shape (n,), optional
        Names of the rows, for the messages; without them rows are counted from 1.

    Raises
    ------
    InputError
        If a value is missing or a fraction.

    Examples
    --------
    >>> as_names(np.array([7.0, 12.0]), "group", "data set 'a'").tolist()
    ['7', '12']
    """
    values = np.asarray(values)
    rows = np.arange(1, len(values) + 1) if row_id is None else row_id
    if values.dtype.kind == "f":
        fractions = np.isfinite(values) & (values != np.round(values))
        if fractions.any():
            raise InputError(
                f"{where}: {what} is {values[fractions][0]:g} in row '{rows[fractions][0]}', a "
                "fraction; expected text or whole numbers"
            )
        whole = np.isfinite(values)
        names = np.array([str(int(v)) if w else "" for v, w in zip(values, whole, strict=True)])
    elif values.dtype.kind in "biuUO":
        names = np.array([str(value) for value in values.tolist()])
    else:
        raise InputError(f"{where}: {what} has type {values.dtype}; expected text or whole numbers")
    missing = np.isin(names, _MISSING_NAMES)
    if missing.any():
        raise InputError(
            f"{where}: {what} is missing in row '{rows[missing][0]}', and in "
            f"{np.count_nonzero(missing)} of {len(names)} rows; fill in or remove them"
        )
    return names.astype(np.str_)


def as_number(value: object) -> float:
    """Return one value as a number: NaN where it is missing, 1 and 0 for True and False.

    Raises
    ------
    ValueError, TypeError
        If it is not a number.

    Examples
    --------
    >>> as_number("1e3"), as_number("NA"), as_number("True")
    (1000.0, nan, 1.0)
    """
    special = _SPECIAL_NUMBERS.get(value) if isinstance(value, str) else None
    return float(value if special is None else special)


def not_a_number(
    value: object, what: str, row: str, where: str, advice: str = ENCODE
) -> InputError:
    """Return the error for a value that `as_number` refuses."""
    return InputError(
        f"{where}: {what} is '{value}' in row '{row}', which is not a number; correct it, {advice}"
    )


def as_numbers(
    values: np.ndarray, what: str, where: str, row_id: np.ndarray, advice: str = ENCODE
) -> np.ndarray:
    """Return a column as float64; what is missing is NaN.

    Raises
    ------
    InputError
        If a value is not a number; the first one and its row are named.

    Examples
    --------
    >>> as_numbers(np.array(["1", "2e1"]), "column 'flux'", "data set 'a'", np.array(["p", "q"]))
    array([ 1., 20.])
    """
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "UO":
        raise InputError(f"{where}: {what} has type {values.dtype}; expected numbers")
    numbers = np.empty(len(values))
    for position, value in enumerate(values.tolist()):
        try:
            numbers[position] = as_number(value)
        except (TypeError, ValueError):
            raise not_a_number(value, what, row_id[position], where, advice) from None
    return numbers


def as_times(values: np.ndarray, where: str, row_id: np.ndarray) -> np.ndarray:
    """Return times as float64: numbers as they are, ISO 8601 dates in seconds since 1970.

    The first value decides which of the two the column holds. A date without a time zone is
    taken as UTC.

    Raises
    ------
    InputError
        If a value is neither; the first one and its row are named.

    Examples
    --------
    >>> as_times(np.array(["1970-01-02", "1970-01-01T00:00:01Z"]), "", np.array(["p", "q"]))
    array([8.64e+04, 1.00e+00])
    """
    values = np.asarray(values)
    given = [value for value in values.tolist() if value not in _MISSING_NAMES]
    if values.dtype.kind not in "UO" or not given or _number(given[0]) is not None:
        return as_numbers(values, "time", where, row_id)
    times = np.full(len(values), np.nan)
    for position, value in enumerate(values.tolist()):
        if value in _MISSING_NAMES:
            continue
        try:
            date = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise InputError(
                f"{where}: time is '{value}' in row '{row_id[position]}'; expected all numbers, or "
                "all ISO dates such as 2024-05-31 or 2024-05-31T12:00:00Z"
            ) from None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        times[position] = date.timestamp()
    return times


def as_codes(
    values: np.ndarray,
    what: str,
    where: str,
    row_id: np.ndarray,
    class_names: Sequence[str] = (),
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return class codes ``0..C-1`` and the names of the classes, in order.

    The order is that of the numbers where all labels are whole numbers, of the text otherwise.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Labels: text, booleans or whole numbers.
    what, where : str
        The column and the data set, for the messages.
    row_id : ndarray of str, shape (n,)
        Names of the rows, for the messages.
    class_names : sequence of str
        Names of the integer labels 0, 1, …, where there are some.

    Returns
    -------
    codes : ndarray of int64, shape (n,)
    classes : tuple of str, length C

    Raises
    ------
    InputError
        If a label is missing, or labels are fractions.

    Examples
    --------
    >>> codes, classes = as_codes(np.array(["10", "9", "10"]), "target", "", np.array(list("pqr")))
    >>> codes.tolist(), classes
    ([1, 0, 1], ('9', '10'))
    """
    values = np.asarray(values)
    fraction = _first_fraction(values)
    if fraction is not None:
        raise InputError(
            f"{where}: {what} is {values[fraction]} in row '{row_id[fraction]}', a fraction, which "
            "is no class label; set task: regression, or name the classes with text"
        )
    labels = as_names(values, what, where, row_id)
    names, codes = np.unique(labels, return_inverse=True)
    numbers = [_number(name) for name in names.tolist()]
    if None not in numbers:
        order = np.argsort(numbers, kind="stable")
        names, codes = names[order], np.argsort(order)[codes]
    classes = tuple(names.tolist())
    if class_names:
        classes = tuple(str(class_names[int(name)]) for name in classes)
    return codes.astype(np.int64), classes


def _number(value: object) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _first_fraction(values: np.ndarray) -> int | None:
    """Return the position of the first label that is a number but not whole, if all are numbers."""
    if values.dtype.kind not in "fUO":
        return None
    numbers = [_number(value) for value in values.tolist()]
    if any(number is None for number in numbers):
        return None
    array = np.array(numbers)
    fractions = np.isfinite(array) & (array != np.round(array))
    return int(np.argmax(fractions)) if fractions.any() else None
