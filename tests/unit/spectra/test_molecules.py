"""Lines of molecules against published wavelengths and strengths."""

import numpy as np
import pytest

from starstack.spectra.lines import to_vacuum
from starstack.spectra.molecules import carbon_monoxide_lines, molecular_lines, term_value


@pytest.mark.parametrize(
    ("lower", "upper", "wavenumber"),
    [
        # HITRAN: R(0), P(1) of the fundamental, R(0) of the first overtone, R(0) of 3-0
        ((0, 0), (1, 1), 2147.0811),
        ((0, 1), (1, 0), 2139.4261),
        ((0, 0), (2, 1), 4263.8372),
        ((0, 0), (3, 1), 6354.1791),
    ],
)
def test_wavenumbers_of_carbon_monoxide(lower, upper, wavenumber):
    assert term_value(*upper) - term_value(*lower) == pytest.approx(wavenumber, abs=2e-3)


def heads(carbon: int = 12) -> list[float]:
    """Return the shortest wavelength of each band, in Å."""
    lines = carbon_monoxide_lines(carbon)
    return lines.wavelength.reshape(7, -1).min(axis=1).tolist()


def test_band_heads_of_carbon_monoxide():
    # In vacuum, µm: Origlia, Moorwood & Oliva 1993, A&A 280, 536, for 3-0, 4-1, 5-2 and 6-3
    np.testing.assert_allclose(np.array(heads())[:4] * 1e-4, [1.5582, 1.5780, 1.5982, 1.6189], 1e-4)
    # In air, Å: the line at each head in the list of Smith et al. 2021, AJ 161, 254
    listed = [15577.381, 15775.160, 15977.507, 16184.507, 16396.334, 16613.174, 16835.146]
    np.testing.assert_allclose(heads(), to_vacuum(np.array(listed)), atol=0.015)


def test_heavier_carbon_shifts_bands_as_the_reduced_mass_does():
    reduced = {12: 12.0 * 15.9949 / 27.9949, 13: 13.00335 * 15.9949 / 28.99825}
    ratio = np.sqrt(reduced[12] / reduced[13])
    vibration = [term_value(1, 0, carbon) - term_value(0, 0, carbon) for carbon in (12, 13)]
    rotation = [term_value(0, 1, carbon) - term_value(0, 0, carbon) for carbon in (12, 13)]
    assert vibration[1] / vibration[0] == pytest.approx(ratio, abs=3e-4)
    assert rotation[1] / rotation[0] == pytest.approx(ratio**2, abs=3e-4)
    assert all(rare > common for rare, common in zip(heads(13), heads(12), strict=True))


@pytest.mark.parametrize(
    ("air", "excitation", "log_gf"),
    [
        # Smith et al. 2021, AJ 161, 254
        (16184.902, 1.078, -6.183),
        (15577.448, 0.299, -7.533),
    ],
)
def test_strengths_of_carbon_monoxide(air, excitation, log_gf):
    lines = carbon_monoxide_lines()
    near = np.abs(lines.wavelength - to_vacuum(air)) < 0.03
    row = np.flatnonzero(near & (np.abs(lines.excitation - excitation) < 2e-3))
    assert len(row) == 1
    assert lines.log_gf[row[0]] == pytest.approx(log_gf, abs=0.02)


def test_strengths_of_a_band_add_up_to_that_of_the_vibration():
    # Without rotation, gf summed over the two lines from level J is (2J+1) times a constant.
    lines = carbon_monoxide_lines()
    branches = (10.0**lines.log_gf).reshape(7, -1)[0]
    r_branch, p_branch = branches[:110], branches[110:]
    per_state = (r_branch[1:20] + p_branch[:19]) / (2 * np.arange(1, 20) + 1)
    np.testing.assert_allclose(per_state, r_branch[0], rtol=0.12)


def test_isotopes_share_the_carbon():
    both = molecular_lines().only("CO")
    alone = carbon_monoxide_lines(12)
    total = [(10.0**lines.log_gf).sum() for lines in (both, alone)]
    assert total[0] == pytest.approx(total[1], rel=0.01)


def test_table_of_molecular_lines():
    lines = molecular_lines()
    assert set(lines.species) == {"CO", "OH", "CN"}
    row = np.flatnonzero(np.abs(lines.wavelength - to_vacuum(15568.782)) < 1e-6)
    assert lines.species[row].tolist() == ["OH"]
    assert (lines.excitation[row], lines.log_gf[row]) == (0.299, -5.337)
