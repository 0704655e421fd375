"""Lines of atoms and hydrogen against published numbers and against quantum mechanics."""

import numpy as np
import pytest
from scipy.special import eval_genlaguerre

from starstack.spectra.apogee import wavelength
from starstack.spectra.conditions import SPECIES
from starstack.spectra.lines import atomic_lines, brackett_lines, to_vacuum


@pytest.mark.parametrize(
    ("air", "vacuum"),
    [
        # NIST Atomic Spectra Database: H α, He I, and Ar I in the H band
        (6562.79, 6564.60),
        (10830.34, 10833.31),
        (16940.58, 16945.21),
    ],
)
def test_air_to_vacuum_at_known_lines(air, vacuum):
    assert to_vacuum(air) == pytest.approx(vacuum, abs=0.011)


def test_air_to_vacuum_agrees_with_another_dispersion_formula():
    # Edlén 1966, Metrologia 2, 71
    air = np.linspace(15100.0, 17000.0, 50)
    squared = (1e4 / air) ** 2
    index = 1 + 1e-8 * (8342.13 + 2406030 / (130 - squared) + 15997 / (38.9 - squared))
    np.testing.assert_allclose(to_vacuum(air), air * index, atol=2e-3)


def test_brackett_lines_lie_where_they_are_observed():
    lines = brackett_lines()
    # In vacuum, Å, as in the package of Bovy 2016, ApJ 817, 49
    published = {
        11: 16811.1,
        12: 16411.7,
        13: 16113.7,
        14: 15884.9,
        15: 15705.0,
        16: 15560.7,
        17: 15443.1,
        18: 15346.0,
        19: 15264.7,
        20: 15196.0,
    }
    for upper, expected in published.items():
        assert lines.wavelength[lines.upper == upper] == pytest.approx(expected, abs=0.11)
    assert lines.excitation == pytest.approx(12.7485, abs=2e-4)  # NIST


def radial(n: int, angular: int, r: np.ndarray) -> np.ndarray:
    """Return the hydrogen atom's r R_nl(r), normalised on the grid, r in Bohr radii."""
    x = 2.0 * r / n
    wave = np.exp((angular + 1) * np.log(x) - x / 2.0)
    wave *= eval_genlaguerre(n - angular - 1, 2 * angular + 1, x)
    return wave / np.sqrt(np.trapezoid(wave**2, r))


def oscillator_strength(lower: int, upper: int) -> float:
    """Average over the lower level's states, by quadrature of radial wave functions."""
    r = np.linspace(1e-6, 4.5 * upper**2 + 30.0, 200_001)
    energy = 1.0 / lower**2 - 1.0 / upper**2
    total = 0.0
    for start in range(lower):
        for end in (start - 1, start + 1):
            if 0 <= end < upper:
                waves = radial(lower, start, r) * radial(upper, end, r)
                total += energy / 3.0 * max(start, end) * np.trapezoid(waves * r, r) ** 2
    return total / lower**2


@pytest.mark.parametrize("upper", [10, 11, 16])
def test_oscillator_strengths_of_hydrogen(upper):
    lines = brackett_lines()
    exact = oscillator_strength(4, upper)
    ours = 10.0 ** lines.log_gf[lines.upper == upper] / 32.0
    assert ours == pytest.approx(exact, rel=0.02)


def test_quadrature_gives_the_strength_of_lyman_alpha():
    assert oscillator_strength(1, 2) == pytest.approx(2**13 / 3**9, rel=1e-6)


def test_table_of_atomic_lines():
    lines, grid = atomic_lines(), wavelength()
    assert len(lines) == 200
    assert set(lines.species) <= set(SPECIES)
    keys = zip(lines.species, lines.wavelength, lines.excitation, strict=True)
    assert len(set(keys)) == len(lines)
    assert ((lines.wavelength > grid[0] - 15) & (lines.wavelength < grid[-1] + 25)).all()
    assert ((lines.excitation > 0) & (lines.excitation < 10)).all()
    # Two of Smith et al. (2013), one of Kurucz
    for species, air, excitation, log_gf in (
        ("Fe", 16153.247, 5.351, -0.743),
        ("Mg", 15740.716, 5.931, -0.262),
        ("K", 15163.067, 2.668, 0.640),
    ):
        row = np.flatnonzero(np.abs(lines.wavelength - to_vacuum(air)) < 1e-6)
        assert lines.species[row].tolist() == [species]
        assert (lines.excitation[row], lines.log_gf[row]) == (excitation, log_gf)


def test_lines_can_be_chosen_and_joined():
    lines = atomic_lines()
    iron, nickel = lines.only("Fe"), lines.only("Ni")
    assert set(iron.species) == {"Fe"}
    assert len(iron + nickel) == len(iron) + len(nickel) == len(lines.only("Fe", "Ni"))
