"""Cross-entropies: the Fisher matrix at the logits, whatever the network ends in."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from starstack.autodiff.batches import Batches
from starstack.curvature.structures import laplace

CLASSIFIERS = {
    "binary": (1, "sigmoid", "binary_crossentropy"),
    "several labels": (3, "sigmoid", "binary_crossentropy"),
    "classes": (3, "softmax", "sparse_categorical_crossentropy"),
    "one-hot classes": (3, "softmax", "categorical_crossentropy"),
    "logits": (3, "linear", keras.losses.CategoricalCrossentropy(from_logits=True)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("structure", ["block", "diagonal", "kfac"])
def test_classifiers_have_the_fisher_matrix_at_the_logits(oracle, structure, name):
    k, link, loss = CLASSIFIERS[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((25, 4))
    y = rng.integers(0, 2, (25, k)) if link == "sigmoid" else rng.integers(0, k, 25)
    if name in ("one-hot classes", "logits"):
        y = np.eye(3)[y]
    model = oracle.network((4,), oracle.dense(3, "tanh"), oracle.dense(k, link))
    data = Batches(X, y.astype(float), batch_size=16)
    posterior = laplace(model, data, structure=structure, loss=loss, prior_precision=0.5)
    hidden = np.tanh(X @ model.get_weights()[0] + model.get_weights()[1])
    logits = hidden @ model.get_weights()[2] + model.get_weights()[3]
    if link == "sigmoid":
        p = expit(logits)
        curvature = np.einsum("nc,cd->ncd", p * (1 - p), np.eye(k))
        chance = np.where(y == 1, p, 1 - p).prod(axis=1)
    else:
        p = softmax(logits, axis=1)
        curvature = np.einsum("nc,cd->ncd", p, np.eye(k)) - p[:, :, None] * p[:, None, :]
        chance = (p * (y if y.ndim == 2 else np.eye(k)[y])).sum(axis=1)
    np.testing.assert_allclose(
        posterior.likelihood.log_likelihood(), np.log(chance).sum(), rtol=1e-10
    )
    np.testing.assert_allclose(posterior.outputs(X), logits, rtol=1e-10)
    exact = oracle.gauss_newton(model, X, curvature, logits=True)
    exact = oracle.within_layers(model, exact) + 0.5 * np.eye(len(exact))
    covered = posterior.is_covered()
    found = oracle.precision_of(posterior)
    if structure == "kfac":
        # By its definition, layer by layer.
        first, second = np.split(np.arange(len(exact)), [15])
        block = found[np.ix_(second, second)]
        A = np.column_stack([hidden, np.ones(25)])
        G = curvature.sum(axis=0)
        expected = np.kron(A.T @ A, G) / 25 + 0.5 * np.eye(len(second))
        np.testing.assert_allclose(block, expected, rtol=1e-9, atol=1e-9)
        assert not found[np.ix_(first, second)].round(8).any()
    elif structure == "diagonal":
        oracle.assert_close(found, np.diag(np.diag(exact)))
    else:
        np.testing.assert_allclose(found, exact[np.ix_(covered, covered)], rtol=1e-8, atol=1e-9)
    at = rng.standard_normal((3, 4))
    np.testing.assert_allclose(
        posterior.predictive_covariance(at), oracle.predictive(posterior, at), rtol=1e-9, atol=1e-14
    )
    assert posterior.noise is None
