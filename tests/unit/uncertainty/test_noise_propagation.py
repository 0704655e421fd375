"""Noise through networks: exact where a closed form exists, Monte Carlo where none does."""

import numpy as np
import pytest
from scipy.linalg import toeplitz

from starstack.data.noise_correlation import noise_correlation
from starstack.errors import InputError
from starstack.uncertainty.denoising import denoise, fit_prior
from starstack.uncertainty.noise_propagation import (
    METHODS,
    Network,
    at_least,
    functions_of,
    noise_covariance,
    propagate,
)

P = 6


def linear(k=2, seed=0):
    weights = np.random.default_rng(seed).normal(size=(k, P))
    return weights, Network(lambda x: x @ weights.T, lambda x: np.stack([weights] * len(x)))


def relu(width=40, seed=1):
    """A network of rectified linear units, and its Jacobian as a product of masked matrices."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(P, width)) / np.sqrt(P)
    bias, second = rng.normal(size=width) * 0.3, rng.normal(size=(width, 2)) / np.sqrt(width)

    def jacobian(x):
        active = (x @ first + bias > 0).astype(float)
        return np.einsum("pw,nw,wk->nkp", first, active, second)

    return Network(lambda x: np.maximum(x @ first + bias, 0) @ second, jacobian)


def quadratic():
    """One label, f = a·x + x·B·x: its covariance is aΣa + 2 tr(BΣBΣ) about zero."""
    rng = np.random.default_rng(2)
    slope, matrix = 0.5 * rng.normal(size=P), 0.3 * rng.normal(size=(P, P))
    matrix = matrix + matrix.T
    network = Network(
        lambda x: (x @ slope + np.einsum("np,pq,nq->n", x, matrix, x))[:, None],
        lambda x: (slope + 2 * x @ matrix)[:, None, :],
    )
    return slope, matrix, network


@pytest.mark.parametrize("method", [m for m in METHODS if m != "monte_carlo"])
def test_linear_networks_are_exact(method):
    weights, network = linear()
    errors = np.random.default_rng(3).uniform(0.1, 1, (5, P))
    found = noise_covariance(network, np.ones((5, P)), errors, method=method)
    expected = np.einsum("kp,np,lp->nkl", weights, errors**2, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_monte_carlo_of_a_linear_network():
    weights, network = linear()
    errors = np.full((400, P), 0.3)
    found = noise_covariance(network, np.ones((400, P)), errors, method="monte_carlo", n_draws=10)
    expected = weights @ weights.T * 0.09
    error = np.std(found, axis=0) / np.sqrt(400)
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()
    relative = np.std(found[:, 0, 0]) / expected[0, 0]
    assert relative == pytest.approx(np.sqrt(2 / 9), rel=0.15)


def test_masked_pixels_add_nothing():
    weights, network = linear()
    errors = np.full((1, P), 0.5)
    errors[0, 2] = np.inf
    bare = np.delete(weights, 2, axis=1)
    for method in ("jacobian", "two_jacobians"):
        found = noise_covariance(network, np.ones((1, P)), errors, method=method)
        np.testing.assert_allclose(found[0], bare @ bare.T * 0.25, rtol=1e-10)
    np.testing.assert_allclose(propagate(weights[None], errors)[0], bare @ bare.T * 0.25)


def correlated(values=(0.4, 0.1)):
    dense = toeplitz(np.r_[1.0, values, np.zeros(P - 1 - len(values))])
    return noise_correlation(values, P, None), dense


@pytest.mark.parametrize("method", [m for m in METHODS if m != "monte_carlo"])
def test_correlated_noise_through_a_linear_network(method):
    weights, network = linear()
    band, dense = correlated()
    errors = np.random.default_rng(3).uniform(0.1, 1, (5, P))
    errors[0, 2] = errors[3, 5] = np.inf
    found = noise_covariance(network, np.ones((5, P)), errors, method=method, correlation=band)
    finite = np.where(np.isfinite(errors), errors, 0)
    sigma = finite[:, :, None] * dense * finite[:, None, :]
    np.testing.assert_allclose(found, weights @ sigma @ weights.T, rtol=1e-10)


def test_drawn_noise_scatters_as_the_propagated_one():
    """Monte Carlo: the covariance of a linear map of noise that is drawn, not of its formula."""
    weights, network = linear()
    band, _ = correlated()
    errors = np.tile(np.linspace(0.2, 0.7, P), (400, 1))
    spectra, options = np.ones((400, P)), {"correlation": band}
    found = noise_covariance(network, spectra, errors, method="monte_carlo", n_draws=50, **options)
    expected = noise_covariance(network, spectra[:1], errors[:1], method="jacobian", **options)[0]
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()
    ignored = propagate(weights[None], errors[:1])[0]
    assert (np.abs(found.mean(axis=0) - ignored) > 4 * error).any()


def test_two_jacobians_of_correlated_noise_are_exact_in_the_mean_for_a_quadratic():
    slope, matrix, network = quadratic()
    band, dense = correlated()
    n, errors = 20_000, np.linspace(0.2, 0.7, P)
    noise = dense * np.outer(errors, errors)
    truth = slope @ noise @ slope + 2 * np.trace(matrix @ noise @ matrix @ noise)
    tiled = np.tile(errors, (n, 1))
    found = noise_covariance(network, np.zeros((n, P)), tiled, correlation=band)[:, 0, 0]
    assert abs(found.mean() - truth) < 4 * found.std() / np.sqrt(n)


def test_two_jacobians_of_one_rectified_unit_have_a_closed_form():
    """Of f = max(n, 0): two normal numbers of correlation r are above 0 with Sheppard's 1899
    probability 1/4 + arcsin(r)/2π, whose mean over all r is the variance 1/2 - 1/2π."""
    unit = Network(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)[:, :, None])
    at_nodes = np.mean([0.25 + np.arcsin(node) / (2 * np.pi) for node in (0.2113249, 0.7886751)])
    assert at_nodes == pytest.approx(0.5 - 0.5 / np.pi, abs=0.002)
    # Draws enough that no row's estimate is raised to the floor.
    found = noise_covariance(unit, np.zeros((2000, 1)), np.ones((2000, 1)), n_draws=30)
    assert found.mean() == pytest.approx(at_nodes, abs=4 * found.std() / np.sqrt(2000))
    assert found.std() / np.sqrt(2000) < 0.002


def test_ignored_correlation_gives_intervals_that_are_too_short():
    """Labels of the sum of neighbouring pixels: 68 % intervals hold 52 % of them."""
    rng = np.random.default_rng(9)
    band, _ = correlated((0.45, 0.2))
    weights = np.ones((1, P))
    network = Network(lambda x: x @ weights.T, lambda x: np.stack([weights] * len(x)))
    errors = rng.uniform(0.5, 1.5, (8000, P))
    noise = errors * band.colour(rng.standard_normal((8000, P)))
    made = network.predict(noise)[:, 0]

    def coverage(correlation):
        options = {"method": "jacobian", "correlation": correlation}
        variance = noise_covariance(network, noise, errors, **options)[:, 0, 0]
        return np.mean(np.abs(made) < np.sqrt(variance))

    assert coverage(band) == pytest.approx(0.683, abs=4 * np.sqrt(0.68 * 0.32 / 8000))
    assert coverage(None) < 0.56


def test_two_jacobians_are_exact_in_the_mean_for_a_quadratic():
    slope, matrix, network = quadratic()
    n, errors = 20_000, np.linspace(0.2, 0.7, P)
    noise = np.diag(errors**2)
    truth = slope @ noise @ slope + 2 * np.trace(matrix @ noise @ matrix @ noise)
    tiled = np.tile(errors, (n, 1))
    found = {
        method: noise_covariance(network, np.zeros((n, P)), tiled, method=method, n_draws=2)
        for method in ("two_jacobians", "monte_carlo")
    }
    for method, values in found.items():
        error = values.std() / np.sqrt(n)
        # Raising few negative estimates moves the mean by less than this.
        assert abs(values.mean() - truth) < 4 * error + 0.002 * truth, method
    # The two ends between which the identity runs.
    assert slope @ noise @ slope < 0.9 * truth
    plain = noise_covariance(
        network, np.random.default_rng(0).normal(size=(n, P)) * errors, tiled, method="jacobian"
    )
    assert plain.mean() > 1.1 * truth


def test_order_of_the_bounds_for_rectified_units():
    """E[J] Σ E[J]ᵀ ≤ cov ≤ E[J Σ Jᵀ], and the identity between them meets Monte Carlo."""
    network, n = relu(), 4000
    clean = np.tile(np.random.default_rng(4).normal(size=P), (n, 1))
    errors = np.full((n, P), 0.8)
    noise = np.random.default_rng(5).normal(size=(n, P)) * errors
    truth = np.cov(network.predict(clean + noise).T)
    two = noise_covariance(network, clean, errors, method="two_jacobians", n_draws=1)
    error = two.std(axis=0) / np.sqrt(n) + np.sqrt(2 / n) * np.abs(truth)
    assert (np.abs(two.mean(axis=0) - truth) < 4 * error).all()
    jacobians = network.jacobian(clean + noise)
    upper = propagate(jacobians, errors).mean(axis=0)
    lower = propagate(jacobians.mean(axis=0)[None], errors[:1])[0]
    assert np.linalg.eigvalsh(upper - truth).min() > 0
    assert np.linalg.eigvalsh(truth - lower).min() > 0
    assert upper[0, 0] > 1.1 * truth[0, 0]
    mean = noise_covariance(network, clean[:5], errors[:5], method="mean_jacobian", n_draws=500)
    np.testing.assert_allclose(mean[0], lower, rtol=0.15, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_rows_do_not_depend_on_the_blocks(method):
    network, rng = relu(), np.random.default_rng(6)
    spectra, errors = rng.normal(size=(300, P)), rng.uniform(0.1, 1, (300, P))
    whole = noise_covariance(network, spectra, errors, method=method, seed=1)
    part = noise_covariance(
        network, spectra[140:150], errors[140:150], method=method, seed=1, first_row=140
    )
    np.testing.assert_allclose(part, whole[140:150], rtol=1e-10)
    if method != "jacobian":
        other = noise_covariance(network, spectra[:5], errors[:5], method=method, seed=2)
        assert not np.allclose(other, whole[:5])
    np.testing.assert_allclose(whole, whole.swapaxes(1, 2), rtol=1e-10)
    assert np.linalg.eigvalsh(whole).min() > -1e-12


def test_raised_in_all_directions():
    floor = np.array([[[4.0, 1.0], [1.0, 2.0]]])
    fine = np.array([[[9.0, 1.0], [1.0, 5.0]]])
    np.testing.assert_array_equal(at_least(fine, floor), fine)
    low = np.array([[[9.0, 1.0], [1.0, -5.0]]])
    raised = at_least(low, floor)
    assert np.linalg.eigvalsh(raised - floor)[0].min() > -1e-6
    assert np.linalg.eigvalsh(raised)[0].min() > 0


def test_denoised_spectra_are_nearer_to_the_noiseless_ones():
    rng = np.random.default_rng(7)
    shapes = rng.normal(size=(3, 200))
    clean = 1 + rng.normal(size=(500, 3)) * [0.1, 0.05, 0.02] @ shapes
    errors = np.full((40, 200), 0.1)
    errors[:, 17] = np.inf
    noisy = clean[:40] + np.where(np.isfinite(errors), errors, 0) * rng.normal(size=(40, 200))
    prior = fit_prior(clean, n_components=10)
    assert len(prior.variance) == 3
    found = denoise(prior, noisy, errors)
    np.testing.assert_array_equal(found[:, 17], noisy[:, 17])
    good = np.arange(200) != 17
    left = np.mean((found - clean[:40])[:, good] ** 2)
    # Three coefficients of 199 pixels are uncertain.
    assert left < 1.3 * 3 / 199 * 0.01
    bright = clean + 0.01 * rng.normal(size=clean.shape)
    from_noisy = fit_prior(bright, np.full(clean.shape, 0.01), n_components=3)
    np.testing.assert_allclose(from_noisy.variance, prior.variance, rtol=0.02)


def test_the_posterior_mean_of_a_gaussian_prior():
    """One component, by hand: the Wiener filter is λ / (λ + σ²/|c|²) times the projection."""
    rng = np.random.default_rng(8)
    direction = np.ones(50) / np.sqrt(50)
    clean = rng.normal(size=(2000, 1)) * 3.0 * direction
    prior = fit_prior(clean, n_components=1)
    noisy = clean[:5] + rng.normal(size=(5, 50))
    shrink = prior.variance[0] / (prior.variance[0] + 1.0)
    off = noisy - prior.mean
    expected = prior.mean + shrink * (off @ direction)[:, None] * direction
    np.testing.assert_allclose(denoise(prior, noisy, np.ones((5, 50))), expected, atol=1e-8)


def test_what_is_refused():
    _, network = linear()
    x = np.ones((2, P))
    with pytest.raises(InputError, match="method is 'mc'; expected one of jacobian"):
        noise_covariance(network, x, x, method="mc")
    with pytest.raises(InputError, match=r"errors have shape \(1, 6\); expected \(2, 6\)"):
        noise_covariance(network, x, x[:1])
    for wrong in (-1.0, np.nan):
        with pytest.raises(InputError, match=f"errors of 0 or above, got {wrong:g}; mask"):
            noise_covariance(network, x, np.where(np.arange(P) == 3, wrong, x))
    with pytest.raises(InputError, match="n_draws is 0"):
        noise_covariance(network, x, x, n_draws=0)
    with pytest.raises(InputError, match="give 2 or more"):
        noise_covariance(network, x, x, method="monte_carlo", n_draws=1)
    with pytest.raises(InputError, match="has 1 spectra"):
        fit_prior(np.ones((1, 5)))
    with pytest.raises(InputError, match="no more than their noise"):
        fit_prior(np.random.default_rng(0).normal(size=(9, 5)), np.full((9, 5), 100.0))


def test_a_trained_network_in_its_own_units():
    """Jacobian and predictions of a network with scalers, against central differences."""
    from starstack.networks.heads import make_network
    from starstack.networks.persistence import FittedNetwork
    from starstack.networks.scaling import Scaler

    rng = np.random.default_rng(9)
    model = make_network(
        "dense",
        {"units": [8], "activation": "tanh"},
        input_shape=(P,),
        task="regression",
        n_outputs=2,
        seed=1,
        dtype="float64",
    )
    scalers = Scaler(rng.normal(size=P), 0.5), Scaler(np.array([5000.0, 2.0]), np.array([500.0, 1]))
    fitted = FittedNetwork(model, "regression", ("a", "b"), (), (P,), *scalers)
    network = functions_of(fitted)
    x = rng.normal(size=(3, P))
    step = 1e-4
    expected = np.stack(
        [
            (network.predict(x + step * unit) - network.predict(x - step * unit)) / (2 * step)
            for unit in np.eye(P)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(network.jacobian(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.float16])
def test_spectra_of_any_type_keep_their_noise(kind):
    """An error of 0.03 is none in whole numbers, and has three digits in half precision."""
    weights, network = linear()
    found = noise_covariance(network, np.ones((2, P), kind), np.full((2, P), 0.03))
    np.testing.assert_allclose(found, np.stack([0.03**2 * weights @ weights.T] * 2), rtol=1e-5)


def test_a_masked_pixel_without_a_number_is_refused():
    """Its noise is none, but the network still reads it."""
    _, _, network = quadratic()
    spectra, errors = np.ones((3, P)), np.full((3, P), 0.1)
    errors[1, 2] = np.inf
    for wrong in (np.nan, np.inf):
        holed = spectra.copy()
        holed[1, 2] = wrong
        for rows in ((holed, None), (spectra, holed)):
            with pytest.raises(InputError, match=r"spectrum 1 has pixels that are NaN or infinite"):
                noise_covariance(network, rows[0], errors, reference=rows[1])
    # What is not looked at may hold anything.
    about = noise_covariance(network, holed, errors, reference=spectra)
    np.testing.assert_array_equal(about, noise_covariance(network, spectra, errors))


def test_no_spectrum_is_refused():
    with pytest.raises(InputError, match="expected at least one spectrum"):
        noise_covariance(linear()[1], np.ones((0, P)), np.ones((0, P)))


def test_a_single_spectrum_is_a_row():
    _, network = linear()
    x = np.ones(P)
    with pytest.raises(InputError, match=r"got shape \(6,\); .* a single one as spectrum\[None\]"):
        noise_covariance(network, x, x)
    expected = noise_covariance(network, x[None], x[None])
    np.testing.assert_array_equal(noise_covariance(network, [x.tolist()], [x.tolist()]), expected)
