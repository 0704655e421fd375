"""The negative log-likelihood of rows against SciPy's distributions and Keras's losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from scipy.stats import bernoulli, norm

from starstack.curvature.likelihood import Likelihood
from starstack.curvature.likelihood_losses import likelihood_loss, term_losses, term_scales

N, K = 6, 3
RNG = np.random.default_rng(0)
Z = 3 * RNG.standard_normal((N, K))


def likelihood(family):
    squares = (1.0,) * K if family == "gaussian" else ()
    return Likelihood(family, K, N, float(N), squares)


def values(loss, y, z=Z):
    return loss(tf.constant(y), tf.constant(z)).numpy()


def test_normal_noise_differs_from_the_density_by_a_constant():
    noise, y = np.array([0.5, 1.0, 3.0]), RNG.standard_normal((N, K))
    loss = likelihood_loss(likelihood("gaussian"), term_scales(likelihood("gaussian"), noise))
    density = -norm.logpdf(y, Z, noise).sum(axis=1)
    np.testing.assert_allclose(
        values(loss, y) + np.log(np.sqrt(2 * np.pi) * noise).sum(), density, rtol=1e-12
    )


def test_terms_add_up_to_the_whole():
    scales, y = np.array([4.0, 1.0, 0.1]), RNG.standard_normal((N, K))
    whole = values(likelihood_loss(likelihood("gaussian"), scales), y)
    terms = [values(loss, y) for loss in term_losses(likelihood("gaussian"))]
    np.testing.assert_allclose(scales @ terms, whole, rtol=1e-12)
    assert len(term_losses(likelihood("categorical"))) == 1


def test_bernoulli_outputs():
    y = RNG.integers(0, 2, (N, K)).astype(float)
    found = values(likelihood_loss(likelihood("bernoulli"), [1.0]), y)
    np.testing.assert_allclose(found, -bernoulli.logpmf(y, expit(Z)).sum(axis=1), rtol=1e-10)


@pytest.mark.parametrize("form", ["codes", "column of codes", "floating codes", "shares"])
def test_classes_equal_cross_entropy_of_keras(form):
    codes = RNG.integers(0, K, N)
    y = {
        "codes": codes,
        "column of codes": codes[:, None],
        "floating codes": codes.astype(float),
        "shares": np.eye(K)[codes],
    }[form]
    found = values(likelihood_loss(likelihood("categorical"), [1.0]), y)
    expected = keras.losses.sparse_categorical_crossentropy(codes, Z, from_logits=True)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10)


@pytest.mark.parametrize("family", ["gaussian", "bernoulli", "categorical"])
def test_outputs_of_another_rank_count_as_they_do_flat(family):
    rng, scales = np.random.default_rng(3), [1.0]
    y = rng.integers(0, 2, (N, K)).astype(float)
    z, targets = (Z[:, :, None], y[:, :, None])
    if family == "gaussian":
        scales = [4.0, 1.0, 0.1]
    if family == "categorical":
        y = targets = rng.integers(0, K, N)
        z = Z[:, None]
    loss = likelihood_loss(likelihood(family), scales)
    np.testing.assert_allclose(values(loss, targets, z), values(loss, y), rtol=1e-12)
