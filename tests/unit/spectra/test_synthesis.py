"""Line formation: profiles against scipy's, broadening against what it must keep."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import voigt_profile

from starstack.spectra import synthesis
from starstack.spectra.apogee import LOG_START, LOG_STEP
from starstack.spectra.conditions import GROUPS, HYDROGEN, SPECIES, conditions
from starstack.spectra.lines import LineList
from starstack.spectra.synthesis import (
    N_FINE,
    STEP,
    LineGrid,
    Opacity,
    broaden,
    fine_position,
    line_depths,
)

GIANT = np.array([[4750.0, 2.4, 0.0]])
DWARF = np.array([[3600.0, 4.9, 0.3]])


def gas_of(labels):
    return conditions(labels, np.zeros(len(labels)), np.zeros(len(labels)))


def one_line(species="Fe", position=20_000.4, log_gf=-2.0):
    """Return a list of one line at a place on the fine grid."""
    pixel = position / synthesis.OVERSAMPLING + synthesis.FIRST_PIXEL
    wavelength = 10.0 ** (LOG_START + LOG_STEP * pixel)
    return LineList(
        np.array([species]), np.array([wavelength]), np.array([5.0]), np.array([log_gf])
    )


@pytest.mark.parametrize("labels", [GIANT, DWARF])
@pytest.mark.parametrize("species", ["OH", "CO", "Mg", "Fe"])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.9])
def test_one_line_has_a_voigt_profile(labels, species, shift):
    gas = gas_of(labels)
    group = next(number for number, names in enumerate(GROUPS) if species in names)
    lines = LineGrid(one_line(species, 20_000.0 + shift), hydrogen=False)
    eta = Opacity(gas, 0, lines).eta
    velocity = (np.arange(N_FINE) - 20_000.0 - shift) * STEP
    profile = voigt_profile(velocity, np.sqrt(gas.variance[group, 0]), gas.damping[group, 0])
    near = np.abs(velocity) < 3000.0
    strength = eta.sum() * STEP
    # The grid's end lets the wings run round, and cuts the highest frequencies of narrow lines.
    tolerance = 2e-3 * profile.max() * strength
    np.testing.assert_allclose(eta[near], strength * profile[near], atol=tolerance)


@pytest.mark.parametrize("labels", [GIANT, DWARF])
def test_strength_of_a_line_is_that_of_the_textbook(labels):
    # ∫η dv = (π e² / m_e c) λ gf (n/U) exp(−E/kT) (1 − exp(−hν/kT)) / κ, in SI by other constants
    gas = gas_of(labels)
    lines = one_line()
    eta = Opacity(gas, 0, LineGrid(lines, hydrogen=False)).eta
    metre = lines.wavelength[0] * 1e-10
    population = np.exp(gas.log_population[SPECIES.index("Fe"), 0])
    boltzmann = np.exp(-5.0 * gas.inverse_temperature[0])
    continuum = np.interp(
        lines.wavelength[0] * 1e-4, np.linspace(1.5, 1.71, 22), gas.log_continuum[:, 0]
    )
    # 2.654e-6 m² Hz is e² / (4 ε₀ m_e c); opacities per hydrogen atom are in cm².
    expected = 2.654008e-6 * metre * 10.0**-2.0 * population * boltzmann * np.exp(continuum) * 1e4
    assert eta.sum() * STEP * 1e3 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("number", [1, 4, 9])
def test_lines_of_hydrogen_keep_their_strength_and_place(number):
    gas = gas_of(np.array([[6500.0, 4.2, 0.0]]))
    nothing = one_line(log_gf=-30.0)
    other = np.arange(len(HYDROGEN.upper)) != number
    alone = replace(gas, log_hydrogen=np.where(other[:, None], -200.0, gas.log_hydrogen))
    eta = Opacity(alone, 0, LineGrid(nothing)).eta
    assert eta.sum() * STEP == pytest.approx(np.exp(gas.log_hydrogen[number, 0]), rel=1e-9)
    place = fine_position(HYDROGEN.wavelength[number])
    assert eta.argmax() == round(float(place))
    # Holtsmark's wings fall as the 5/2 power.
    ratio = eta[round(float(place)) - 6000] / eta[round(float(place)) - 3000]
    assert ratio == pytest.approx(2.0**-2.5, rel=0.25)


def test_a_line_can_not_be_deeper_than_the_contrast():
    gas = gas_of(GIANT)
    depth = next(line_depths(gas, LineGrid(one_line(log_gf=3.0), hydrogen=False)))
    assert depth.max() == pytest.approx(gas.contrast[0], rel=1e-3)
    weak = next(line_depths(gas, LineGrid(one_line(log_gf=-6.0), hydrogen=False)))
    assert weak.max() < 1e-3


def test_continuum_is_one_where_no_line_is():
    gas = gas_of(GIANT)
    depth = next(line_depths(gas, LineGrid(one_line(log_gf=-1.0), hydrogen=False)))
    far = np.abs(np.arange(N_FINE) - 20_000) * STEP > 2000.0
    assert np.abs(depth[far]).max() < 1e-4


def bump(position: float = 20_000.0, width: float = 4.0) -> np.ndarray:
    """Return a narrow line on the fine grid, of area one in km/s."""
    velocity = (np.arange(N_FINE) - position) * STEP
    return voigt_profile(velocity, width, 0.0)


def pixel_of(position: float) -> float:
    """Return which DR12 pixel a place on the fine grid falls on; both within the blue chip."""
    return position / synthesis.OVERSAMPLING + synthesis.FIRST_PIXEL - 322


@pytest.mark.parametrize("v_macro", [0.0, 5.0, 20.0])
def test_broadening_keeps_the_equivalent_width(v_macro):
    position = 6 * 2000.0
    pixels = broaden(bump(position), v_macro=v_macro, radial_velocity=0.0)
    assert pixels[:2920].sum() * STEP * synthesis.OVERSAMPLING == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("v_macro", [0.0, 12.0])
def test_broadened_line_has_the_width_of_instrument_and_star(v_macro):
    position = 6 * 2000.0
    pixels = broaden(bump(position), v_macro=v_macro, radial_velocity=0.0)[:2920]
    velocity = (np.arange(2920) - pixel_of(position)) * STEP * synthesis.OVERSAMPLING
    instrument = 299_792.458 / 22_500.0 / 2.354820045
    variance = 4.0**2 + instrument**2 + (v_macro / 2.354820045) ** 2
    np.testing.assert_allclose(pixels, voigt_profile(velocity, np.sqrt(variance), 0.0), atol=1e-5)


@pytest.mark.parametrize("n_pixels", [-3, 1, 5])
def test_velocity_of_whole_pixels_moves_the_spectrum_by_whole_pixels(n_pixels):
    position = 6 * 2000.0
    per_pixel = STEP * synthesis.OVERSAMPLING
    assert per_pixel == pytest.approx(4.1418, abs=1e-3)
    still = broaden(bump(position), v_macro=3.0, radial_velocity=0.0)[:2920]
    moved = broaden(bump(position), v_macro=3.0, radial_velocity=n_pixels * per_pixel)[:2920]
    np.testing.assert_allclose(np.roll(still, n_pixels), moved, atol=1e-12)


def test_finer_grid_gives_the_same_spectrum(monkeypatch):
    lines = synthesis.atomic_lines() + synthesis.molecular_lines()
    gas = gas_of(np.concatenate([GIANT, DWARF]))
    pixels = [
        broaden(depth, v_macro=4.0, radial_velocity=0.3)
        for depth in line_depths(gas, LineGrid(lines))
    ]
    for name, value in {
        "OVERSAMPLING": 12,
        "N_FINE": 2 * N_FINE,
        "STEP": STEP / 2,
        "FREQUENCY": np.arange(N_FINE + 1) / (N_FINE * STEP),
        "ANGULAR": 2.0 * np.pi * np.arange(N_FINE + 1) / (N_FINE * STEP),
    }.items():
        monkeypatch.setattr(synthesis, name, value)
    finer = [
        broaden(depth, v_macro=4.0, radial_velocity=0.3)
        for depth in line_depths(gas, LineGrid(lines))
    ]
    np.testing.assert_allclose(pixels, finer, atol=2e-4)


def test_lines_of_hydrogen_stand_where_they_belong_and_nowhere_else():
    # Br 10, beyond the red end of the grid, once came round its ring into the blue detector.
    none = one_line(position=0.0)
    hot = np.array([[6500.0, 4.3, -2.0]])
    depth = next(line_depths(gas_of(hot), LineGrid(none)))
    wavelength = 10.0 ** (
        LOG_START + LOG_STEP * (synthesis.FIRST_PIXEL + np.arange(N_FINE) / synthesis.OVERSAMPLING)
    )
    inner = slice(1, -1)
    peak = (depth[inner] > depth[:-2]) & (depth[inner] > depth[2:]) & (depth[inner] > 0.02)
    nearest = np.abs(wavelength[inner][peak][:, None] - HYDROGEN.wavelength).min(axis=1)
    assert peak.sum() >= 9  # Br 11 to 19
    assert nearest.max() < 1.0
