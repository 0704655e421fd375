"""Cramér–Rao bounds: closed forms, an efficient estimate, inequalities, and published numbers."""

import os
from pathlib import Path

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.cannon import CannonModel, read_model
from starstack.spectra.simulator import NUISANCES, draw_stars, label_derivatives, synthesise
from starstack.spectra.stars import make_stars
from starstack.uncertainty.cramer_rao import (
    biased_bound,
    cannon_derivatives,
    cramer_rao_bound,
    fisher_information,
    least_excess,
    nuisance_derivatives,
    simulator_bound,
    stars_of,
)
from starstack.uncertainty.noise_covariance import propagate

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
PIXELS = np.arange(500, 900)


def problem(n=3, k=2, p=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k, p)) * np.array([100.0, 0.1])[:k, None], rng.uniform(
        0.5, 2, (n, p)
    )


def test_weighted_least_squares_reaches_the_bound():
    derivatives, errors = problem()
    bound = cramer_rao_bound(derivatives, errors)
    for row in range(3):
        g, weight = derivatives[row], 1 / errors[row] ** 2
        np.testing.assert_allclose(bound[row], np.linalg.inv((g * weight) @ g.T), rtol=1e-9)
        estimator = bound[row] @ (g * weight)
        spread = propagate(estimator[None], errors[row][None])
        np.testing.assert_allclose(spread[0], bound[row], rtol=1e-9)
        biased = biased_bound(estimator[None], g[None], errors[row][None])
        np.testing.assert_allclose(biased, spread, rtol=1e-9)
        np.testing.assert_allclose(least_excess(spread, biased), 0, atol=1e-9)


def test_scaling_with_the_noise():
    derivatives, errors = problem()
    bound = cramer_rao_bound(derivatives, errors)
    np.testing.assert_allclose(cramer_rao_bound(derivatives, 3 * errors), 9 * bound, rtol=1e-9)


def test_masked_pixels_tell_nothing():
    derivatives, errors = problem()
    masked = errors.copy()
    masked[:, :7] = np.inf
    expected = cramer_rao_bound(derivatives[:, :, 7:], errors[:, 7:])
    np.testing.assert_allclose(cramer_rao_bound(derivatives, masked), expected, rtol=1e-9)
    jacobian = np.random.default_rng(1).normal(size=(3, 2, 30))
    np.testing.assert_allclose(
        biased_bound(jacobian, derivatives, masked),
        biased_bound(jacobian[:, :, 7:], derivatives[:, :, 7:], errors[:, 7:]),
        rtol=1e-9,
    )


def test_nuisances_between_known_and_unknown():
    derivatives, errors = problem()
    nuisance = np.random.default_rng(2).normal(size=(3, 1, 30))
    fixed = cramer_rao_bound(derivatives, errors)

    def marginal(spread):
        return cramer_rao_bound(derivatives, errors, nuisances=nuisance, prior_spreads=[spread])

    np.testing.assert_allclose(marginal(1e-9), fixed, rtol=1e-6)
    joint = cramer_rao_bound(np.concatenate([derivatives, nuisance], axis=1), errors)[:, :2, :2]
    np.testing.assert_allclose(marginal(np.inf), joint, rtol=1e-9)
    for tighter, wider in ((fixed, marginal(0.1)), (marginal(0.1), joint)):
        assert (least_excess(wider, tighter) > -1e-9).all()


def test_what_is_known_before_is_a_measurement():
    """A prior of a nuisance tells what a pixel would that shows it alone, with that error."""
    derivatives, errors = problem()
    nuisance, spread = np.random.default_rng(2).normal(size=(3, 1, 30)), 0.3
    found = cramer_rao_bound(derivatives, errors, nuisances=nuisance, prior_spreads=[spread])
    joint = np.concatenate([derivatives, nuisance], axis=1)
    alone = np.tile(np.array([0.0, 0.0, 1.0])[:, None], (3, 1, 1))
    more = np.concatenate([joint, alone], axis=2), np.hstack([errors, np.full((3, 1), spread)])
    np.testing.assert_allclose(found, cramer_rao_bound(*more)[:, :2, :2], rtol=1e-9)


def test_every_matrix_obeys_the_inequality():
    rng = np.random.default_rng(3)
    derivatives, errors = problem(n=200)
    jacobian = rng.normal(size=(200, 2, 30)) * np.array([0.01, 10.0])[:, None]
    errors[rng.random(errors.shape) < 0.1] = np.inf
    excess = least_excess(propagate(jacobian, errors), biased_bound(jacobian, derivatives, errors))
    assert excess.min() > 0
    # It can fail: a bound that is too large shows.
    wrong = biased_bound(jacobian, derivatives, errors) * 30
    assert least_excess(propagate(jacobian, errors), wrong).min() < 0


