"""Spectra: exact derivatives, trends that every astronomer knows, and real giants."""

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from starstack.spectra.apogee import CHIPS, N_PIXELS, wavelength
from starstack.spectra.simulator import draw_stars, label_derivatives, synthesise
from starstack.spectra.stars import BOX, Stars, make_stars

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
STARS = {
    "giant": (4750.0, 2.4, 0.0),
    "cool giant": (4000.0, 1.2, -0.3),
    "metal-poor giant": (4600.0, 1.4, -2.0),
    "Sun": (5772.0, 4.44, 0.0),
    "M dwarf": (3600.0, 4.9, 0.3),
    "F dwarf": (6800.0, 4.2, -0.5),
}


def shifted(stars: Stars, label: int, step: float) -> Stars:
    labels = stars.labels.copy()
    labels[:, label] += step
    return Stars(labels, stars.nuisances)


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("name", STARS)
def test_derivatives_are_those_of_the_spectra(name, label):
    stars = make_stars([STARS[name]], alpha_fe=0.1, c_n=-0.2, radial_velocity=0.7, tilt_green=0.01)
    exact = label_derivatives(stars)[0, label]
    step = (4.0, 0.01, 0.01)[label]

    def central(h):
        pair = synthesise(shifted(stars, label, h)), synthesise(shifted(stars, label, -h))
        return (pair[0] - pair[1])[0] / (2.0 * h)

    richardson = (4.0 * central(step / 2.0) - central(step)) / 3.0
    np.testing.assert_allclose(exact, richardson, atol=1e-7 * np.abs(exact).max())


def test_spectra_are_finite_and_between_zero_and_the_continuum_all_over_the_box():
    corners = list(product(*(np.linspace(*limits, 3) for limits in BOX.values())))
    stars = make_stars(corners, alpha_fe=0.2, v_macro=3.0)
    flux, slopes = synthesise(stars), label_derivatives(stars, pixels=slice(0, 7214, 50))
    assert np.isfinite(flux).all()
    assert np.isfinite(slopes).all()
    assert (flux > 0.0).all()
    assert (flux <= 1.0 + 1e-3).all()
    # Even the hottest, poorest star has its lines of hydrogen.
    assert (flux.min(axis=1) < 0.97).all()


def test_drawn_stars_have_sane_spectra():
    flux = synthesise(draw_stars(40, seed=2))
    assert (flux > 0.2).all()
    assert (flux < 1.05).all()


def test_pixels_choose_from_the_whole_spectrum():
    stars = make_stars([STARS["giant"], STARS["Sun"]])
    flux, slopes = synthesise(stars), label_derivatives(stars)
    rows = np.array([7213, 5, 5])
    np.testing.assert_array_equal(synthesise(stars, pixels=rows), flux[:, rows])
    np.testing.assert_array_equal(label_derivatives(stars, pixels=rows), slopes[:, :, rows])
    chip = CHIPS["green"]
    np.testing.assert_array_equal(synthesise(stars, pixels=chip), flux[:, chip])


def test_a_spectrum_does_not_depend_on_the_stars_beside_it(monkeypatch):
    stars = draw_stars(7, seed=5)
    together = synthesise(stars)
    np.testing.assert_array_equal(synthesise(stars), together)
    # NumPy takes the last elements of an array one by one, with another exponential.
    np.testing.assert_allclose(synthesise(stars[3:4])[0], together[3], rtol=1e-12)
    monkeypatch.setattr("starstack.spectra.simulator.BLOCK", 2)
    np.testing.assert_allclose(synthesise(stars), together, rtol=1e-12)


def near(*angstrom: float, width: float = 1.0) -> np.ndarray:
    grid = wavelength()
    return np.any([np.abs(grid - centre) < width for centre in angstrom], axis=0)


# Vacuum wavelengths: three Fe I lines, the heads of CO, Brackett 11.
IRON = near(15211.7, 15298.7, 15652.8)
CARBON_MONOXIDE = near(15583.5, 15781.5, 15984.0, 16191.0, width=2.0)
HYDROGEN = near(16811.2, width=3.0)


def absorbed(labels, where, **nuisances):
    return (1.0 - synthesise(make_stars(labels, **nuisances)))[:, where].mean(axis=1)


