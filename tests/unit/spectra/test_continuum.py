"""The continuum against published tables."""

import numpy as np
import pytest

from starstack.spectra.constants import SECOND_RADIATION
from starstack.spectra.continuum import h_minus_opacity, hydrogen_opacity


@pytest.mark.parametrize(
    ("micron", "by_theta"),
    [
        # Bell & Berrington 1987, J. Phys. B 20, 801, table 1, in 1e-26 cm⁴ dyn⁻¹
        (1.8227, {0.8: 1.77, 1.0: 2.17, 1.2: 2.53, 1.4: 2.87}),
        (2.2784, {0.8: 2.74, 1.0: 3.37, 1.2: 3.90, 1.4: 4.50}),
    ],
)
def test_free_free_absorption_of_the_negative_ion(micron, by_theta):
    temperature = 5040.0 / np.array(list(by_theta))
    expected = np.array(list(by_theta.values())) * 1e-26
    np.testing.assert_allclose(h_minus_opacity(micron, temperature), expected, rtol=0.015)


def test_bound_free_absorption_sets_in_at_the_threshold():
    short, at, beyond = h_minus_opacity(np.array([1.5189, 1.6419, 1.70]), 5040.0)
    free_free = 1.52e-26  # Bell & Berrington at 1.5189 µm
    assert short > 1.05 * free_free
    assert beyond > at
    # The minimum of the opacity lies at the threshold.
    nearby = h_minus_opacity(np.linspace(1.50, 1.75, 251), 5040.0)
    assert 1.60 < np.linspace(1.50, 1.75, 251)[nearby.argmin()] < 1.65


def test_photo_detachment_peaks_where_it_is_measured():
    # 4.0e-17 cm² near 0.85 µm: Wishart 1979, MNRAS 187, 59P. Per atom and electron pressure the
    # ion's number is 0.75 T^-2.5 exp(…); free-free absorption is 4 % here.
    micron, temperature = np.linspace(0.6, 1.2, 601), 5040.0
    ions = 0.750 * temperature**-2.5 * np.exp(1e4 * SECOND_RADIATION / (1.6419 * temperature))
    emission = 1.0 - np.exp(-1e4 * SECOND_RADIATION / (micron * temperature))
    cross_section = h_minus_opacity(micron, temperature) / (ions * emission)
    assert 0.80 < micron[cross_section.argmax()] < 0.90
    assert cross_section.max() == pytest.approx(4.1e-17, rel=0.05, abs=0.0)


def test_neutral_hydrogen_against_the_sum_over_levels():
    # Kramers' cross-sections of levels 5 to 60 with their Boltzmann factors, and free-free
    # absorption from Saha's equation, term by term in SI-like constants.
    micron, temperature = 1.6, 7000.0
    beta = 157_887.5 / temperature  # Rydberg over kT
    photon = 1.0 - np.exp(-1e4 * SECOND_RADIATION / (micron * temperature))
    level = np.arange(5, 2001)
    threshold = 0.0911753 * level**2  # µm
    kramers = 7.907e-18 * level * (micron / threshold) ** 3
    bound = (kramers * level**2 * np.exp(-beta * (1.0 - level**-2.0))).sum() * photon
    # The states above the last level and the continuum follow as an integral.
    last = level[-1] + 0.5
    scale = 7.907e-18 * (micron / 0.0911753) ** 3 * np.exp(-beta)
    bound += scale / (2.0 * last**2) * photon
    free = scale / (2.0 * beta) * photon
    assert hydrogen_opacity(micron, temperature) == pytest.approx(bound + free, rel=0.03, abs=0.0)


def test_both_are_analytic_in_the_temperature():
    for opacity in (h_minus_opacity, hydrogen_opacity):
        slope = opacity(1.6, np.array(5000.0 + 1e-30j)).imag / 1e-30
        pair = [opacity(1.6, np.array(5000.0 + step)) for step in (1.0, -1.0)]
        assert slope == pytest.approx((pair[0] - pair[1]) / 2.0, rel=1e-5, abs=0.0)
