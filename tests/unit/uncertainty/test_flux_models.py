"""What spectra were made from: derivatives of the simulator and of a quadratic model."""

import os
from pathlib import Path

import numpy as np
import pytest

from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.spectra.apogee import wavelength
from starstack.spectra.cannon import CannonModel, read_model
from starstack.spectra.simulator import NUISANCES, draw_stars, label_derivatives, synthesise
from starstack.spectra.sources import write_spectra
from starstack.spectra.stars import make_stars
from starstack.uncertainty.cramer_rao import cramer_rao_bound
from starstack.uncertainty.flux_models import (
    FLUX_MODELS,
    empirical_model_of,
    nuisance_derivatives,
    simulator_of,
)

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
PIXELS = np.arange(500, 900)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A quadratic model of few labels' worth of stars, as a user may have fitted one."""
    rng = np.random.default_rng(5)
    scale = np.array([200.0, 0.5, 0.3, 0.1])
    linear = rng.normal(0, 0.01, (4, 7214)) / scale[:, None]
    pairs = np.array([scale[i] * scale[j] for i, j in zip(*np.triu_indices(4), strict=True)])
    quadratic = rng.normal(0, 0.003, (10, 7214)) / pairs[:, None]
    path = tmp_path_factory.mktemp("model") / "model.npz"
    np.savez(
        path,
        coeffs=np.vstack([np.full((1, 7214), 0.95), linear, quadratic]),
        baseline=np.array([4500.0, 2.0, -0.3, 0.05]),
        scatter=rng.uniform(0.002, 0.01, 7214),
        training_labels=np.array([4600, 2.3, -0.2, 0.07]) + scale * rng.normal(size=(50, 4)),
        wavelength=wavelength(),
    )
    return path


@pytest.fixture(scope="module")
def giants(model_file):
    data = {"source": "cannon", "path": str(model_file), "n_stars": 20, "pixel_step": 20}
    write_spectra("giants", data, model_file.parent / "data.h5", seed=1)
    with open_dataset(model_file.parent / "data.h5") as dataset:
        yield dataset, data


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "data.h5"
    data = {"source": "simulated-spectra", "n_stars": 12, "pixel_step": 10}
    data |= {"chips": ["red"], "fill": "continuum"}
    write_spectra("stars", data, path, seed=1)
    with open_dataset(path) as dataset:
        yield dataset, data


