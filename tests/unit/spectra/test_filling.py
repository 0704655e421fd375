"""What masked pixels hold, against the conditional expectation of a normal distribution."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.filling import Components, Continuum, fit_components
from starstack.spectra.prior import SpectrumPrior
from starstack.spectra.survey import Run, choose_fill


@pytest.fixture
def spectra():
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((12, 3)))[0]
    variances = np.array([2.0, 0.5, 0.1])
    mean = rng.uniform(0.5, 1.0, 12)
    flux = mean + (rng.standard_normal((4, 3)) * np.sqrt(variances)) @ vectors.T
    error = rng.uniform(0.05, 0.2, (4, 12))
    bad = np.zeros((4, 12), dtype=bool)
    bad[0, 3:6] = bad[1, [0, 11]] = bad[2, :-1] = True
    return Components(SpectrumPrior(mean, vectors.T, variances)), flux, error, bad


def test_components_give_the_conditional_expectation(spectra):
    fill, flux, error, bad = spectra
    filled = fill(flux, error, bad)
    mean, components = fill.prior.mean, fill.prior.components
    prior = (components.T * fill.prior.variance) @ components
    for row in range(len(flux)):
        masked, good = bad[row], ~bad[row]
        among = prior[np.ix_(good, good)] + np.diag(error[row, good] ** 2)
        gain = prior[np.ix_(masked, good)] @ np.linalg.inv(among)
        expected = mean[masked] + gain @ (flux[row, good] - mean[good])
        np.testing.assert_allclose(filled[row, masked], expected, rtol=1e-10)
        np.testing.assert_array_equal(filled[row, good], flux[row, good])


def test_what_a_masked_pixel_held_does_not_count(spectra):
    fill, flux, error, bad = spectra
    other, filled = np.where(bad, np.nan, flux), fill(flux, error, bad)
    np.testing.assert_array_equal(fill(other, np.where(bad, np.inf, error), bad), filled)


def test_a_spectrum_without_a_good_pixel_holds_the_mean(spectra):
    fill, flux, error, bad = spectra
    filled = fill(flux[:1], error[:1], np.ones_like(bad[:1]))
    np.testing.assert_allclose(filled[0], fill.prior.mean)


def test_components_are_those_of_the_spectra():
    rng = np.random.default_rng(1)
    flux = rng.standard_normal((50, 8)) * [5, 4, 3, 2, 1, 1, 1, 1]
    prior = fit_components(flux, 3).prior
    values, vectors = np.linalg.eigh(np.cov(flux.T))
    np.testing.assert_allclose(prior.variance, values[::-1][:3], rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(prior.components.T * vectors[:, ::-1][:, :3], 0)), 1)


def test_directions_without_variance_are_left_out():
    fill = fit_components(np.outer([1.0, 2.0, 4.0], [1.0, 1.0, 0.0]), 2)
    assert fill.prior.components.shape == (1, 3)


def test_continuum():
    flux, bad = np.full((1, 2), 0.5), np.array([[True, False]])
    assert Continuum()(flux, np.ones((1, 2)), bad).tolist() == [[1.0, 0.5]]


def test_fill_learns_from_spectra_that_are_drawn_for_it():
    asked = []

    def draw(n, seed):
        asked.append((n, seed))
        return np.random.default_rng(seed).standard_normal((n, 5))

    fill = choose_fill("components", draw, Run("here", seed=4))
    assert asked[0][0] == 1000 and fill.prior.components.shape == (5, 5)
    assert isinstance(choose_fill("continuum", draw, Run("here", seed=4)), Continuum)
    assert len(asked) == 1


def test_unknown_fill():
    with pytest.raises(InputError, match="fill is 'median'; expected continuum or components"):
        choose_fill("median", lambda n, seed: np.ones((n, 2)), Run("here", seed=1))
