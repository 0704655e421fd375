"""Lanczos on rotated matrices with prescribed spectra: repeated, clustered, negative, stiff."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from starstack.curvature.lanczos import extreme_eigenvalues, largest_eigenpairs, tridiagonalise
from starstack.errors import InputError

N = 60
SPECTRA = {
    "distinct": np.linspace(1, 4, N),
    "repeated": np.repeat([0.5, 2.0, 7.0], N // 3),
    "clustered": np.r_[np.full(N - 6, 1e-6) * np.arange(1, N - 5), 1 + 1e-9 * np.arange(6)],
    "negative": np.r_[np.linspace(-3, -1, N // 2), np.linspace(0.1, 2, N // 2)],
    "condition 1e10": np.geomspace(1e-10, 1, N),
    "singular": np.r_[np.zeros(N - 5), 1, 2, 2, 3, 9],
}


def rotated(spectrum, seed=0):
    """Return a dense symmetric matrix with this spectrum and no axis of its own."""
    random = np.random.default_rng(seed).standard_normal((len(spectrum), len(spectrum)))
    rotation, _ = np.linalg.qr(random)
    matrix = rotation * spectrum @ rotation.T
    return (matrix + matrix.T) / 2


def counted(matrix):
    """Return an operator, and a list that grows with each product."""
    products = []

    def product(v):
        products.append(None)
        return matrix @ v

    return LinearOperator(matrix.shape, matvec=product, dtype=np.float64), products


@pytest.mark.parametrize("n_steps", [1, 2, 7, 30, N])
@pytest.mark.parametrize("name", SPECTRA)
def test_basis_and_tridiagonal_matrix_satisfy_the_recurrence(name, n_steps):
    matrix = rotated(SPECTRA[name])
    steps = tridiagonalise(aslinearoperator(matrix), n_steps, seed=3)
    basis = steps.basis
    T = np.diag(steps.diagonal) + np.diag(steps.off_diagonal, 1) + np.diag(steps.off_diagonal, -1)
    last = np.zeros(n_steps)
    last[-1] = 1
    scale = np.abs(SPECTRA[name]).max()
    np.testing.assert_allclose(
        matrix @ basis.T, basis.T @ T + np.outer(steps.residual, last), atol=1e-12 * scale
    )
    np.testing.assert_allclose(basis @ basis.T, np.eye(n_steps), atol=1e-13)
    np.testing.assert_allclose(basis @ steps.residual, 0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", SPECTRA)
def test_all_steps_give_every_eigenvalue_with_its_multiplicity(name):
    spectrum = SPECTRA[name]
    values, _ = tridiagonalise(aslinearoperator(rotated(spectrum)), N).eigh()
    np.testing.assert_allclose(values, np.sort(spectrum), atol=1e-13 * np.abs(spectrum).max())


def test_no_ghosts_where_the_plain_recurrence_has_them():
    # One eigenvalue far above the others converges at once and comes back as a copy.
    spectrum = np.r_[np.linspace(0, 1, 199), 100.0]
    operator = aslinearoperator(rotated(spectrum))
    kept, _ = tridiagonalise(operator, 60).eigh()
    plain, _ = tridiagonalise(operator, 60, keep_basis=False).eigh()
    assert (kept > 50).sum() == 1
    assert (plain > 50).sum() > 1
    np.testing.assert_allclose(plain[plain > 50], 100.0)


def test_the_start_is_the_first_vector_of_the_basis():
    start = np.arange(1.0, N + 1)
    steps = tridiagonalise(aslinearoperator(rotated(SPECTRA["distinct"])), 5, start=start)
    np.testing.assert_allclose(steps.basis[0], start / np.linalg.norm(start))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("rank", [1, 4, 20, N])
def test_largest_eigenpairs_with_their_multiplicity(name, rank):
    spectrum, matrix = np.sort(SPECTRA[name])[::-1], rotated(SPECTRA[name], seed=1)
    pairs = largest_eigenpairs(aslinearoperator(matrix), rank, seed=2)
    scale = np.abs(spectrum).max()
    np.testing.assert_allclose(pairs.values, spectrum[:rank], atol=1e-10 * scale)
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(rank), atol=1e-12)
    residuals = np.linalg.norm(matrix @ pairs.vectors.T - pairs.vectors.T * pairs.values, axis=0)
    assert (residuals <= pairs.residuals + 1e-12 * scale).all()
    assert residuals.max() <= 2e-10 * scale


def test_copies_of_the_largest_eigenvalue_are_found_in_a_large_matrix():
    # As a linear model with three outputs has them. A single Krylov space holds one of each, and
    # 9, 5, 4, 3 have converged to a loose tolerance before rounding brings in the other two.
    spectrum = np.r_[9.0, 9.0, 9.0, 5.0, 4.0, 3.0, np.linspace(0, 0.1, 294)]
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-10):
        operator, products = counted(rotated(spectrum))
        pairs = largest_eigenpairs(operator, 4, n_basis=8, tolerance=tolerance)
        np.testing.assert_allclose(pairs.values, [9.0, 9.0, 9.0, 5.0], atol=9 * tolerance)
        assert pairs.n_products == len(products) < 100


def test_products_in_single_precision_suffice_for_a_matching_tolerance():
    spectrum = np.r_[np.linspace(0, 1, 290), np.arange(5, 15)]
    matrix = rotated(spectrum).astype(np.float32)
    operator = LinearOperator(
        matrix.shape, matvec=lambda v: matrix @ v.astype(np.float32), dtype=np.float32
    )
    pairs = largest_eigenpairs(operator, 10, tolerance=1e-5)
    np.testing.assert_allclose(pairs.values, np.arange(14, 4, -1), rtol=1e-5)


@pytest.mark.parametrize("name", SPECTRA)
def test_extreme_eigenvalues_lie_inside_the_spectrum_and_reach_its_ends(name):
    spectrum = SPECTRA[name]
    smallest, largest = extreme_eigenvalues(aslinearoperator(rotated(spectrum)), n_steps=50)
    scale = np.abs(spectrum).max()
    assert spectrum.min() - 1e-13 * scale <= smallest <= largest <= spectrum.max() + 1e-13 * scale
    np.testing.assert_allclose([smallest, largest], [spectrum.min(), spectrum.max()], atol=1e-3)


def test_a_basis_in_a_file_gives_the_same_numbers(tmp_path):
    operator = aslinearoperator(rotated(SPECTRA["distinct"]))
    in_memory = tridiagonalise(operator, 12, seed=5)
    in_file = tridiagonalise(operator, 12, seed=5, basis_path=tmp_path / "basis.npy")
    np.testing.assert_array_equal(in_memory.diagonal, in_file.diagonal)
    np.testing.assert_array_equal(in_memory.basis, np.load(tmp_path / "basis.npy"))


def peak_vectors(n, run):
    """Return the peak of traced memory while running, in vectors of n doubles."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / (8 * n)
    finally:
        tracemalloc.stop()


