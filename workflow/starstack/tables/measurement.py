"""A number with its standard error, written with the digits that the error leaves standing."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    r"""A value and its standard error.

    ``str`` gives two significant digits of the error, and the value to the same place; numbers
    far from one get a common power of ten. Without a usable error (NaN or zero) `digits`
    significant digits of the value are given, and the error is left out or is zero.

    Examples
    --------
    >>> print(Measurement(0.95321, 0.01234), Measurement(54.26, 3.1), Measurement(1.0, 0.0))
    0.953 ± 0.012 54.3 ± 3.1 1.000 ± 0
    >>> print(Measurement(1.5e-7, 2.2e-8), "|", Measurement(0.5, float("nan")))
    (1.50 ± 0.22)e-07 | 0.5000
    >>> Measurement(0.95321, 0.01234).latex()
    '$0.953 \\pm 0.012$'
    """

    value: float
    standard_error: float = float("nan")
    digits: int = 4

    def _parts(self) -> tuple[str, str, int]:
        """Value, error and power of ten, as they are printed."""
        if not math.isfinite(self.value):
            return ("", "", 0)
        known = math.isfinite(self.standard_error) and self.standard_error > 0
        size = max(abs(self.value), self.standard_error if known else 0.0)
        power = math.floor(math.log10(size)) if size > 0 else 0
        power = 0 if -4 <= power < 6 else power
        value = self.value / 10.0**power
        if not known:
            return (
                _rounded(value, max(0, _last_place(value, self.digits))),
                "0" if self.standard_error == 0 else "",
                power,
            )
        error = self.standard_error / 10.0**power
        # Seven digits of the value are enough, however small the error.
        place = min(_last_place(error, 2), _last_place(value or error, 7))
        return _rounded(value, place), _rounded(error, place), power

    def __str__(self) -> str:
        value, error, power = self._parts()
        text = f"{value} ± {error}" if error else value
        if not power:
            return text
        return f"({text})e{power:+03d}" if error else f"{text}e{power:+03d}"

    def latex(self) -> str:
        """Write the measurement in LaTeX's mathematics, empty if there is no value."""
        value, error, power = self._parts()
        if not value:
            return ""
        text = f"{value} \\pm {error}" if error else value
        if power:
            text = f"({text})" if error else text
            text = f"{text} \\times 10^{{{power}}}"
        return f"${text}$"


def _last_place(number: float, digits: int) -> int:
    """Decimal places that show `number` with `digits` significant digits, after rounding."""
    if number == 0:
        return digits - 1
    # The format rounds first, so that 0.0996 to two digits is 0.10 and not 0.100.
    exponent = int(f"{abs(number):.{digits - 1}e}".split("e")[1])
    return digits - 1 - exponent


def _rounded(number: float, place: int) -> str:
    """Write `number` to `place` decimals, which may be negative, without a negative zero."""
    text = f"{round(number, place):.{max(place, 0)}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text
