"""Correlated noise: band algebra beside dense matrices, draws, and what no noise can have."""

import numpy as np
import pytest
from scipy.linalg import toeplitz

from starstack.data.band_spectrum import check_correlation
from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import correlation_of, noise_correlation
from starstack.data.store import read_dataset, write_dataset
from starstack.errors import InputError

RHO, P = [0.4, 0.1], 12


def dense(values=RHO, p=P):
    return toeplitz(np.r_[1.0, values, np.zeros(p - 1 - len(values))])


def test_products_are_those_of_the_dense_matrix():
    rows = np.random.default_rng(0).normal(size=(3, 2, P))
    found = noise_correlation(RHO, P, None)
    np.testing.assert_allclose(found.multiply(rows), rows @ dense(), rtol=1e-12)
    assert found.multiply(rows.astype(np.float32)).dtype == np.float32


def test_solutions_leave_out_masked_columns_and_share_the_rest():
    rng = np.random.default_rng(1)
    rows, found = rng.normal(size=(4, P)), noise_correlation(RHO, P, None)
    share = rng.uniform(0.2, 1.0, P)
    share[[0, 4, 5, 9]] = 0.0
    mixed = dense() * np.outer(share, share) + np.diag(1 - share**2)
    np.testing.assert_allclose(found.solve(rows, share), rows @ np.linalg.inv(mixed), rtol=1e-9)
    good = (share > 0).astype(float)
    kept = np.flatnonzero(good)
    expected = rows[:, kept] @ np.linalg.inv(dense()[np.ix_(kept, kept)])
    np.testing.assert_allclose(found.solve(rows, good)[:, kept], expected, rtol=1e-9)


def test_drawn_noise_has_the_correlation():
    rng = np.random.default_rng(2)
    n = 40_000
    drawn = noise_correlation(RHO, P, None).colour(rng.standard_normal((n, P)))
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), dense(), atol=5 * np.sqrt(2 / n))


def test_gaps_in_wavelength_part_the_columns():
    wavelength = np.r_[15168 * (1 + 1.4e-5) ** np.arange(6), 15881 * (1 + 1.4e-5) ** np.arange(6)]
    rows = np.eye(P)
    found = noise_correlation(RHO, P, wavelength).multiply(rows)
    expected = dense()
    expected[:6, 6:] = expected[6:, :6] = 0
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("values", [[0.5], [0.6], [-0.6], [0.7, 0.1], [0.2, 0.6]])
def test_refused_where_the_dense_matrix_is_not_positive_definite(values):
    assert np.linalg.eigvalsh(dense(values, 400)).min() < 1e-3
    with pytest.raises(InputError, match=r"^study: noise_correlation is .*give smaller"):
        check_correlation(values, "study")


@pytest.mark.parametrize("values", [[], [0.49], [0.6, 0.2], [-0.3, 0.1, 0.05]])
def test_accepted_where_it_is(values):
    check_correlation(values, "study")
    assert np.linalg.eigvalsh(dense(values, 400)).min() > 0


def test_a_data_file_keeps_it_and_another_file_has_none(tmp_path):
    X = np.ones((3, 4), dtype=np.float32)
    names = tuple("abcd")
    rows = np.array(["r", "s", "t"])
    plain = Dataset("d", "regression", X, np.arange(3.0), rows, names, ("y",))
    assert correlation_of(plain) is None
    own = Dataset(
        "d", "regression", X, np.arange(3.0), rows, names, ("y",), noise_correlation=np.array(RHO)
    )
    assert own.sha256() != plain.sha256()
    write_dataset(own, tmp_path / "own.h5")
    found = correlation_of(read_dataset(tmp_path / "own.h5"))
    np.testing.assert_array_equal(found.band, correlation_of(own).band)
    write_dataset(plain, tmp_path / "plain.h5")
    assert read_dataset(tmp_path / "plain.h5").noise_correlation is None