def test_memory_stays_within_the_basis_and_a_few_vectors(tmp_path):
    n = 400_000
    scale = np.linspace(0, 1, n)
    scale[-3:] = 5, 7, 7
    operator = LinearOperator((n, n), matvec=lambda v: scale * v, dtype=np.float64)
    assert peak_vectors(n, lambda: tridiagonalise(operator, 12)) <= 12 + 5
    assert peak_vectors(n, lambda: tridiagonalise(operator, 12, keep_basis=False)) <= 7
    assert peak_vectors(n, lambda: extreme_eigenvalues(operator)) <= 7
    path = tmp_path / "basis.npy"
    assert peak_vectors(n, lambda: tridiagonalise(operator, 12, basis_path=path)) <= 5
    restarted = peak_vectors(n, lambda: largest_eigenpairs(operator, 2, n_basis=8, tolerance=1e-6))
    assert restarted <= 8 + 5


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda a: tridiagonalise(a, 0), "0 steps for an operator of size 60; take 1 to 60"),
        (lambda a: tridiagonalise(a, 61), "61 steps"),
        (lambda a: tridiagonalise(a, 3, start=np.zeros(N)), "the first vector is zero"),
        (lambda a: largest_eigenpairs(a, 61), "rank 61"),
        (lambda a: largest_eigenpairs(a, 5, n_basis=6), "take 7 or more"),
        (lambda a: tridiagonalise(a, 10, memory_limit=5000), "10 vectors of 60 numbers need"),
        (
            lambda a: largest_eigenpairs(a, 5, n_basis=8, max_restarts=0),
            "residual of an eigenpair is still",
        ),
    ],
)
def test_refusals_say_what_to_do(run, message):
    with pytest.raises(InputError, match=message):
        run(aslinearoperator(rotated(SPECTRA["distinct"])))


def test_products_that_are_not_finite_are_refused():
    operator = LinearOperator((4, 4), matvec=lambda v: v * np.nan, dtype=np.float64)
    for keep_basis in (True, False):
        with pytest.raises(InputError, match="NaN or infinity"):
            tridiagonalise(operator, 3, keep_basis=keep_basis)
