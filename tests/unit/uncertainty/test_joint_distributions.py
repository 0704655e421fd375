"""Laws of squared distances: SciPy's multivariate t, drawn errors and closed forms."""

import numpy as np
import pytest
from scipy import stats

from starstack.errors import InputError
from starstack.uncertainty.joint_distributions import (
    ChiSquared,
    EmpiricalDistances,
    FisherF,
    fit_joint_law,
)

K = 3


def distances(n, dof=None, factor=1.0, seed=0):
    """d² of errors of covariance factor · 1, by SciPy's draws."""
    rng = np.random.default_rng(seed)
    if dof is None:
        errors = rng.standard_normal((n, K))
    else:
        law = stats.multivariate_t(np.zeros(K), (dof - 2) / dof * np.eye(K), df=dof, seed=rng)
        errors = law.rvs(n)
    return factor * (errors**2).sum(axis=1)


@pytest.mark.parametrize("dof", [5.0, 30.0])
def test_the_law_of_a_multivariate_t(dof):
    squared = distances(100_000, dof, factor=1.7)
    assert stats.kstest(squared, FisherF(K, dof, 1.7).cdf).pvalue > 0.01
    assert stats.kstest(squared, FisherF(K, dof).cdf).pvalue < 1e-10
    step = np.diff(FisherF(K, dof, 1.7).cdf(np.array([2.0, 2.0001]))) / 1e-4
    np.testing.assert_allclose(np.exp(FisherF(K, dof, 1.7).log_density(2.00005)), step, rtol=1e-5)


def test_parameters_are_found():
    found = fit_joint_law("student_t", distances(50_000, 6.0, factor=0.7), K)
    assert (found.dof, found.factor) == (pytest.approx(6, rel=0.1), pytest.approx(0.7, rel=0.03))
    found = fit_joint_law("gaussian", distances(50_000, factor=2.0), K)
    assert found.factor == pytest.approx(2, rel=0.02)
    normal = fit_joint_law("student_t", distances(50_000), K)
    at = np.linspace(0.1, 20, 50)
    np.testing.assert_allclose(normal.cdf(at), ChiSquared(K).cdf(at), atol=0.01)


def test_ranks():
    law = EmpiricalDistances(np.array([1.0, 2.0, 3.0]))
    assert law.cdf(np.array([0.0, 1.0, 2.5, 3.0, 9.0])).tolist() == [0, 0.25, 0.625, 0.75, 0.75]


def test_refusals():
    with pytest.raises(InputError, match="expected one of gaussian, student_t, empirical"):
        fit_joint_law("laplace", np.ones(3), K)
    with pytest.raises(InputError, match="needs rows"):
        fit_joint_law("gaussian", np.ones(0), K)
