"""The likelihood behind a loss."""

import numpy as np
import pytest
from scipy.stats import norm

from starstack.autodiff.batches import Batches
from starstack.curvature.likelihood import (
    Likelihood,
    log_probability,
    measure_likelihood,
    output_precision,
    precision_roots,
)
from starstack.errors import InputError


def test_normal_noise_is_that_of_scipy(oracle):
    model = oracle.network((4,), oracle.dense(2))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((13, 4)), rng.standard_normal((13, 2))
    weight = rng.integers(0, 3, 13)
    found = measure_likelihood(model, Batches(X, y, weight, batch_size=5), "mse")
    residuals = y - model(X).numpy()
    noise = np.array([0.3, 2.0])
    expected = (weight[:, None] * norm.logpdf(residuals, scale=noise)).sum()
    np.testing.assert_allclose(found.log_likelihood(noise), expected, rtol=1e-12)
    expected = np.sqrt(np.average(residuals**2, axis=0, weights=weight))
    np.testing.assert_allclose(found.residual_noise(), expected, rtol=1e-12)
    assert (found.n_rows, found.total_weight) == ((weight > 0).sum(), weight.sum())


@pytest.mark.parametrize("family", ["bernoulli", "categorical"])
def test_roots_make_the_hessian_of_the_loss(family):
    """By central differences of −log p, whatever the label."""
    logits, step = np.array([[0.3, -1.2, 2.0]]), 1e-4
    y = np.array([[0.0, 1.0, 0.0]])
    from starstack.curvature.likelihood import log_probability

    hessian, unit = np.empty((3, 3)), np.eye(3)
    for i in range(3):
        for j in range(3):
            corners = [
                s * t * log_probability(family, logits + step * (s * unit[i] + t * unit[j]), y)[0]
                for s in (1, -1)
                for t in (1, -1)
            ]
            hessian[i, j] = -sum(corners) / (4 * step**2)
    roots = precision_roots(family, logits)
    np.testing.assert_allclose(np.einsum("mni,mnj->ij", roots, roots), hessian, atol=1e-6)
    np.testing.assert_allclose(output_precision(family, logits, None)[0], hessian, atol=1e-6)


def test_sure_logits_stay_finite():
    roots = precision_roots("categorical", np.array([[900.0, -900.0]]))
    assert np.isfinite(roots).all()
    assert not precision_roots("bernoulli", np.array([[900.0]])).any()


def test_saved_sums_come_back():
    likelihood = Likelihood("gaussian", 2, 3, 2.5, (1.0, 4.0))
    assert Likelihood.from_json(likelihood.to_json()) == likelihood


def test_refusals():
    with pytest.raises(InputError, match="has none"):
        Likelihood("categorical", 3, 1, 1.0).residual_noise()
    likelihood = Likelihood("gaussian", 2, 3, 2.5, (1.0, 4.0))
    for noise in (0.0, [1.0], [1.0, np.nan], [1.0, -1.0], "q"):
        with pytest.raises(InputError, match="expected 2 positive"):
            likelihood.check_noise(noise)
    assert likelihood.check_noise(3).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("codes", [[0, 4], [-1, 2]])
def test_codes_of_no_class_are_refused(codes):
    with pytest.raises(InputError, match="expected codes from 0 to 3"):
        log_probability("categorical", np.zeros((2, 4)), codes)


BAD_TARGETS = {
    "codes of ±5": ("bernoulli", [[5.0], [-5.0]], "expected 0, 1 or probabilities between"),
    "too few": ("bernoulli", [[0.0, 1.0], [1.0, 0.0]], r"1 number\(s\) for each row"),
    "broken codes": ("categorical", [0.6, 1.6], "whole numbers as codes of the classes, got 0.6"),
    "shares of 7": ("categorical", [[3.0, 4.0, 0.0], [1.0, 0.0, 0.0]], "sums of 1 to 7"),
    "negative shares": ("categorical", [[2.0, -1.0, 0.0], [1.0, 0.0, 0.0]], "got -1 as"),
    "codes by place": ("categorical", [[0, 1], [1, 0]], r"got rows of shape \(2,\)"),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_labels_that_say_nothing_are_refused(case):
    family, y, message = BAD_TARGETS[case]
    logits = np.zeros((2, 1 if family == "bernoulli" else 3))
    with pytest.raises(InputError, match=message):
        log_probability(family, logits, np.array(y))


def test_smoothed_labels_are_labels():
    shares = np.full((2, 3), 0.05, dtype="float32") + 0.85 * np.eye(3, dtype="float32")[:2]
    found = log_probability("categorical", np.zeros((2, 3)), shares)
    np.testing.assert_allclose(found, -np.log(3), rtol=1e-6)
    found = log_probability("bernoulli", np.zeros((2, 1)), np.array([0.1, 0.9]))
    np.testing.assert_allclose(found, -np.log(2), rtol=1e-12)


def test_rows_without_weight_and_exact_fits_are_refused(oracle):
    model, X = oracle.network((4,), oracle.dense(2)), np.ones((3, 4))
    with pytest.raises(InputError, match="expected rows of positive weight"):
        measure_likelihood(model, Batches(X, np.ones((3, 2)), np.zeros(3)), "mse")
    y = np.add(model(X).numpy(), [[0.0, 1.0]])
    with pytest.raises(InputError, match=r"zeros in output\(s\) 0, .* give the standard"):
        measure_likelihood(model, Batches(X, y), "mse").residual_noise()
    with pytest.raises(InputError, match=r"targets: expected 2 number\(s\) .* shape \(3,\)"):
        measure_likelihood(model, Batches(X, np.ones((3, 3))), "mse")
