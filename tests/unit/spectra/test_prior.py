"""Expected spectra, against the conditional expectation of a normal distribution."""

import numpy as np
import pytest

from starstack.data.noise_correlation import noise_correlation
from starstack.spectra.prior import SpectrumPrior

P, M = 15, 3


@pytest.fixture
def prior():
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.standard_normal((P, M)))[0].T
    return SpectrumPrior(rng.uniform(0.5, 1.0, P), components, np.array([2.0, 0.5, 0.1]))


def observed(seed=1, n=4):
    rng = np.random.default_rng(seed)
    spectra, error = rng.normal(1.0, 0.3, (n, P)), rng.uniform(0.05, 0.4, (n, P))
    masked = rng.random((n, P)) < 0.3
    return spectra, error, masked


@pytest.mark.parametrize("correlations", [[], [0.4, 0.1]])
def test_expected_spectra_are_conditional_expectations(prior, correlations):
    spectra, error, masked = observed()
    noise = noise_correlation(correlations, P, None)
    found = prior.expected(spectra, np.where(masked, 0.0, 1.0 / error), noise)
    among = np.eye(P)
    for lag, value in enumerate(correlations, start=1):
        among += value * (np.eye(P, k=lag) + np.eye(P, k=-lag))
    signal = (prior.components.T * prior.variance) @ prior.components
    for row in range(len(spectra)):
        good = ~masked[row]
        covariance = signal + error[row][:, None] * among * error[row]
        gain = signal[:, good] @ np.linalg.inv(covariance[np.ix_(good, good)])
        expected = prior.mean + gain @ (spectra[row] - prior.mean)[good]
        np.testing.assert_allclose(found[row], expected, rtol=1e-10)


def test_single_precision_stays_single(prior):
    spectra, error, masked = observed()
    weight = np.where(masked, 0.0, 1.0 / error)
    found = prior.expected(spectra.astype(np.float32), weight)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, prior.expected(spectra, weight), rtol=1e-5)
