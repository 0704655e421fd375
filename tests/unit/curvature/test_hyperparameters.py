"""σ and δ: chosen where they are known, and a warning where the grid ends."""

import logging

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from starstack.autodiff.batches import Batches
from starstack.curvature.hyperparameters import (
    choose_prior_precision,
    held_out_scores,
    residual_noise,
)
from starstack.curvature.structures import laplace
from starstack.errors import InputError


def regression(oracle, n, sigma, delta, seed=0, width=8):
    """Draw weights from the prior, data from them, and put the ridge solution into a network."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((width + 1, 1)) / np.sqrt(delta)
    X = rng.standard_normal((n + 2000, width))
    A = np.column_stack([X, np.ones(len(X))])
    y = A @ weights + sigma * rng.standard_normal((len(X), 1))
    fit = A[:n]
    ridge = np.linalg.solve(fit.T @ fit + sigma**2 * delta * np.eye(width + 1), fit.T @ y[:n])
    model = oracle.network((width,), oracle.dense(1))
    model.set_weights([ridge[:-1], ridge[-1]])
    return model, Batches(X[:n], y[:n]), Batches(X[n:], y[n:])


def test_scores_are_of_the_predictive_distribution(oracle):
    """By SciPy's density and optimiser, with what is known of each row."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    model = oracle.network((3,), oracle.dense(2))
    root = rng.standard_normal((60, 2, 2))
    known = root @ root.transpose(0, 2, 1)
    noise = np.einsum("nij,nj->ni", root, rng.standard_normal((60, 2)))
    noise += [0.5, 0.8] * rng.standard_normal((60, 2))
    y = model(X).numpy()
    y[20:] += noise
    posterior = laplace(model, Batches(X[:20], y[:20]), noise=[0.3, 0.4], prior_precision=2.0)
    covariance = posterior.predictive_covariance(X[20:]) + known

    def log_likelihood(log_s):
        added = np.diag(np.exp(2 * log_s))
        return np.array(
            [
                multivariate_normal(cov=c + added).logpdf(r)
                for c, r in zip(covariance, noise, strict=True)
            ]
        )

    best = minimize(lambda log_s: -log_likelihood(log_s).sum(), np.zeros(2), tol=1e-10)
    held_out = Batches(X[20:], y[20:])
    scores = held_out_scores(posterior, held_out, known=known)
    np.testing.assert_allclose(scores, log_likelihood(best.x), atol=1e-4)
    choice = choose_prior_precision(posterior, held_out, known=known, grid=[2.0])
    np.testing.assert_allclose(choice.scatter, np.exp(best.x), rtol=1e-4)
    assert (choice.n_rows, choice.score) == (60, pytest.approx(scores.mean()))


def test_rows_of_different_noise_do_not_pass_for_uncertain_weights(oracle):
    """A row's noise, where known, is not taken up by the variance of the weights.

    Noise is large where the variance of the weights is large, at the outskirts.
    """
    rng = np.random.default_rng(0)
    n, width, delta, sigma = 30, 100, 1.0, 0.3
    X = rng.standard_normal((n + 3000, width)) * rng.choice([0.5, 2.0], (n + 3000, 1))
    A = np.column_stack([X, np.ones(len(X))])
    weights = rng.standard_normal((width + 1, 1)) / np.sqrt(delta)
    spread = np.sqrt(3) * np.linalg.norm(X, axis=1)
    spread[:n] = 0
    y = A @ weights + np.hypot(sigma, spread)[:, None] * rng.standard_normal((len(X), 1))
    fit = A[:n]
    ridge = np.linalg.solve(fit.T @ fit + sigma**2 * delta * np.eye(width + 1), fit.T @ y[:n])
    model = oracle.network((width,), oracle.dense(1))
    model.set_weights([ridge[:-1], ridge[-1]])
    posterior = laplace(model, Batches(X[:n], y[:n]), noise=sigma)
    held_out, grid = Batches(X[n:], y[n:]), np.logspace(-2, 2, 17)
    known = (spread[n:] ** 2)[:, None, None]
    told = choose_prior_precision(posterior, held_out, known=known, grid=grid)
    # One draw of 71 unseen weights and 3,000 rows: 0.1 in log₁₀ δ, and a grid of steps of 0.25.
    assert abs(np.log10(told.prior_precision / delta)) < 0.35
    untold = choose_prior_precision(posterior, held_out, grid=grid)
    assert np.log10(untold.prior_precision / delta) < -0.45


@pytest.mark.parametrize("delta", [0.01, 1e3])
def test_rounding_of_the_variance_does_no_harm(oracle, delta):
    """Perfect predictions, and a variance that is all but zero or rounded."""
    model, fitted, held_out = regression(oracle, 12, 1e-6, 2.0)
    posterior = laplace(model, fitted, noise=1e-6, prior_precision=delta)
    assert np.isfinite(held_out_scores(posterior, held_out)).all()


