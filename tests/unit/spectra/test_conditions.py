"""What spectra need of the gas, against closed forms with other constants."""

import numpy as np
import pytest

from starstack.spectra.atmosphere import solve_layer
from starstack.spectra.conditions import GROUPS, HYDROGEN, NODES, SPECIES, conditions
from starstack.spectra.continuum import h_minus_opacity, hydrogen_opacity
from starstack.spectra.elements import ELEMENTS, partition_function

LABELS = np.array([[4750.0, 2.4, 0.0], [6500.0, 4.2, -0.5], [3600.0, 4.9, 0.3]])
ZERO = np.zeros(len(LABELS))


@pytest.fixture(scope="module")
def gas():
    return conditions(LABELS, ZERO, ZERO)


@pytest.fixture(scope="module")
def layers():
    return [solve_layer(*LABELS.T, ZERO, ZERO, depth=depth) for depth in (0.5, 2.0 / 3.0)]


def test_doppler_widths_are_those_of_heat_and_turbulence(gas, layers):
    # v_D² = 2RT/M + ξ² = 2σ² in km² s⁻², with the gas constant in J/(mol K), M in kg/mol
    turbulence = (2.478 - 0.325 * LABELS[:, 1]) ** 2
    for (mass, _), variance in zip(GROUPS.values(), gas.variance, strict=True):
        thermal = 2.0 * 8.314463 * layers[0].temperature / (mass * 1e-3) * 1e-6
        np.testing.assert_allclose(2.0 * variance, thermal + turbulence, rtol=1e-6)
    thermal = 2.0 * 8.314463 * layers[1].temperature / 1.008e-3 * 1e-6
    np.testing.assert_allclose(2.0 * gas.hydrogen_variance, thermal + turbulence, rtol=1e-6)


def test_masses_are_those_of_the_species():
    for names, (mass, _) in GROUPS.items():
        for name in names:
            own = {"CO": 28.01, "OH": 17.01, "CN": 26.02}.get(name) or ELEMENTS[name].mass
            # At ξ > 0.85 km/s, off by less than a fifth in σ for the lightest, carbon.
            assert 0.4 < own / mass < 1.25


def test_contrast_is_that_of_plancks_law(gas):
    # Wien's law with 8992.5 K for hc/λk at 1.6 µm, and Planck's correction
    surface, continuum = (8992.48 / (share * LABELS[:, 0]) for share in (0.5**0.25, 1.0))
    expected = 1.0 - np.expm1(continuum) / np.expm1(surface)
    np.testing.assert_allclose(gas.contrast, expected, rtol=1e-5)


def test_damping_is_natural_and_by_collisions(gas, layers):
    density = layers[0].hydrogen_pressure / (1.380649e-16 * layers[0].temperature)
    width = 1e8 + density * 10**-7.4 * (layers[0].temperature / 1e4) ** 0.3
    # Half width at half maximum: γ/4π in Hz, times the wavelength of 1.6 µm, in km/s
    expected = width / (4.0 * np.pi) * 1.6e-6 * 1e-3
    for (_, collide), damping in zip(GROUPS.values(), gas.damping, strict=True):
        np.testing.assert_allclose(damping, expected if collide else 0.0, rtol=1e-9)


def test_populations_and_continuum(gas, layers):
    iron = gas.log_population[SPECIES.index("Fe")]
    pressure = layers[0].pressures["Fe"] / layers[0].hydrogen_pressure
    function = partition_function("Fe", layers[0].temperature)
    np.testing.assert_allclose(iron, np.log(pressure / function), rtol=1e-12)
    np.testing.assert_allclose(
        1.0 / gas.inverse_temperature, 8.617333e-5 * layers[0].temperature, rtol=1e-6
    )
    node = 10
    absorption = h_minus_opacity(NODES[node], layers[0].temperature)
    absorption = absorption * layers[0].electron_pressure
    absorption = absorption + hydrogen_opacity(NODES[node], layers[0].temperature)
    emission = -np.expm1(-14387.77 / (NODES[node] * layers[0].temperature))
    np.testing.assert_allclose(gas.log_continuum[node], np.log(emission / absorption), rtol=1e-7)


def test_wings_of_hydrogen_are_those_of_griem(gas, layers):
    # Far out a quasi-static profile is 0.748 β^{-5/2} per unit of β = Δλ/(K F₀); the transform
    # exp(−(2πsf)^{3/2}) belongs to 0.2992 s^{3/2} v^{-5/2}.
    electrons = layers[1].electron_pressure / (1.380649e-16 * layers[1].temperature)
    field = 1.2503e-9 * electrons ** (2.0 / 3.0)
    for number in (1, 5):
        per_beta = HYDROGEN.stark[number] * field / HYDROGEN.wavelength[number] * 299_792.458
        s = np.exp(gas.log_stark[number])
        np.testing.assert_allclose(0.29921 * s**1.5, 0.74802 * per_beta**1.5, rtol=3e-4)


def test_strength_of_hydrogen_is_that_of_the_textbook(gas, layers):
    number, temperature = 1, layers[1].temperature
    metre = HYDROGEN.wavelength[number] * 1e-10
    absorption = h_minus_opacity(metre * 1e6, temperature) * layers[1].electron_pressure
    absorption = absorption + hydrogen_opacity(metre * 1e6, temperature)
    lower = 10.0 ** HYDROGEN.log_gf[number] / 2.0 * np.exp(-12.74839 / (8.617333e-5 * temperature))
    emission = -np.expm1(-0.01438777 / (metre * temperature))
    # 2.654e-6 m² Hz is e² / (4 ε₀ m_e c).
    expected = 2.654008e-6 * metre * lower * emission / (absorption * 1e-4) * 1e-3
    np.testing.assert_allclose(np.exp(gas.log_hydrogen[number]), expected, rtol=1e-4)
