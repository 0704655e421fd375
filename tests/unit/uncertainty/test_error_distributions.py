"""Laws of standardised errors: unit variance, inverse functions, and what a fit finds."""

import numpy as np
import pytest
from scipy import integrate

from starstack.errors import InputError
from starstack.uncertainty.error_distributions import (
    Empirical,
    Gaussian,
    StudentT,
    fit_distribution,
)


@pytest.mark.parametrize("law", [Gaussian(), StudentT(2.5), StudentT(4.0), StudentT(30.0)])
def test_density_of_variance_one_that_belongs_to_the_cdf(law):
    def density(z):
        return np.exp(law.log_density(z))

    assert integrate.quad(density, -np.inf, np.inf)[0] == pytest.approx(1)
    variance = integrate.quad(lambda z: z * z * density(z), -np.inf, np.inf, limit=500)[0]
    assert variance == pytest.approx(1, rel=1e-3)
    assert integrate.quad(density, -1.3, 0.4)[0] == pytest.approx(law.cdf(0.4) - law.cdf(-1.3))


@pytest.mark.parametrize("law", [Gaussian(), StudentT(3.0), Empirical(np.linspace(0.01, 3, 999))])
def test_quantiles_hold_their_probability(law):
    for level in (0.5, 0.68, 0.95):
        half = law.quantile(level)
        assert law.cdf(half) - law.cdf(-half) == pytest.approx(level, abs=1e-3)


def test_degrees_of_freedom_are_found():
    rng = np.random.default_rng(0)
    law = StudentT(5.0)
    found = fit_distribution("student_t", law.scale * rng.standard_t(5, 20_000))
    # The Fisher information at ν = 5 gives a standard error of 0.2.
    assert found.dof == pytest.approx(5.0, abs=0.8)
    assert fit_distribution("student_t", rng.normal(size=5000)).dof > 30


def test_empirical_quantiles_are_those_of_split_conformal_prediction():
    law = fit_distribution("empirical", np.array([-4.0, 1.0, 2.0, -3.0]))
    assert law.sizes.tolist() == [1, 2, 3, 4]
    assert law.quantile(0.6) == 3.0 and law.quantile(0.61) == 4.0 and law.quantile(0.9) == np.inf
    assert np.isnan(law.log_density(np.zeros(2))).all()


def test_unknown_and_empty():
    with pytest.raises(InputError, match="expected one of gaussian, student_t, empirical, got 'x'"):
        fit_distribution("x", np.ones(3))
    with pytest.raises(InputError, match="needs rows"):
        fit_distribution("empirical", np.ones(0))
