"""Cramér–Rao bounds: closed forms, an efficient estimate, and inequalities."""

import numpy as np
import pytest
from scipy.linalg import toeplitz

from starstack.data.noise_correlation import noise_correlation
from starstack.errors import InputError
from starstack.uncertainty.cramer_rao import (
    biased_bound,
    cramer_rao_bound,
    fisher_information,
    least_excess,
)
from starstack.uncertainty.noise_propagation import propagate


def problem(n=3, k=2, p=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k, p)) * np.array([100.0, 0.1, 1.0])[:k, None], rng.uniform(
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


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("values", [[], [0.4, 0.1], [-0.3]])
def test_correlated_noise_and_scatter_are_those_of_the_dense_covariance(values, scattered):
    derivatives, errors = problem()
    rng = np.random.default_rng(6)
    masked = rng.random(errors.shape) < 0.2
    errors[masked] = np.inf
    scatter = rng.uniform(0.2, 1.5, 30) if scattered else None
    among = toeplitz(np.r_[1.0, values, np.zeros(29 - len(values))])
    band = noise_correlation(values, 30, None)
    found = fisher_information(derivatives, errors, correlation=band, scatter=scatter)
    for row in range(3):
        good = np.flatnonzero(~masked[row])
        error = errors[row, good]
        noise = among[np.ix_(good, good)] * np.outer(error, error)
        if scattered:
            noise = noise + np.diag(scatter[good] ** 2)
        g = derivatives[row][:, good]
        np.testing.assert_allclose(found[row], g @ np.linalg.inv(noise) @ g.T, rtol=1e-9)


def test_the_inequality_is_about_the_same_correlated_noise():
    """The best estimate for correlated noise reaches its bound, and is far from that of another."""
    derivatives, errors = problem()
    band = noise_correlation([0.45, 0.2], 30, None)
    among = toeplitz(np.r_[1.0, 0.45, 0.2, np.zeros(27)])
    bound = cramer_rao_bound(derivatives, errors, correlation=band)
    inverse = np.linalg.inv(errors[:, :, None] * among * errors[:, None, :])
    jacobian = bound @ derivatives @ inverse
    own = propagate(jacobian, errors, correlation=band)
    np.testing.assert_allclose(own, bound, rtol=1e-9)
    least = biased_bound(jacobian, derivatives, errors, correlation=band)
    np.testing.assert_allclose(least_excess(own, least), 0, atol=1e-9)
    without = biased_bound(jacobian, derivatives, errors)
    assert (np.abs(least_excess(own, without)) > 0.1).all()


def test_what_is_refused():
    derivatives, errors = problem()
    for wrong in (0.0, -1.0, np.nan):
        errors[1, 3] = wrong
        with pytest.raises(InputError, match=f"errors above 0, got {wrong:g}; mask"):
            fisher_information(derivatives, errors)
    with pytest.raises(InputError, match="NaN or infinity in spectrum 1;"):
        cramer_rao_bound(derivatives * [[[1]], [[np.nan]], [[1]]], np.ones_like(errors))
    derivatives[2, 1] = 0
    with pytest.raises(InputError, match="spectrum 2 do not depend on label 1"):
        cramer_rao_bound(derivatives, np.ones_like(errors))


def test_labels_that_the_pixels_do_not_tell_apart_are_refused():
    """Rounding leaves a singular matrix an inverse, with variances of either sign."""
    derivatives, errors = problem(k=3)
    few, jacobian = derivatives[:, :, :2], np.ones((3, 1, 2))
    with pytest.raises(InputError, match="labels of spectrum 0 cannot be told apart"):
        cramer_rao_bound(few, errors[:, :2])
    with pytest.raises(InputError, match="cannot be told apart"):
        biased_bound(jacobian, few, errors[:, :2])
    multiple = derivatives.copy()
    multiple[1, 2] = 3 * multiple[1, 0] - 7 * multiple[1, 1]
    with pytest.raises(InputError, match="labels of spectrum 1 cannot be told apart"):
        cramer_rao_bound(multiple, errors)


def test_labels_that_are_nearly_alike_keep_their_bound():
    """Correlated to 1 - 1e-8; by hand, the variance is that of one label over 1 - r²."""
    across = np.zeros((1, 2, 2))
    across[0, 0], across[0, 1] = [1, 0], [1, 1e-4]
    found = cramer_rao_bound(across, np.ones((1, 2)))
    np.testing.assert_allclose(found[0], [[1 + 1e8, -1e8], [-1e8, 1e8]], rtol=1e-6)


def test_shapes_that_do_not_agree_are_refused():
    derivatives, errors = problem()
    nuisance = np.ones((3, 1, 30))
    with pytest.raises(InputError, match=r"errors have shape \(3, 29\); expected \(3, 30\)"):
        cramer_rao_bound(derivatives, errors[:, 1:])
    with pytest.raises(InputError, match=r"derivatives have shape \(2, 30\); expected \(n, k, p"):
        fisher_information(derivatives[0], errors)
    with pytest.raises(InputError, match=r"scatter has shape \(29,\); expected \(30,\)"):
        fisher_information(derivatives, errors, scatter=np.ones(29))
    with pytest.raises(InputError, match=r"nuisances have shape \(2, 1, 30\); expected \(3, m, 30"):
        cramer_rao_bound(derivatives, errors, nuisances=nuisance[1:], prior_spreads=[1.0])
    with pytest.raises(InputError, match=r"prior_spreads have shape \(2,\); expected \(1,\)"):
        cramer_rao_bound(derivatives, errors, nuisances=nuisance, prior_spreads=[1.0, 2.0])
    with pytest.raises(InputError, match=r"jacobian has shape \(3, 2, 29\); expected \(3, k, 30"):
        biased_bound(np.ones((3, 2, 29)), derivatives, errors)


def test_derivatives_of_one_spectrum_are_a_row():
    derivatives, errors = problem()
    for call in (fisher_information, cramer_rao_bound):
        with pytest.raises(
            InputError, match=r"derivatives have shape \(2, 30\); expected \(n, k, p"
        ):
            call(derivatives[0], errors[0])
    np.testing.assert_array_equal(
        cramer_rao_bound(derivatives.tolist(), errors.tolist()),
        cramer_rao_bound(derivatives, errors),
    )