def test_monte_carlo_of_an_estimate_at_the_bound():
    rng = np.random.default_rng(4)
    derivatives, errors = problem(n=1)
    g, weight = derivatives[0], 1 / errors[0] ** 2
    bound = cramer_rao_bound(derivatives, errors)[0]
    noise = rng.normal(size=(20_000, 30)) * errors[0]
    found = np.cov((noise * weight) @ g.T @ bound, rowvar=False)
    deviation = np.sqrt(np.diag(bound))
    np.testing.assert_allclose(
        found / np.outer(deviation, deviation),
        bound / np.outer(deviation, deviation),
        atol=4 * np.sqrt(2 / 20_000),
    )


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


def test_macroturbulence_may_be_zero():
    stars = make_stars([[4750.0, 2.4, 0.0]], v_macro=0.0)
    assert np.isfinite(nuisance_derivatives(stars, ["v_macro"], pixels=PIXELS)).all()


def test_bound_of_simulated_stars():
    stars = draw_stars(6, seed=2)
    errors = np.full((6, len(PIXELS)), 0.01)
    known = simulator_bound(stars, errors, pixels=PIXELS, block_rows=4)
    expected = cramer_rao_bound(label_derivatives(stars, pixels=PIXELS), errors)
    np.testing.assert_allclose(known, expected, rtol=1e-9)
    unknown = simulator_bound(stars, errors, pixels=PIXELS, marginalise=NUISANCES)
    ratio = np.diagonal(unknown, axis1=1, axis2=2) / np.diagonal(known, axis1=1, axis2=2)
    assert (ratio > 1).all()


def test_rows_of_a_data_set_as_stars():
    stars = draw_stars(3, seed=3)
    found = stars_of(stars.labels, stars.nuisances | {"snr": np.ones(3)})
    np.testing.assert_array_equal(found.labels, stars.labels)
    with pytest.raises(InputError, match="hold no alpha_fe, c_n"):
        stars_of(stars.labels, {"snr": np.ones(3)})


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
    found = cannon_derivatives(model, labels, slice(5, 15))
    for label in range(4):
        step = np.eye(4)[label]
        # Exact for a polynomial of degree two, whatever the step.
        ends = (model.flux(labels + sign * step, slice(5, 15)) for sign in (1, -1))
        np.testing.assert_allclose(found[:, label], np.subtract(*ends) / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(
    not (SHARED / "apogee_cannon_giants.npz").exists(), reason=f"no {SHARED}: not beside here"
)
def test_the_bound_of_real_giants():
    """At S/N 100: 4.7 K, 0.0135 and 0.0038 dex for a giant of 4750 K (README of the data)."""
    model = read_model(SHARED / "apogee_cannon_giants.npz", "test")
    good = np.flatnonzero(~model.bad)
    labels = np.array([[4750, 2.4, 0, 0.05], [4600, 2.0, -2.0, 0.25]])
    derivatives = cannon_derivatives(model, labels, good)
    errors = model.flux(labels, good) / 100
    known = cramer_rao_bound(derivatives[:, :3], errors)
    found = np.sqrt(np.diagonal(known, axis1=1, axis2=2))
    np.testing.assert_allclose(found, [[4.7, 0.0135, 0.0038], [3.7, 0.013, 0.0047]], rtol=0.04)
    unknown = cramer_rao_bound(
        derivatives[:, :3], errors, nuisances=derivatives[:, 3:], prior_spreads=[np.inf]
    )
    found = np.sqrt(np.diagonal(unknown, axis1=1, axis2=2))
    np.testing.assert_allclose(found, [[4.9, 0.0137, 0.0038], [4.0, 0.013, 0.0047]], rtol=0.04)


def test_what_is_refused():
    derivatives, errors = problem()
    errors[1, 3] = 0
    with pytest.raises(InputError, match="has the error 0"):
        fisher_information(derivatives, errors)
    derivatives[2, 1] = 0
    with pytest.raises(InputError, match="spectrum 2 do not depend on label 1"):
        cramer_rao_bound(derivatives, np.ones_like(errors))
    with pytest.raises(InputError, match="expected some of alpha_fe"):
        nuisance_derivatives(draw_stars(1, seed=1), ["rv"])
