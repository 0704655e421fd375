"""The temperature: found again where it is known, one where probabilities are true."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from starstack.errors import InputError
from starstack.uncertainty.temperature import HIGHEST, LOWEST, fit_temperature


def drawn(n=3000, c=4, seed=0):
    """True probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    p = softmax(2 * rng.standard_normal((n, c)), axis=1)
    return p, (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


def test_it_is_one_for_true_probabilities_and_found_again_for_sharpened_ones():
    p, codes = drawn()
    found = fit_temperature(p, codes)
    assert abs(found.value - 1) < 4 * found.standard_error
    assert 0.005 < found.standard_error < 0.05
    sharp = softmax(2.5 * np.log(p), axis=1)
    again = fit_temperature(sharp, codes)
    assert again.value == pytest.approx(2.5 * found.value, rel=1e-6)
    np.testing.assert_allclose(again.apply(sharp), found.apply(p), rtol=1e-6)
    # The unit of a temperature is that of the logits.
    assert again.standard_error == pytest.approx(2.5 * found.standard_error, rel=1e-6)


def test_it_has_the_smallest_log_loss():
    p, codes = drawn(n=300)
    p = p**1.7 / (p**1.7).sum(axis=1, keepdims=True)

    def loss(t):
        return -log_softmax(np.log(p) / t, axis=1)[np.arange(300), codes].mean()

    found = fit_temperature(p, codes)
    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-10})
    assert found.value == pytest.approx(best.x, rel=1e-5)
    assert found.log_loss_after == pytest.approx(best.fun, abs=1e-12) == loss(found.value)
    assert found.log_loss_before == pytest.approx(loss(1.0))
    assert found.log_loss_before > found.log_loss_after
    assert found.n == 300


def test_its_error_is_that_of_repetitions():
    found = [fit_temperature(*drawn(n=200, seed=seed)) for seed in range(150)]
    scatter = np.std([each.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(scatter, rel=0.2)


def test_the_most_probable_class_stays():
    p, codes = drawn(n=200)
    scaled = fit_temperature(p, codes).apply(p)
    assert (scaled.argmax(axis=1) == p.argmax(axis=1)).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(("right", "end"), [(True, LOWEST), (False, HIGHEST)])
def test_an_end_of_the_range_is_said(caplog, right, end):
    """Where every row is right, the more certain the better."""
    p = np.array([[0.3, 0.7], [0.6, 0.4]])
    codes = np.array([1, 0]) if right else np.array([0, 1])
    found = fit_temperature(p, codes, "kfac, probit")
    assert found.value == pytest.approx(end)
    assert np.isnan(found.standard_error)
    assert "temperature of kfac, probit: the best for 2 calibration rows" in caplog.text


def test_a_probability_of_zero_is_no_nan():
    p, codes = drawn(n=50)
    p[0] = [1, 0, 0, 0]
    codes[0] = 1
    found = fit_temperature(p, codes)
    assert np.isfinite(found.log_loss_before)
    assert np.isfinite(found.apply(p)).all()


@pytest.mark.parametrize("code", [-1, 4])
def test_codes_of_no_class(code):
    with pytest.raises(InputError, match=f"codes of classes from 0 to 3, got {code};"):
        fit_temperature(np.full((2, 4), 0.25), np.array([0, code]))


def test_rows_are_needed():
    with pytest.raises(InputError, match="at least one, got"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0))


@pytest.mark.parametrize("code", [0.5, np.nan])
def test_codes_that_are_no_whole_numbers(code):
    with pytest.raises(InputError, match=f"codes of classes from 0 to 3, got {code};"):
        fit_temperature(np.full((2, 4), 0.25), [0, code])


@pytest.mark.parametrize("wrong", [np.nan, -0.7, 3.0])
def test_what_is_no_probability_is_refused(wrong):
    """NaN had the lowest temperature of all, and logits had one of their own."""
    probabilities = np.full((3, 2), 0.5)
    probabilities[1, 0] = wrong
    with pytest.raises(InputError, match=f"from 0 to 1, got {wrong:g} in row 1; give what comes"):
        fit_temperature(probabilities.tolist(), [0, 1, 1])