def test_noise_is_found_in_the_residuals(oracle):
    model, _, held_out = regression(oracle, 4000, 0.7, 1.0)
    found = residual_noise(model, held_out)
    # σ of 2,000 residuals has the standard error σ/√4000.
    np.testing.assert_allclose(found, 0.7, atol=4 * 0.7 / np.sqrt(4000))


@pytest.mark.parametrize("delta", [0.1, 30.0])
def test_marginal_likelihood_finds_the_prior_that_the_weights_come_from(oracle, delta):
    """With 400 weights, δ is known to √(2/400) of itself."""
    model, fitted, _ = regression(oracle, 3000, 0.1, delta, width=400)
    posterior = laplace(model, fitted, noise=0.1)
    grid = delta * np.logspace(-1, 1, 21)
    choice = choose_prior_precision(posterior, grid=grid, criterion="marginal_likelihood")
    assert abs(np.log(choice.prior_precision / delta)) < 4 * np.sqrt(2 / 400) + 0.12
    assert not choice.at_edge
    assert choice.posterior.prior_precision == choice.prior_precision
    assert choice.score == max(score for _, score in choice.tried)


def test_held_out_likelihood_peaks_where_the_variance_is_right(oracle):
    """Few rows: the posterior's variance counts, and δ of the data is nearly the best."""
    model, fitted, held_out = regression(oracle, 10, 0.3, 1.0, width=40)
    posterior = laplace(model, fitted, noise=0.3)
    choice = choose_prior_precision(posterior, held_out, grid=np.logspace(-3, 3, 13))
    assert 10**-1.1 < choice.prior_precision < 10**1.1
    right = held_out_scores(posterior.with_hyperparameters(prior_precision=1.0), held_out).mean()
    assert right <= choice.score < right + 0.3
    np.testing.assert_allclose(held_out_scores(choice.posterior, held_out).mean(), choice.score)


def test_layers_get_values_of_their_own(oracle):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 5))
    model = oracle.network((5,), oracle.dense(6, "tanh"), oracle.dense(2))
    y = model(X).numpy() + 0.2 * rng.standard_normal((600, 2))
    posterior = laplace(model, Batches(X[:60], y[:60]), noise=0.2)
    held_out = Batches(X[60:], y[60:])
    grid = np.logspace(-2, 6, 5)
    common = choose_prior_precision(posterior, held_out, grid=grid)
    choice = choose_prior_precision(posterior, held_out, grid=grid, per_layer=True)
    assert choice.score >= common.score
    assert set(choice.prior_precision) == set(posterior.layers)
    assert choice.tried == common.tried


def test_an_end_of_the_grid_is_told(oracle, caplog):
    model, fitted, held_out = regression(oracle, 10, 0.3, 1.0, width=40)
    posterior = laplace(model, fitted, noise=0.3)
    with caplog.at_level(logging.WARNING, logger="starstack"):
        choice = choose_prior_precision(posterior, held_out, grid=[1e-6, 1e-5])
    assert choice.at_edge == (1e-5,)
    assert "an end of the grid" in caplog.text


def test_classes_are_scored_with_their_uncertain_logits(oracle):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    model = oracle.network((3,), oracle.dense(3, "softmax"))
    y = np.arange(30) % 3
    posterior = laplace(model, Batches(X, y), loss="sparse_categorical_crossentropy")
    scores = held_out_scores(posterior, Batches(X, y))
    sure = held_out_scores(posterior.with_hyperparameters(prior_precision=1e12), Batches(X, y))
    p = model(X).numpy()
    np.testing.assert_allclose(sure, np.log(p[np.arange(30), y]), rtol=1e-6)
    # Uncertain logits pull the probabilities together: wrong ones cost less.
    worst = sure.argmin()
    assert scores[worst] > sure[worst]


