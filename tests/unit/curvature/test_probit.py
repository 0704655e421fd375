"""The probit approximation against integrals."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from starstack.curvature.probit import probit_logits

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(200)


@pytest.mark.parametrize("mean", [-4.0, -0.5, 0.0, 1.0, 6.0])
@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0])
def test_a_sigmoid_is_near_its_expectation(mean, variance):
    exact = WEIGHTS @ expit(mean + np.sqrt(variance) * NODES) / WEIGHTS.sum()
    found = probit_logits("bernoulli", np.array([[mean]]), np.array([[[variance]]]))
    assert abs(expit(found[0, 0]) - exact) < 0.02


def test_sigmoids_of_several_labels_do_not_touch_each_other():
    logits, covariance = np.array([[1.0, -2.0]]), np.array([[[4.0, 1.9], [1.9, 1.0]]])
    expected = logits / np.sqrt(1 + np.pi / 8 * np.array([4.0, 1.0]))
    np.testing.assert_allclose(probit_logits("bernoulli", logits, covariance), expected)


def test_what_all_logits_of_a_softmax_share_changes_nothing():
    rng = np.random.default_rng(2)
    logits, root = rng.normal(size=(5, 4)), rng.normal(size=(5, 4, 4))
    covariance = root @ root.swapaxes(1, 2)
    plain = softmax(probit_logits("categorical", logits, covariance), axis=1)
    shared = softmax(probit_logits("categorical", logits + 3.0, covariance + 50.0), axis=1)
    np.testing.assert_allclose(shared, plain, rtol=1e-9)
    certain = softmax(probit_logits("categorical", logits, 0 * covariance), axis=1)
    np.testing.assert_allclose(certain, softmax(logits, axis=1), rtol=1e-12)
