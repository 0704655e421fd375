"""Probabilities under uncertain logits, against quadrature and closed forms."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit, softmax

from starstack.errors import InputError
from starstack.uncertainty.classification import (
    both_logits,
    monte_carlo_predictive,
    probit_predictive,
)

THREE = np.array([[0.3, 1.5, -0.7]])
COVARIANCE = np.array([[[1.0, -0.5, 0.2], [-0.5, 2.0, 0.3], [0.2, 0.3, 0.8]]])


def quadrature(logit, variance):
    """E[σ(d)] of two classes."""
    nodes, weights = hermegauss(80)
    return weights @ expit(logit + np.sqrt(variance) * nodes) / np.sqrt(2 * np.pi)


def quadrature_of_three(logits, covariance):
    """E[softmax] of three classes, on a grid of three dimensions."""
    nodes, weights = hermegauss(30)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    weight = np.prod(np.stack(np.meshgrid(weights, weights, weights), axis=-1), axis=-1).ravel()
    drawn = logits + grid @ np.linalg.cholesky(covariance).T
    return weight @ softmax(drawn, axis=1) / weight.sum()


def binary(logit, variance):
    return both_logits(np.array([[logit]]), np.array([[[variance]]]))


@pytest.mark.parametrize("logit", [-3.0, -0.5, 0.0, 2.0])
@pytest.mark.parametrize("variance", [0.0, 0.3, 2.0, 9.0])
def test_probit_of_two_classes_is_mackays_and_near_the_integral(logit, variance):
    found = probit_predictive(*binary(logit, variance))[0]
    mackay = expit(logit / np.sqrt(1 + np.pi * variance / 8))
    np.testing.assert_allclose(found, [1 - mackay, mackay], rtol=1e-12)
    assert found[1] == pytest.approx(quadrature(logit, variance), abs=0.02)


def test_uncertain_logits_draw_towards_one_half():
    found = [probit_predictive(*binary(2.0, v))[0, 1] for v in (0.0, 1.0, 1e6)]
    assert found[0] > found[1] > found[2] == pytest.approx(0.5, abs=0.01)


def test_probit_of_three_classes_is_nearer_to_the_integral_than_no_variance():
    found, truth = (
        probit_predictive(THREE, COVARIANCE)[0],
        quadrature_of_three(THREE, COVARIANCE[0]),
    )
    np.testing.assert_allclose(found, truth, atol=0.04)
    assert found.sum() == pytest.approx(1, abs=1e-14)
    for scale in (0.01, 0.1, 0.5):
        truth = quadrature_of_three(THREE, scale * COVARIANCE[0])
        near = np.abs(probit_predictive(THREE, scale * COVARIANCE)[0] - truth).max()
        assert near < 0.5 * np.abs(softmax(THREE[0]) - truth).max()


def test_monte_carlo_is_the_integral():
    found, error = monte_carlo_predictive(THREE, COVARIANCE, n_draws=20_000, seed=1)
    truth = quadrature_of_three(THREE, COVARIANCE[0])
    assert (np.abs(found[0] - truth) < 4 * error[0]).all()
    assert 1e-4 < error.min() < error.max() < 5e-3
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_monte_carlo_of_two_classes_is_that_of_the_difference():
    """Softmax of two logits is the sigmoid of their difference."""
    covariance = np.array([[1.0, -0.5], [-0.5, 2.0]])
    found, error = monte_carlo_predictive(
        np.array([[0.3, 1.5]]), covariance[None], n_draws=20_000, seed=1
    )
    assert abs(found[0, 1] - quadrature(1.2, 1 + 2 + 1)) < 4 * error[0, 1]


def test_the_standard_error_is_that_of_repetitions():
    covariance = np.array([[[2.0, 0.5, 0], [0.5, 1.0, 0], [0, 0, 3.0]]])
    logits = np.array([[0.0, 1.0, -1.0]])
    runs = [monte_carlo_predictive(logits, covariance, n_draws=200, seed=s) for s in range(200)]
    scatter = np.std([p for p, _ in runs], axis=0)
    np.testing.assert_allclose(scatter, np.mean([e for _, e in runs], axis=0), rtol=0.25)


def test_what_all_logits_share_changes_nothing():
    """Neither a number added to all logits nor its variance: a softmax sees differences."""
    common = 7.0 * np.ones((1, 3, 3))
    plain = probit_predictive(THREE, COVARIANCE)
    np.testing.assert_allclose(probit_predictive(THREE + 40.0, COVARIANCE), plain, rtol=1e-10)
    np.testing.assert_allclose(probit_predictive(THREE, COVARIANCE + common), plain, rtol=1e-10)
    drawn, _ = monte_carlo_predictive(THREE, COVARIANCE, n_draws=200, seed=3)
    moved, _ = monte_carlo_predictive(THREE + 40.0, COVARIANCE, n_draws=200, seed=3)
    np.testing.assert_allclose(moved, drawn, rtol=1e-10)


def test_no_uncertainty_changes_nothing():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    found, error = monte_carlo_predictive(logits, np.zeros((5, 4, 4)), n_draws=10)
    np.testing.assert_allclose(found, softmax(logits, axis=1), rtol=1e-12)
    assert error.max() < 1e-8
    nearly = probit_predictive(logits, 1e-14 * np.eye(4) * np.ones((5, 1, 1)))
    np.testing.assert_allclose(nearly, softmax(logits, axis=1), rtol=1e-12)


def test_logits_too_large_for_an_exponential():
    found = probit_predictive(np.array([[0.0, 2000.0, 0.0]]), np.zeros((1, 3, 3)))
    assert found.tolist() == [[0.0, 1.0, 0.0]]


def test_what_is_refused():
    with pytest.raises(InputError, match="negative"):
        probit_predictive(np.zeros((1, 2)), -np.eye(2)[None])
    with pytest.raises(InputError, match=r"expected \(1, 2, 2\)"):
        monte_carlo_predictive(np.zeros((1, 2)), np.zeros((1, 3, 3)))


@pytest.mark.parametrize("n_draws", [-5, 0, 3])
def test_too_few_draws_are_refused(n_draws):
    with pytest.raises(InputError, match=f"n_draws is {n_draws}; expected 4 or more"):
        monte_carlo_predictive(np.zeros((1, 2)), np.eye(2)[None], n_draws=n_draws)


@pytest.mark.parametrize("predict", [probit_predictive, monte_carlo_predictive])
def test_logits_are_a_finite_table(predict):
    with pytest.raises(InputError, match=r"logits: expected finite .* got shape \(2,\); correct"):
        predict(np.zeros(2), np.eye(2)[None])
    with pytest.raises(InputError, match=r"got shape \(1, 2\) with NaN or infinity; correct"):
        predict(np.array([[0.0, np.nan]]), np.eye(2)[None])
