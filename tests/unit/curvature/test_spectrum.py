"""Estimates over random probes against the known spectra of rotated matrices.

Rotated, because random signs are exact on a diagonal matrix whatever the estimator does.
"""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.stats import ortho_group, sem

from starstack.curvature.spectrum import (
    Quadrature,
    lanczos_quadrature,
    spectral_density,
    trace_and_diagonal,
)
from starstack.errors import InputError

N = 200


def rotated(spectrum, seed=0):
    rotation = ortho_group.rvs(len(spectrum), random_state=seed)
    return rotation * spectrum @ rotation.T


DECAYING = np.geomspace(1e-3, 10, N)
NEGATIVE = np.r_[np.linspace(-2, 0, N // 4), np.linspace(0, 5, 3 * N // 4)]


@pytest.mark.parametrize("spectrum", [DECAYING, NEGATIVE], ids=["decaying", "negative"])
def test_trace_and_diagonal_within_their_standard_errors(spectrum):
    matrix = rotated(spectrum)
    trace, diagonal = trace_and_diagonal(aslinearoperator(matrix), 400, seed=1)
    assert abs(trace.value - spectrum.sum()) < 4 * trace.standard_error
    z = (diagonal.value - np.diag(matrix)) / diagonal.standard_error
    assert np.abs(z).max() < 5
    assert 0.9 < z.std() < 1.1
    # The variance of one sample is 2 (‖A‖_F² - Σ a_ii²).
    variance = 2 * ((matrix**2).sum() - (np.diag(matrix) ** 2).sum())
    assert trace.standard_error == pytest.approx(np.sqrt(variance / 400), rel=0.15)


def test_standard_error_of_the_trace_covers_as_often_as_it_says():
    operator, exact = aslinearoperator(rotated(DECAYING)), DECAYING.sum()
    z = []
    for seed in range(200):
        trace, _ = trace_and_diagonal(operator, 20, seed=seed)
        z.append((trace.value - exact) / trace.standard_error)
    # Student's t of 19 degrees of freedom has a standard deviation of 1.057.
    assert np.std(z) == pytest.approx(1.057, rel=0.15)


def test_standard_error_of_the_diagonal_is_that_of_the_samples():
    """Of three probes, from the random signs that the operator was given."""
    matrix, signs = rotated(DECAYING), []

    def product(v):
        signs.append(v.copy())
        return matrix @ v

    operator = LinearOperator((N, N), matvec=product, dtype=np.float64)
    _, diagonal = trace_and_diagonal(operator, 3)
    samples = [z * (matrix @ z) for z in signs[-3:]]
    np.testing.assert_allclose(diagonal.value, np.mean(samples, axis=0), atol=1e-12)
    np.testing.assert_allclose(diagonal.standard_error, sem(samples, axis=0), rtol=1e-8)


def test_one_probe_has_no_standard_error():
    trace, diagonal = trace_and_diagonal(aslinearoperator(rotated(DECAYING)), 1)
    assert np.isnan(trace.standard_error)
    assert np.isnan(diagonal.standard_error).all()


@pytest.mark.parametrize("keep_basis", [True, False])
def test_log_determinant_and_trace_by_quadrature(keep_basis):
    quadrature = lanczos_quadrature(
        aslinearoperator(rotated(np.geomspace(0.01, 10, N))),
        n_steps=60,
        n_probes=40,
        keep_basis=keep_basis,
    )
    exact = np.log(np.geomspace(0.01, 10, N)).sum()
    found = quadrature.trace_of(np.log)
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05 * abs(exact)
    # A polynomial of degree below 2 K is integrated exactly for each probe: zᵀ A z.
    operator, rng = aslinearoperator(rotated(np.geomspace(0.01, 10, N))), np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=N)
    np.testing.assert_allclose(
        N * quadrature.weights[0] @ quadrature.nodes[0], signs @ operator.matvec(signs), rtol=1e-10
    )


def test_all_steps_integrate_a_small_matrix_exactly():
    # 2 × 2 with equal diagonal: both signs give the mean of the two eigenvalues ± off-diagonal.
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    quadrature = lanczos_quadrature(aslinearoperator(matrix), n_probes=200)
    assert {len(nodes) for nodes in quadrature.nodes} == {1}
    assert {round(float(nodes[0]), 12) for nodes in quadrature.nodes} == {1.0, 3.0}


@pytest.mark.parametrize("width", [None, 0.02, 0.5])
@pytest.mark.parametrize("spectrum", [DECAYING, NEGATIVE], ids=["decaying", "negative"])
def test_density_integrates_to_one_and_reaches_the_spectrum(spectrum, width):
    quadrature = lanczos_quadrature(aslinearoperator(rotated(spectrum)), n_steps=50)
    density = spectral_density(quadrature, width=width)
    grid = density.eigenvalue
    assert np.trapezoid(density.density, grid) == pytest.approx(1, abs=1e-6)
    for probe in density.probes:
        assert np.trapezoid(probe, grid) == pytest.approx(1, abs=1e-6)
    assert grid[0] < spectrum.min() < spectrum.max() < grid[-1]
    # Smoothing keeps the mean of the spectrum.
    mean = np.trapezoid(density.density * grid, grid)
    error = quadrature.trace_of(lambda x: x).standard_error / N
    assert abs(mean - spectrum.mean()) < 5 * error


@pytest.mark.parametrize("width", [None, 0.05, 1.0])
def test_density_over_many_powers_of_ten_integrates_to_one(width):
    spectrum = np.r_[-np.geomspace(1e-4, 1e-1, N // 4), np.geomspace(1e-6, 1e3, 3 * N // 4)]
    quadrature = lanczos_quadrature(aslinearoperator(rotated(spectrum)), n_steps=N)
    density = spectral_density(quadrature, width=width, linear_scale=1e-5)
    # In equal steps of u, in which the density is smooth.
    step = np.diff(np.arcsinh(density.eigenvalue / 1e-5))
    np.testing.assert_allclose(step, step[0], rtol=1e-8)
    height = density.density * np.hypot(density.eigenvalue, 1e-5)
    assert np.trapezoid(height, dx=step[0]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(
        density.width, (width or 0.2) * np.hypot(density.eigenvalue, 1e-5), rtol=1e-10
    )
    negative = density.eigenvalue < 0
    share = np.trapezoid(height[negative], dx=step[0])
    error = quadrature.trace_of(lambda x: x < 0).standard_error / N
    # Only the smallest of the positive ones, 1e-6, are smeared over zero.
    assert share == pytest.approx(0.25, abs=4 * error + 0.1 * (width or 0.2) + 0.02)


def test_density_at_the_resolution_is_that_of_the_spectrum_and_below_it_is_not():
    spectrum = np.r_[np.zeros(40), -np.geomspace(1, 5e3, 20), np.geomspace(0.1, 1e6, 240)]
    quadrature = lanczos_quadrature(aslinearoperator(rotated(spectrum)), n_steps=60, n_probes=8)

    def distance(scale):
        density = spectral_density(quadrature, linear_scale=scale)
        u, exact = np.arcsinh(density.eigenvalue / scale), np.arcsinh(spectrum / scale)
        height = density.density * np.hypot(density.eigenvalue, scale)
        wanted = np.exp(-0.5 * ((u[:, None] - exact) / 0.2) ** 2).mean(axis=1)
        return np.trapezoid(np.abs(height - wanted / (0.2 * np.sqrt(2 * np.pi))), u)

    assert distance(quadrature.resolution) < 0.2
    assert distance(quadrature.resolution / 1000) > 0.5


def test_the_resolution_is_the_distance_of_nodes_at_the_ends_of_the_spectrum():
    """Of the Chebyshev polynomials, near whose zeros the nodes of a filled interval are."""
    found = []
    for steps in (40, 80):
        nodes = 100 * np.polynomial.chebyshev.chebgauss(steps)[0][::-1]
        found.append(Quadrature(N, (nodes,), (np.full(steps, 1 / steps),)).resolution)
        assert 1 < found[-1] / (nodes[1] - nodes[0]) < 3
    assert found[0] / found[1] == pytest.approx(4, rel=0.01)


def test_two_clusters_at_their_weights():
    spectrum = np.r_[np.full(N // 4, 1.0), np.full(3 * N // 4, 5.0)]
    quadrature = lanczos_quadrature(aslinearoperator(rotated(spectrum)), n_probes=50)
    density = spectral_density(quadrature, width=0.2)
    low = density.eigenvalue < 3
    share = np.trapezoid(density.density[low], density.eigenvalue[low])
    error = quadrature.trace_of(lambda x: x < 3).standard_error / N
    assert abs(share - 0.25) < 4 * error
    assert error < 0.01
    for centre in (1, 5):
        near = np.abs(density.eigenvalue - centre) < 1
        peak = density.eigenvalue[near][np.argmax(density.density[near])]
        assert peak == pytest.approx(centre, abs=0.05)
    between = np.abs(density.eigenvalue - 3) < 1
    assert density.density[between].max() < 1e-4


def test_density_against_the_smoothed_spectrum_itself():
    spectrum = NEGATIVE
    quadrature = lanczos_quadrature(
        aslinearoperator(rotated(spectrum)), n_steps=80, n_probes=100, keep_basis=True
    )
    density = spectral_density(quadrature, width=0.4)
    grid = density.eigenvalue[:, None]
    exact = np.exp(-0.5 * ((grid - spectrum) / 0.4) ** 2).mean(axis=1) / (0.4 * np.sqrt(2 * np.pi))
    z = (density.density - exact) / np.maximum(density.standard_error, 1e-5)
    assert np.abs(z).max() < 5
    np.testing.assert_allclose(density.density, exact, atol=0.01)


def test_a_multiple_of_the_identity_is_one_peak():
    density = spectral_density(lanczos_quadrature(aslinearoperator(3 * np.eye(10))))
    assert np.trapezoid(density.density, density.eigenvalue) == pytest.approx(1, abs=1e-6)
    assert density.eigenvalue[np.argmax(density.density)] == pytest.approx(3, abs=density.width[0])


def test_the_seed_decides_the_probes():
    operator = aslinearoperator(rotated(DECAYING))
    values = [trace_and_diagonal(operator, 3, seed=seed)[0].value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_products_are_as_many_as_stated():
    count = []

    def product(v):
        count.append(None)
        return 2 * v + v.sum()

    operator = LinearOperator((N, N), matvec=product, dtype=np.float64)
    trace_and_diagonal(operator, 7)
    assert len(count) == 7


def test_one_basis_is_held_at_a_time():
    n, n_steps = 100_000, 12
    operator = LinearOperator((n, n), matvec=lambda v: 2 * v.ravel(), dtype=np.float64)
    tracemalloc.start()
    try:
        lanczos_quadrature(operator, n_steps=n_steps, n_probes=3, keep_basis=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    basis = 8 * n * n_steps
    assert basis < peak < 1.7 * basis


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda a: trace_and_diagonal(a, 0),
            "n_probes: expected a whole number of at least 1, got 0",
        ),
        (lambda a: lanczos_quadrature(a, n_probes=0), "n_probes: expected .* at least 1, got 0"),
        (lambda a: spectral_density(lanczos_quadrature(a), width=0.0), r"width is 0\.0"),
        (
            lambda a: spectral_density(lanczos_quadrature(a), linear_scale=-1.0),
            r"linear_scale is -1\.0",
        ),
    ],
)
def test_refusals_say_what_to_do(run, message):
    with pytest.raises(InputError, match=message):
        run(aslinearoperator(np.eye(3)))
