"""Numbers with standard errors, as they are printed."""

import pytest

from starstack.tables.measurement import Measurement

nan = float("nan")


@pytest.mark.parametrize(
    "value, error, text",
    [
        (0.95321, 0.01234, "0.953 ± 0.012"),
        (0.95321, 0.0996, "0.95 ± 0.10"),  # rounding carries to the next place
        (0.95321, 0.1, "0.95 ± 0.10"),
        (54.263, 3.14, "54.3 ± 3.1"),
        (5012.3, 124.0, "5010 ± 120"),
        (-0.0004, 0.02, "0.000 ± 0.020"),  # no negative zero
        (-12.3456, 0.5, "-12.35 ± 0.50"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (1.0, 0.0, "1.000 ± 0"),
        (0.5, nan, "0.5000"),
        (123456.0, nan, "123456"),
        (1.5e-7, 2.2e-8, "(1.50 ± 0.22)e-07"),
        (2.5e9, 3e8, "(2.50 ± 0.30)e+09"),
        (3.21e-6, nan, "3.210e-06"),
        (1.0, 1e-17, "1.000000 ± 0.000000"),
        (nan, 0.1, ""),
        (0.0, nan, "0.000"),
    ],
)
def test_text(value, error, text):
    assert str(Measurement(value, error)) == text


@pytest.mark.parametrize(
    "value, error, text",
    [
        (0.95321, 0.01234, r"$0.953 \pm 0.012$"),
        (0.5, nan, "$0.5000$"),
        (1.5e-7, 2.2e-8, r"$(1.50 \pm 0.22) \times 10^{-7}$"),
        (nan, nan, ""),
    ],
)
def test_latex(value, error, text):
    assert Measurement(value, error).latex() == text
