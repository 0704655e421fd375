"""The eigenbasis of a sum of squares, by either of two ways."""

import numpy as np
import pytest

from starstack.curvature.gram import GramSum, eigenbasis, gram_matrix


def gram_of(rows, block=3):
    total = GramSum(rows.shape[1])
    for start in range(0, len(rows), block):
        total.add(rows[start : start + block])
    return total.eigenbasis()


@pytest.mark.parametrize("n", [1, 4, 9, 10, 11, 40])
def test_basis_is_orthonormal_and_gives_the_sum_back(n):
    rows = np.random.default_rng(0).standard_normal((n, 10)) * np.logspace(0, -3, 10)
    basis = gram_of(rows)
    assert basis.is_complete == (n >= 10)
    rank = basis.vectors.shape[1]
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(rank), atol=1e-9)
    again = (basis.vectors * basis.values) @ basis.vectors.T
    np.testing.assert_allclose(again, rows.T @ rows, atol=1e-12 * n)


def test_repeated_rows_give_no_basis_of_rounding():
    """Five rows of which three are others again: the rank is 2."""
    rows = np.random.default_rng(0).standard_normal((2, 10))
    basis = gram_of(np.vstack([rows, rows, 1e3 * rows[:1]]))
    assert basis.vectors.shape == (10, 2)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(2), atol=1e-9)


def test_rows_of_zeros_have_no_basis():
    assert gram_of(np.zeros((3, 10))).vectors.shape == (10, 0)
    assert GramSum(4).eigenbasis().vectors.shape == (4, 0)


def test_eigenvalues_are_not_negative_and_the_upper_half_counts_too():
    skew = np.array([[1.0, 1e-9], [0.0, -1e-12]])
    basis = eigenbasis(skew)
    assert (basis.values >= 0).all()
    np.testing.assert_allclose(abs(basis.vectors[1, 1]), 5e-10, rtol=1e-6)


def test_few_rows_in_single_precision_have_a_basis_in_double():
    """Eigenvalues over eight decades: products in single precision lose the last of them."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((6, 6)) * np.logspace(0, -4, 6)
    rows = (mixed @ rng.standard_normal((6, 20))).astype("float32")
    basis = gram_of(rows)
    expected = np.linalg.svd(rows.astype(float), compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(basis.values, expected, rtol=1e-6)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(6), atol=1e-6)


def test_rounding_does_not_grow_with_the_rows_of_a_batch():
    rows = (1 + 0.01 * np.random.default_rng(0).standard_normal((200_000, 3))).astype("float32")
    exact = rows.astype(float).T @ rows.astype(float)
    np.testing.assert_allclose(gram_matrix(rows), exact, rtol=3e-8)
    np.testing.assert_array_equal(gram_matrix(np.stack([rows, rows]))[1], gram_matrix(rows))