def test_refusals(oracle):
    model, fitted, held_out = regression(oracle, 10, 0.3, 1.0)
    posterior = laplace(model, fitted, noise=0.3)
    with pytest.raises(InputError, match="held-out rows"):
        choose_prior_precision(posterior)
    for grid in ([], [0.0, 1.0], [2.0, 1.0], [np.inf]):
        with pytest.raises(InputError, match="positive rising"):
            choose_prior_precision(posterior, held_out, grid=grid)
    with pytest.raises(InputError, match="expected one of held_out"):
        choose_prior_precision(posterior, held_out, criterion="luck")
    with pytest.raises(InputError, match="one matrix for each of the 2000"):
        choose_prior_precision(posterior, held_out, known=np.ones((3, 1, 1)))
    for grid in ("abc", 3.0, None):
        with pytest.raises(InputError, match=r"grid of prior precisions: .* correct it"):
            choose_prior_precision(posterior, held_out, grid=grid)
    with pytest.raises(InputError, match="targets"):
        held_out_scores(posterior, Batches(np.ones((3, 8))))


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, "wide"])
def test_held_out_targets_that_say_nothing_are_refused(oracle, wrong, classes):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    model = oracle.network((3,), oracle.dense(2, "softmax" if classes else "linear"))
    y = np.eye(2)[np.arange(20) % 2] + (0 if classes else rng.standard_normal((20, 2)))
    loss = "categorical_crossentropy" if classes else "mse"
    posterior = laplace(model, (X, y), loss=loss, noise=None if classes else 0.5)
    bad = np.concatenate([y, y[:, :1]], axis=1) if wrong == "wide" else y.copy()
    message = "codes? for each row" if classes else r"2 number\(s\) for each row"
    if wrong != "wide":
        bad[3, 0], message = wrong, "targets: expected finite numbers"
    for call in (choose_prior_precision, held_out_scores):
        with pytest.raises(InputError, match=message):
            call(posterior, (X, bad))
    # A row of weight zero is left out.
    if wrong != "wide":
        weight = np.ones(20)
        weight[3] = 0
        assert len(held_out_scores(posterior, (X, bad, weight))) == 19


@pytest.mark.parametrize("value", [np.nan, np.inf, "a"])
def test_a_known_covariance_that_is_no_number_is_refused(oracle, value):
    model, fitted, held_out = regression(oracle, 10, 0.3, 1.0)
    posterior = laplace(model, fitted, noise=0.3)
    with pytest.raises(InputError, match="known covariances of finite numbers"):
        choose_prior_precision(posterior, held_out, known=np.full((2000, 1, 1), value))


def test_rows_may_be_a_tuple(oracle):
    rng = np.random.default_rng(0)
    model, X, y = oracle.network((3,), oracle.dense(2)), *rng.standard_normal((2, 20, 3))
    y, weight = y[:, :2], rng.uniform(0, 2, 20)
    data = Batches(X, y, weight)
    posterior = laplace(model, data, noise=0.3)
    np.testing.assert_array_equal(
        residual_noise(model, (X, y, weight)), residual_noise(model, data)
    )
    np.testing.assert_array_equal(
        held_out_scores(posterior, (X, y, weight)), held_out_scores(posterior, data)
    )
    one, two = (choose_prior_precision(posterior, rows) for rows in ((X, y, weight), data))
    assert (one.score, one.tried) == (two.score, two.tried)


def test_a_row_of_weight_two_counts_as_two_rows(oracle):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    y[:5] *= 10
    model = oracle.network((3,), oracle.dense(2))
    posterior = laplace(model, (X, y), noise=0.3)
    weight = rng.integers(0, 4, 30)
    times = np.repeat(np.arange(30), weight)
    found = choose_prior_precision(posterior, (X, y, weight))
    expected = choose_prior_precision(posterior, (X[times], y[times]))
    np.testing.assert_allclose(found.tried, expected.tried, rtol=1e-9)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-9)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (-np.eye(2), "has variances"),
        ([[1.0, 2.0], [2.0, 1.0]], "has a correlation matrix with the eigenvalue -1"),
        ([[1.0, 0.5], [0.0, 1.0]], "has covariances .*, and a symmetric matrix"),
    ],
)
def test_a_known_matrix_that_is_no_covariance_is_named_by_its_row(oracle, matrix, words):
    """By its row among all that were given, those of weight zero too."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    posterior = laplace(oracle.network((3,), oracle.dense(2)), (X, y), noise=0.5)
    weight = np.ones(20)
    weight[[2, 9]] = 0
    known = np.stack([0.1 * np.eye(2)] * 18)
    known[10] = matrix
    for call in (choose_prior_precision, held_out_scores):
        with pytest.raises(InputError, match=f"known covariance of held-out row 12 {words}"):
            call(posterior, Batches(X, y, weight, batch_size=7), known=known)
    # What rounding leaves of a covariance that is zero is none of these.
    rounding = np.broadcast_to([[-1e-16, 3e-16], [-2e-16, 1e-16]], (18, 2, 2))
    assert np.isfinite(held_out_scores(posterior, (X, y, weight), known=rounding)).all()


@pytest.mark.parametrize("batch_size", [3, 256])
def test_a_held_out_row_that_is_not_finite_is_named_by_its_own_number(oracle, batch_size):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    posterior = laplace(oracle.network((3,), oracle.dense(2)), (X, y), noise=0.5)
    weight = np.ones(20)
    weight[[2, 9]] = 0
    X[13, 1] = X[2, 0] = np.nan
    for call in (choose_prior_precision, held_out_scores):
        with pytest.raises(InputError, match="got NaN or infinity in row 13;"):
            call(posterior, Batches(X, y, weight, batch_size=batch_size))