def test_nuisances_of_the_simulator():
    """Central differences of another step, and tilts that are exact."""
    stars = draw_stars(4, seed=1)
    found = nuisance_derivatives(stars, pixels=PIXELS)
    for number, name in enumerate(NUISANCES):
        step = 0.002
        ends = [
            synthesise(
                make_stars(stars.labels, **stars.nuisances | {name: stars.nuisances[name] + by}),
                pixels=PIXELS,
            )
            for by in (step, -step)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        scale = np.abs(expected).max() or 1.0
        np.testing.assert_allclose(found[:, number], expected, atol=2e-3 * scale)
    assert (found[:, NUISANCES.index("tilt_red")] == 0).all()  # another chip
    with pytest.raises(InputError, match="expected some of alpha_fe"):
        nuisance_derivatives(stars, ["rv"])


def test_macroturbulence_may_be_zero():
    stars = make_stars([[4750.0, 2.4, 0.0]], v_macro=0.0)
    assert np.isfinite(nuisance_derivatives(stars, ["v_macro"], pixels=PIXELS)).all()


def test_the_simulator_at_the_rows_of_a_data_set(simulated):
    dataset, data = simulated
    rows = np.array([2, 7])
    labels, nuisances = FLUX_MODELS["simulated-spectra"](dataset, data).derivatives(rows)
    pixels = np.abs(wavelength()[:, None] - dataset.wavelength).argmin(axis=0)
    own = {name: dataset.row_values[name][rows] for name in NUISANCES}
    stars = make_stars(dataset.y[rows], **own)
    np.testing.assert_allclose(labels, label_derivatives(stars, pixels=pixels), rtol=1e-12)
    assert nuisances.shape == (2, len(NUISANCES), len(pixels))
    assert nuisances[:, NUISANCES.index("tilt_red")].any()


def test_the_empirical_model_at_the_rows_of_a_data_set(giants):
    """Its noiseless spectra change by what the derivatives say, exactly to second order."""
    dataset, data = giants
    model = FLUX_MODELS["cannon"](dataset, data)
    first, nuisance = model.derivatives(np.array([3]))
    assert first.shape == (1, 3, len(dataset.wavelength)) and nuisance.shape[1] == 1
    both = np.concatenate([first, nuisance], axis=1)[0]
    quadratic = read_model(data["path"], "test")
    pixels = np.abs(wavelength()[:, None] - dataset.wavelength).argmin(axis=0)
    own = np.r_[dataset.y[3], dataset.row_values["alpha_fe"][3]]
    for label, step in enumerate((50.0, 0.3, 0.2, 0.1)):
        ends = quadratic.flux(own + np.outer([1, -1], step * np.eye(4)[label]), pixels)
        np.testing.assert_allclose(both[label], (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
    np.testing.assert_array_equal(model.scatter, quadratic.scatter[pixels])
    assert model.prior_spreads == (np.inf,)


def test_data_of_another_source_are_refused(simulated, giants, tmp_path):
    dataset, data = giants
    with pytest.raises(InputError, match="expected simulated spectra of the labels"):
        simulator_of(dataset)
    with pytest.raises(InputError, match="there is no such file"):
        empirical_model_of(dataset, {"path": str(tmp_path / "gone.npz")})
    other, _ = simulated
    other.row_values.pop("alpha_fe")
    with pytest.raises(InputError, match="expected the labels teff, logg, fe_h and alpha_fe"):
        empirical_model_of(other, data)


def test_derivatives_of_a_quadratic_model():
    rng = np.random.default_rng(5)
    model = CannonModel(
        coeffs=rng.normal(size=(15, 20)),
        baseline=np.array([4500.0, 2, 0, 0]),
        scatter=np.ones(20),
        training_labels=np.ones((2, 4)),
        bad=np.zeros(20, bool),
    )
    labels = model.baseline + rng.normal(size=(3, 4))
    found = model.derivatives(labels, slice(5, 15))
    for label in range(4):
        step = np.eye(4)[label]
        # Exact for a polynomial of degree two, whatever the step.
        ends = (model.flux(labels + sign * step, slice(5, 15)) for sign in (1, -1))
        np.testing.assert_allclose(found[:, label], np.subtract(*ends) / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(
    not (SHARED / "apogee_cannon_giants.npz").exists(), reason=f"no {SHARED}: not beside here"
)
@pytest.mark.parametrize(
    ("giant", "known", "unknown", "scattered"),
    [
        ((4750, 2.4, 0.0, 0.05), (4.7, 0.0135, 0.0038), (4.9, 0.0137, 0.0038), (6.5, 0.018, 0.005)),
        ((4200, 1.5, -0.3, 0.1), (1.8, 0.010, 0.0025), (1.9, 0.011, 0.0026), (2.6, 0.016, 0.0035)),
        ((4800, 2.4, -1.0, 0.2), (5.5, 0.018, 0.0059), (7.1, 0.020, 0.0064), (9.3, 0.026, 0.0084)),
        ((4600, 2.0, -2.0, 0.25), (3.7, 0.013, 0.0047), (4.0, 0.013, 0.0047), (5.2, 0.017, 0.0066)),
    ],
)
def test_the_bound_of_real_giants(giant, known, unknown, scattered):
    """At S/N 100 in all good pixels, of another implementation (stated to two digits)."""
    model = read_model(SHARED / "apogee_cannon_giants.npz", "test")
    good = np.flatnonzero(~model.bad)
    labels = np.array([giant], dtype=float)
    derivatives = model.derivatives(labels, good)
    errors = model.flux(labels, good) / 100
    free = {"nuisances": derivatives[:, 3:], "prior_spreads": [np.inf]}
    for expected, options in (
        (known, {}),
        (unknown, free),
        (scattered, free | {"scatter": model.scatter[good]}),
    ):
        bound = cramer_rao_bound(derivatives[:, :3], errors, **options)[0]
        np.testing.assert_allclose(np.sqrt(np.diag(bound)), expected, rtol=0.05)
