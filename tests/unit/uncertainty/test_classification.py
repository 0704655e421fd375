"""Probabilities under uncertain logits, against quadrature and direct differentiation."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit, softmax

from starstack.errors import InputError
from starstack.uncertainty.classification import (
    binary_logit,
    monte_carlo_predictive,
    probit_predictive,
    softmax_logits,
)


def quadrature(logit, variance):
    nodes, weights = hermegauss(80)
    return weights @ expit(logit + np.sqrt(variance) * nodes) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("logit", [-3.0, -0.5, 0.0, 2.0])
@pytest.mark.parametrize("variance", [0.0, 0.3, 2.0, 9.0])
def test_probit_is_near_the_integral(logit, variance):
    found = probit_predictive(np.array([logit]), np.array([variance]))[0]
    assert found == pytest.approx(quadrature(logit, variance), abs=0.02)
    if variance == 0:
        assert found == pytest.approx(expit(logit), abs=1e-15)


def test_uncertain_logits_draw_towards_one_half():
    found = probit_predictive(np.full(3, 2.0), np.array([0.0, 1.0, 1e6]))
    assert found[0] > found[1] > found[2] == pytest.approx(0.5, abs=0.01)


def test_monte_carlo_of_two_classes_is_the_integral():
    """Softmax of two logits is the sigmoid of their difference."""
    covariance = np.array([[1.0, -0.5], [-0.5, 2.0]])
    found, error = monte_carlo_predictive(
        np.array([[0.3, 1.5]]), covariance[None], n_draws=20_000, seed=1
    )
    truth = quadrature(1.2, 1 + 2 + 1)
    assert abs(found[0, 1] - truth) < 4 * error[0, 1]
    assert 1e-4 < error[0, 1] < 5e-3
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_the_standard_error_is_that_of_repetitions():
    covariance = np.array([[[2.0, 0.5, 0], [0.5, 1.0, 0], [0, 0, 3.0]]])
    logits = np.array([[0.0, 1.0, -1.0]])
    runs = [monte_carlo_predictive(logits, covariance, n_draws=200, seed=s) for s in range(200)]
    scatter = np.std([p for p, _ in runs], axis=0)
    np.testing.assert_allclose(scatter, np.mean([e for _, e in runs], axis=0), rtol=0.25)


def test_no_uncertainty_changes_nothing():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    found, error = monte_carlo_predictive(logits, np.zeros((5, 4, 4)), n_draws=10)
    np.testing.assert_allclose(found, softmax(logits, axis=1), rtol=1e-12)
    assert error.max() < 1e-8


def test_logits_from_probabilities():
    """Covariances of outputs become those of logits as a sigmoid or softmax would map them."""
    logit, variance = np.array([-1.0, 0.7]), np.array([0.04, 0.09])
    p = expit(logit)
    back, back_variance = binary_logit(p, variance * (p * (1 - p)) ** 2)
    np.testing.assert_allclose((back, back_variance), (logit, variance))

    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 4))
    logits -= logits.mean(axis=1, keepdims=True)
    centring = np.eye(4) - 0.25
    root = centring @ rng.normal(size=(4, 4))
    covariance = root @ root.T
    p = softmax(logits, axis=1)
    slope = np.einsum("nc,cd->ncd", p, np.eye(4)) - p[:, :, None] * p[:, None, :]
    moved = slope @ covariance @ slope.swapaxes(1, 2)
    found, found_covariance = softmax_logits(p, moved)
    np.testing.assert_allclose(found, logits, atol=1e-12)
    np.testing.assert_allclose(found_covariance, np.stack([covariance] * 3), atol=1e-10)


def test_what_is_refused():
    with pytest.raises(InputError, match="negative"):
        probit_predictive(np.zeros(1), np.array([-1.0]))
    with pytest.raises(InputError, match=r"expected \(1, 2, 2\)"):
        monte_carlo_predictive(np.zeros((1, 2)), np.zeros((1, 3, 3)))
