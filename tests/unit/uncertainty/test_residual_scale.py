import numpy as np
import pytest

from starstack.uncertainty.residual_scale import fit_scale


def test_scales_follow_the_ratio_and_the_prediction_label_by_label():
    rng = np.random.default_rng(1)
    n = 3000
    snr = np.exp(rng.uniform(np.log(20), np.log(300), n))
    predicted = np.column_stack([rng.uniform(4000, 6000, n), rng.uniform(0, 5, n)])
    sigma = np.column_stack([3000 / snr, np.where(predicted[:, 1] > 2.5, 0.4, 0.1)])
    scale = fit_scale(rng.normal(size=(n, 2)) * sigma, predicted, snr)
    found = scale(np.array([[5000, 1.0], [5000, 4.0]]), np.array([30.0, 200.0]))
    assert found[0, 0] / found[1, 0] == pytest.approx(200 / 30, rel=0.3)
    assert found[1, 1] / found[0, 1] == pytest.approx(4, rel=0.3)


def test_a_perfect_prediction_has_a_scale_above_zero():
    rng = np.random.default_rng(2)
    errors = np.where(rng.random((300, 1)) < 0.5, 0.0, 1.0)
    scale = fit_scale(errors, rng.normal(size=(300, 1)), None)
    assert (scale(np.zeros((3, 1)), None) > 0).all()
    assert (fit_scale(0 * errors, errors, None)(errors, None) > 0).all()
