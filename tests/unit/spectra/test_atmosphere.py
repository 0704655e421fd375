"""The gas: every equation it is said to solve is put together again from its result."""

from itertools import product

import numpy as np
import pytest

from starstack.spectra.atmosphere import (
    MASS_PER_HYDROGEN,
    dissociation_constant,
    grey_temperature,
    saha,
    solve_layer,
)
from starstack.spectra.constants import ATOMIC_MASS
from starstack.spectra.continuum import h_minus_opacity, hydrogen_opacity
from starstack.spectra.elements import ELEMENTS, number_ratios
from starstack.spectra.stars import BOX

# Corners, edges and middle of the box of labels, with nuisances to both sides.
LABELS = np.array(
    [
        (*labels, alpha_fe, c_n)
        for labels in product(*(np.linspace(*limits, 4) for limits in BOX.values()))
        for alpha_fe, c_n in ((0.0, 0.0), (0.5, -1.0))
    ]
).T


def test_saha_at_a_known_point():
    # Gray 2005, eq. 1.20: log Φ = log(2 U₁/U₀) + 2.5 log T − 5039.78 χ/T − 0.4772
    temperature = np.array([4000.0, 5040.0, 6500.0])
    by_hand = 2.5 * np.log10(temperature) - 5039.78 * 13.598 / temperature - 0.4772
    np.testing.assert_allclose(np.log10(saha("H", temperature)), by_hand, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "by_temperature"),
    [
        # Barklem & Collet 2016: log10 of the constant in Pa, at temperatures that are
        # not interpolated from
        ("H2", {4000.0: 5.39364, 6000.0: 7.4015}),
        ("N2", {4000.0: -0.496084, 6000.0: 3.75526}),
        ("OH", {4000.0: 5.11333, 6000.0: 7.11662}),
        ("CN", {4000.0: 1.66179, 6000.0: 5.02603}),
        ("CO", {4000.0: -1.87535, 6000.0: 2.94802}),
    ],
)
def test_dissociation_constants(name, by_temperature):
    temperature = np.array(list(by_temperature))
    in_pascal = np.log10(dissociation_constant(name, temperature)) - 1.0
    np.testing.assert_allclose(in_pascal, list(by_temperature.values()), atol=0.005)


@pytest.fixture(scope="module")
def layer():
    return solve_layer(*LABELS, depth=0.5)


def test_everything_is_finite_and_positive_all_over_the_box(layer):
    for values in (layer.gas_pressure, layer.electron_pressure, *layer.pressures.values()):
        assert np.isfinite(values).all()
        assert (values > 0.0).all()


def test_charges_balance(layer):
    abundances = number_ratios(LABELS[2], LABELS[3], LABELS[4])
    charges = layer.hydrogen_pressure * saha("H", layer.temperature) / layer.electron_pressure
    for symbol in ELEMENTS:
        if symbol != "H":
            balance = saha(symbol, layer.temperature)
            share = balance / (balance + layer.electron_pressure)
            charges = charges + layer.nuclei_pressure * abundances[symbol] * share
    np.testing.assert_allclose(charges, layer.electron_pressure, rtol=1e-11)


def test_the_column_above_weighs_what_it_presses(layer):
    opacity = h_minus_opacity(1.6, layer.temperature) * layer.electron_pressure
    opacity = opacity + hydrogen_opacity(1.6, layer.temperature)
    pressed = 10.0 ** LABELS[1] * 0.5 * MASS_PER_HYDROGEN * ATOMIC_MASS
    np.testing.assert_allclose(layer.hydrogen_pressure * opacity, pressed, rtol=1e-11)


def test_nuclei_are_shared_out_between_atoms_ions_and_molecules(layer):
    abundances = number_ratios(LABELS[2], LABELS[3], LABELS[4])
    gas, temperature = layer.pressures, layer.temperature
    ions = {
        symbol: gas[symbol] * saha(symbol, temperature) / layer.electron_pressure
        for symbol in "HCNO"
    }
    nitrogen = gas["N"] ** 2 / dissociation_constant("N2", temperature)
    hydrogen = gas["H"] ** 2 / dissociation_constant("H2", temperature)
    for symbol, bound in (
        ("H", 2.0 * hydrogen),
        ("C", gas["CO"]),
        ("N", 2.0 * nitrogen),
        ("O", gas["CO"] + gas["OH"]),
    ):
        total = gas[symbol] + ions[symbol] + bound
        np.testing.assert_allclose(total, layer.nuclei_pressure * abundances[symbol], rtol=1e-10)
    # CN and the hydrogen in OH, which the balance leaves out, are traces.
    assert (gas["CN"] < 0.05 * layer.nuclei_pressure * abundances["C"]).all()


@pytest.mark.parametrize(
    ("labels", "gas", "electrons"),
    [
        # The Sun, as in semi-empirical models such as HSRA (Gingerich et al. 1971, Sol. Phys. 18,
        # 347) near 5600 K
        ((5772.0, 4.438, 0.0, 0.0, 0.0), (4.9, 5.2), (0.9, 1.3)),
        # A giant: thinner by about the square root of gravity
        ((4750.0, 2.4, 0.0, 0.0, 0.0), (3.8, 4.4), (-0.5, 0.2)),
    ],
)
def test_pressures_are_sane(labels, gas, electrons):
    layer = solve_layer(*(np.array([value]) for value in labels), depth=0.5)
    assert gas[0] < np.log10(layer.gas_pressure[0]) < gas[1]
    assert electrons[0] < np.log10(layer.electron_pressure[0]) < electrons[1]


def test_carbon_monoxide_vanishes_where_it_is_hot():
    teff = np.array([4000.0, 5000.0, 6000.0])
    layer = solve_layer(teff, *(np.full(3, value) for value in (2.5, 0.0, 0.0, 0.0)), depth=0.5)
    bound = layer.pressures["CO"] / layer.nuclei_pressure / 10.0 ** (8.43 - 12.0)
    assert bound[0] > 0.8
    assert bound[2] < 0.02
    assert (np.diff(bound) < 0.0).all()


def test_a_star_does_not_depend_on_its_neighbours(layer):
    alone = solve_layer(*LABELS[:, 7:8], depth=0.5)
    assert alone.electron_pressure[0] == pytest.approx(layer.electron_pressure[7], rel=1e-13)


def test_grey_atmosphere():
    # Eddington: T⁴ = ½ Teff⁴ at the surface, Teff⁴ at τ = ⅔
    assert grey_temperature(0.0) ** 4 == pytest.approx(0.5)
    assert grey_temperature(2.0 / 3.0) == pytest.approx(1.0)


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("star", [5, 30, 77, 100])
def test_complex_steps_are_derivatives(label, star):
    def pressure(step):
        labels = LABELS[:, [star]].astype(complex)
        labels[label] += step
        return np.log(solve_layer(*labels, depth=0.5).electron_pressure[0])

    h = 1e-5 * abs(LABELS[label, star]) + 1e-6
    numeric = (pressure(h) - pressure(-h)).real / (2.0 * h)
    assert pressure(1e-30j).imag / 1e-30 == pytest.approx(numeric, rel=1e-6, abs=1e-9)
