"""Scatter beside known covariances: SciPy's density and optimiser, and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from starstack.curvature.scatter import fit_scatter, normal_log_density


def made(n=200, k=3, s=(0.5, 1.0, 2.0), seed=0):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n, k, k)) * rng.choice([0.3, 2.0], (n, 1, 1))
    known = root @ root.transpose(0, 2, 1)
    residuals = np.einsum("nij,nj->ni", root, rng.standard_normal((n, k)))
    return residuals + np.array(s) * rng.standard_normal((n, k)), known


def test_density_is_that_of_scipy():
    residuals, known = made(n=4)
    covariance = known + np.eye(3)
    expected = [
        multivariate_normal(cov=c).logpdf(r) for c, r in zip(covariance, residuals, strict=True)
    ]
    np.testing.assert_allclose(normal_log_density(residuals, covariance), expected, rtol=1e-12)


@pytest.mark.parametrize("s", [(0.5, 1.0, 2.0), (0.0, 1.0, 0.0)])
def test_likelihood_is_the_largest(s):
    residuals, known = made(s=s)

    def cost(variances):
        return -normal_log_density(residuals, known + np.diag(variances)).sum()

    found = fit_scatter(residuals, known)
    starts = [np.full(3, 0.01), np.ones(3), np.full(3, 5.0)]
    least = min(minimize(cost, at, bounds=[(0, None)] * 3, tol=1e-12).fun for at in starts)
    assert cost(found) <= least + 1e-6
    assert (found >= 0).all()


def test_scatter_is_recovered_within_its_error():
    residuals, known = made(n=20_000)
    inverse = np.linalg.inv(known + np.diag([0.25, 1.0, 4.0]))
    error = np.sqrt(np.diag(np.linalg.inv(0.5 * (inverse**2).sum(axis=0))))
    assert (np.abs(fit_scatter(residuals, known) - [0.25, 1.0, 4.0]) < 4 * error).all()


def test_without_known_parts_it_is_the_mean_square_and_weights_count():
    residuals, _ = made(n=50)
    weight = np.arange(50) % 4.0
    nothing = np.broadcast_to(1e-12 * np.eye(3), (50, 3, 3))
    np.testing.assert_allclose(
        fit_scatter(residuals, nothing, weight),
        np.average(residuals**2, axis=0, weights=weight),
        rtol=1e-8,
    )


def test_errors_smaller_than_known_leave_nothing():
    residuals, known = made(s=(0.0, 0.0, 0.0))
    assert not fit_scatter(0.1 * residuals, known + 0.1 * np.eye(3)).any()