def test_lines_deepen_with_metals():
    labels = [(4750.0, 2.4, fe_h) for fe_h in (-2.0, -1.0, 0.0, 0.4)]
    assert (np.diff(absorbed(labels, IRON)) > 0.0).all()
    assert (label_derivatives(make_stars(labels))[:, 2].mean(axis=1) < 0.0).all()


def test_carbon_monoxide_weakens_with_temperature():
    labels = [(teff, 2.0, 0.0) for teff in (3800.0, 4300.0, 4800.0, 5300.0)]
    depths = absorbed(labels, CARBON_MONOXIDE)
    assert (np.diff(depths) < 0.0).all()
    assert depths[0] > 2.0 * depths[-1]


def test_hydrogen_strengthens_with_temperature():
    labels = [(teff, 4.2, -1.0) for teff in (5000.0, 5700.0, 6400.0, 7000.0)]
    assert (np.diff(absorbed(labels, HYDROGEN)) > 0.0).all()


def test_carbon_monoxide_follows_carbon_and_oxygen():
    giant = [(4200.0, 1.5, 0.0)]
    poor, rich = (absorbed(giant, CARBON_MONOXIDE, c_n=c_n) for c_n in (-1.0, 0.3))
    assert rich > 1.1 * poor


def test_tilt_multiplies_each_chip_by_a_straight_line():
    flat = synthesise(make_stars([STARS["giant"]]))[0]
    tilted = synthesise(make_stars([STARS["giant"]], tilt_red=0.02, tilt_blue=-0.01))[0]
    for chip, slope in (("blue", -0.01), ("green", 0.0), ("red", 0.02)):
        ratio = (tilted / flat)[CHIPS[chip]]
        np.testing.assert_allclose(ratio, np.linspace(1 - slope, 1 + slope, len(ratio)))


def test_velocity_and_macroturbulence_keep_the_equivalent_width():
    stars = [(4750.0, 2.4, 0.0)] * 3
    depths = 1.0 - synthesise(
        make_stars(stars, v_macro=np.array([3.0, 9.0, 3.0]), radial_velocity=np.array([0, 0, 1.0]))
    )
    totals = depths[:, CHIPS["blue"]].sum(axis=1)
    # What crosses the ends of the chip is all that changes.
    np.testing.assert_allclose(totals, totals[0], rtol=2e-3)
    assert depths[1].max() < depths[0].max()


def real_and_simulated(labels):
    """The empirical model of real giants, and ours, in the pixels that APOGEE does not mask."""
    path = SHARED / "apogee_cannon_giants.npz"
    if not path.is_file():
        pytest.skip(f"no {path}: set STARSTACK_SHARED_DATA")
    model = np.load(path)
    offset = np.array(labels) - model["baseline"]
    pairs = [offset[i] * offset[j] for i in range(4) for j in range(i, 4)]
    real = np.array([1.0, *offset, *pairs]) @ model["coeffs"].astype(np.float64)
    assert real.shape == (N_PIXELS,)
    ours = synthesise(make_stars([labels[:3]], alpha_fe=labels[3]))[0]
    good = ~model["apogee_mask"]
    return real[good], ours[good]


@pytest.mark.parametrize(
    "labels",
    [
        (4750.0, 2.4, 0.0, 0.05),
        (4200.0, 1.5, -0.3, 0.1),
        (4800.0, 2.4, -1.0, 0.2),
        (4439.0, 1.3, -1.4, 0.25),
    ],
)
def test_spectra_correlate_with_those_of_real_giants(labels):
    real, ours = real_and_simulated(labels)
    assert np.corrcoef(ours, real)[0, 1] > 0.75
    # Their contrast is that of real lines too, though no strength was fitted.
    assert 0.75 < ours.std() / real.std() < 1.3


def test_at_a_hundredth_of_the_metals_the_empirical_model_is_mostly_not_of_lines():
    """Why the correlation is bad there: what no line explains bounds it, for any simulator."""
    real, ours = real_and_simulated((4600.0, 2.0, -2.0, 0.25))
    empty = ours > 0.995
    unexplained = empty.mean() * real[empty].var() / real.var()
    assert 0.3 < np.corrcoef(ours, real)[0, 1] < np.sqrt(1 - unexplained) < 0.85
