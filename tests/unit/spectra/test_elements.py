"""Abundances and partition functions against their published tables."""

import numpy as np
import pytest

from starstack.spectra.elements import ELEMENTS, number_ratios, partition_function


@pytest.mark.parametrize(
    ("symbol", "ion", "at_4000", "at_6000"),
    [
        # Barklem & Collet 2016, A&A 588, A96, at temperatures that are not interpolated from
        ("Fe", False, 24.613, 31.7409),
        ("Fe", True, 39.1534, 47.5631),
        ("Ti", False, 24.4001, 36.1533),
        ("Si", False, 9.05525, 9.81774),
        ("Ca", True, 2.07348, 2.3895),
        ("CO", False, 2759.95, 5644.45),
        ("OH", False, 891.168, 1780.78),
        ("CN", False, 6080.84, 13673.5),
    ],
)
def test_partition_functions_between_the_tabulated_temperatures(symbol, ion, at_4000, at_6000):
    values = partition_function(symbol, np.array([4000.0, 6000.0]), ion=ion)
    np.testing.assert_allclose(values, [at_4000, at_6000], rtol=0.012)


def test_abundances_scale_with_iron_and_alpha():
    zero = np.zeros(1)
    solar, poor = number_ratios(zero, zero, zero), number_ratios(zero - 1.0, zero + 0.3, zero)
    for symbol, element in ELEMENTS.items():
        expected = {True: 0.3 - 1.0, False: -1.0}[element.alpha] if symbol != "H" else 0.0
        assert np.log10(poor[symbol] / solar[symbol]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("c_n", [-1.0, -0.3, 0.4])
def test_carbon_and_nitrogen_keep_their_sum(c_n):
    solar, mixed = (number_ratios(0.0, 0.0, value) for value in (0.0, c_n))
    assert mixed["C"] + mixed["N"] == pytest.approx(solar["C"] + solar["N"], rel=1e-12)
    change = np.log10(mixed["C"] / mixed["N"]) - np.log10(solar["C"] / solar["N"])
    assert change == pytest.approx(c_n, abs=1e-12)
