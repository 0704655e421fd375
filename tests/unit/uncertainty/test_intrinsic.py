"""Intrinsic scatter: recovered where it is known, by predicted labels, zero where there is none."""

import logging

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.intrinsic import fit_intrinsic, largest_likelihood

INTRINSIC = np.array([[400.0, 0.3], [0.3, 0.0025]])


def drawn(n, seed=0, intrinsic=INTRINSIC):
    """Errors with noise of a covariance of their own each, in K and dex."""
    rng = np.random.default_rng(seed)
    root = np.diag([15.0, 0.04]) @ np.linalg.cholesky(np.array([[1, 0.5], [0.5, 1]]))
    size = rng.uniform(0.3, 2.0, n)
    known = size[:, None, None] ** 2 * (root @ root.T)
    errors = rng.multivariate_normal(np.zeros(2), intrinsic, n)
    errors += size[:, None] * (rng.normal(size=(n, 2)) @ root.T)
    predicted = np.column_stack([rng.uniform(4000, 6000, n), rng.uniform(0, 5, n)])
    return errors, known, predicted


def test_recovers_the_covariance():
    errors, known, predicted = drawn(20_000)
    found = fit_intrinsic(errors, known, predicted, min_stars=20_000).boxes
    assert len(found) == 1 and found[0].n == 20_000 and found[0].at_zero == (False, False)
    # The scatter of 20 other samples.
    others = [
        fit_intrinsic(*drawn(2000, seed), min_stars=2000).boxes[0].covariance
        for seed in range(1, 21)
    ]
    error = np.std(others, axis=0) / np.sqrt(10)
    assert (np.abs(found[0].covariance - INTRINSIC) < 4 * error).all()


def test_without_known_parts_it_is_the_second_moment():
    errors, known, _ = drawn(500)
    found = largest_likelihood(errors, 1e-12 * known)
    np.testing.assert_allclose(found, errors.T @ errors / 500, rtol=1e-6)


def test_the_likelihood_is_largest():
    errors, known, _ = drawn(400)
    scale = np.diag([1 / 20.0, 1 / 0.05])
    errors, known = errors @ scale, scale @ known @ scale
    found = largest_likelihood(errors, known)

    def log_likelihood(matrix):
        total = known + matrix
        squares = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(total), errors)
        return -0.5 * (squares + np.linalg.slogdet(total)[1]).sum()

    best = log_likelihood(found)
    for change in (np.diag([1, 0]), np.diag([0, 1]), np.array([[0, 1], [1, 0]])):
        for step in (-0.03, 0.03):
            assert log_likelihood(found + step * change) < best


def test_bins_follow_the_predicted_labels():
    """Scatter that depends on where a star is *said* to be is found, and nothing else is asked."""
    errors, known, predicted = drawn(8000)
    errors[predicted[:, 0] > 5000] *= 2.0
    known = np.where((predicted[:, 0] > 5000)[:, None, None], 4 * known, known)
    found = fit_intrinsic(errors, known, predicted, min_stars=400, prior_stars=0)
    cool = found.covariance(np.array([[4200.0, 1.0], [4200.0, 4.0]]))[:, 0, 0]
    hot = found.covariance(np.array([[5800.0, 1.0], [5800.0, 4.0]]))[:, 0, 0]
    np.testing.assert_allclose(cool, 400, rtol=0.35)
    np.testing.assert_allclose(hot, 1600, rtol=0.35)


def test_every_star_has_one_bin():
    errors, known, predicted = drawn(3000)
    found = fit_intrinsic(errors, known, predicted, min_stars=200)
    assert sum(box.n for box in found.boxes) == 3000 and min(b.n for b in found.boxes) >= 200
    anywhere = np.array([[-1e6, -1e6], [1e6, 1e6], [5000.0, 2.5]])
    assert np.isfinite(found.covariance(anywhere)).all()
    counted = [
        np.sum(((predicted >= b.low) & (predicted < b.high)).all(axis=1)) for b in found.boxes
    ]
    assert counted == [box.n for box in found.boxes]
    table = found.table(("teff", "logg"))
    assert table["n"].sum() == 3000 and {"teff_low", "logg_scatter"} <= set(table.columns)


def test_few_stars_are_drawn_towards_the_box_around_them():
    errors, known, predicted = drawn(400)
    whole = fit_intrinsic(errors, known, predicted, min_stars=400).boxes[0].covariance

    def spread(prior_stars):
        found = fit_intrinsic(errors, known, predicted, min_stars=50, prior_stars=prior_stars)
        return np.std([box.covariance[0, 0] for box in found.boxes])

    assert spread(1e6) < 1e-3 * whole[0, 0] < spread(50) < spread(0)


def test_zero_where_the_known_parts_explain_more(caplog):
    errors, known, predicted = drawn(1000, intrinsic=np.zeros((2, 2)))
    with caplog.at_level(logging.WARNING):
        found = fit_intrinsic(errors, 2 * known, predicted, min_stars=1000)
    assert found.boxes[0].at_zero == (True, True)
    assert "in 1 of 1 bins a label has none left" in caplog.text
    assert np.linalg.eigvalsh(found.boxes[0].covariance).min() >= 0


def test_outliers_count_less_with_student_t():
    errors, known, predicted = drawn(4000)
    errors[:20] *= 30
    plain = fit_intrinsic(errors, known, predicted, min_stars=4000).boxes[0].covariance
    robust = fit_intrinsic(errors, known, predicted, min_stars=4000, dof=5).boxes[0].covariance
    assert plain[0, 0] > 2 * INTRINSIC[0, 0]
    assert robust[0, 0] < 1.5 * INTRINSIC[0, 0]


def test_student_t_finds_the_covariance_of_student_t():
    rng = np.random.default_rng(5)
    scale = np.sqrt((6 - 2) / rng.chisquare(6, 20_000))[:, None]
    errors = scale * rng.multivariate_normal([0, 0], [[2, 0.5], [0.5, 1]], 20_000)
    found = largest_likelihood(errors, np.zeros((20_000, 2, 2)) + 1e-9 * np.eye(2), dof=6)
    np.testing.assert_allclose(found, [[2, 0.5], [0.5, 1]], atol=0.08)


def test_shapes():
    errors, known, predicted = drawn(10)
    with pytest.raises(InputError, match="2 or more stars"):
        fit_intrinsic(errors, known, predicted[:, :1])


@pytest.mark.parametrize("k", [1, 3])
def test_data_without_noise_have_all_their_errors_as_scatter(k):
    errors = np.random.default_rng(5).normal(size=(900, k))
    found = fit_intrinsic(errors, np.zeros((900, k, k)), errors, min_stars=900)
    np.testing.assert_allclose(found.boxes[0].covariance, errors.T @ errors / 900, rtol=1e-3)


def test_what_is_not_a_number_is_refused():
    errors, known, predicted = drawn(10)
    for place, name in enumerate(("errors", "covariances", "predicted labels")):
        parts = [errors.copy(), known.copy(), predicted.copy()]
        parts[place][3, 0] = np.nan
        with pytest.raises(InputError, match=f"{name} of star 3 hold NaN or infinity"):
            fit_intrinsic(*parts)


@pytest.mark.parametrize("noisy", [True, False])
def test_no_errors_have_no_scatter(noisy):
    _, known, predicted = drawn(500)
    found = fit_intrinsic(np.zeros((500, 2)), known * noisy, predicted, min_stars=100)
    for box in found.boxes:
        np.testing.assert_array_equal(box.covariance, np.zeros((2, 2)))
        assert box.at_zero == (True, True)


def test_a_label_without_errors_leaves_the_others_as_they_are():
    errors, known, predicted = drawn(500)
    errors[:, 1] = 0
    known[:, 1, :] = known[:, :, 1] = 0
    found = fit_intrinsic(errors, known, predicted, min_stars=500).boxes[0].covariance
    alone = fit_intrinsic(errors[:, :1], known[:, :1, :1], predicted[:, :1], min_stars=500)
    np.testing.assert_allclose(found[0, 0], alone.boxes[0].covariance[0, 0], rtol=1e-3)
    np.testing.assert_allclose(found[1], 0, atol=1e-12)


def test_the_same_error_of_every_star_is_scatter():
    """A bias is scatter about the truth, also where nothing spreads."""
    _, _, predicted = drawn(300)
    errors, known = np.tile([5.0, -0.1], (300, 1)), np.zeros((300, 2, 2))
    found = fit_intrinsic(errors, known, predicted, min_stars=300).boxes[0].covariance
    np.testing.assert_allclose(found, [[25.0, -0.5], [-0.5, 0.01]], rtol=1e-3)


@pytest.mark.parametrize("dof", [None, 5.0])
def test_labels_with_the_same_errors_have_a_singular_scatter(dof):
    """Without known parts, the second moment of the errors, of which one direction has none."""
    one = np.random.default_rng(6).normal(size=(900, 1))
    errors, known = one * [1.0, 20.0, -3.0], np.zeros((900, 3, 3))
    found = fit_intrinsic(errors, known, errors, min_stars=900, dof=dof).boxes[0].covariance
    assert np.isfinite(found).all()
    unit = np.array([1.0, 20.0, -3.0])
    np.testing.assert_allclose(found / np.outer(unit, unit), found[0, 0], rtol=1e-3)
    if dof is None:
        np.testing.assert_allclose(found, errors.T @ errors / 900, rtol=1e-3)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (-np.diag([100.0, 0.01]), "has variances"),
        ([[100.0, 2.0], [2.0, 0.01]], "has a correlation matrix with the eigenvalue -1"),
        ([[100.0, 0.5], [0.0, 0.01]], "and a symmetric matrix"),
    ],
)
def test_a_known_matrix_that_is_no_covariance_is_refused_with_its_star(matrix, words):
    errors, known, predicted = drawn(300)
    known[7] = matrix
    with pytest.raises(InputError, match=f"the covariance of star 7 has .*{words[4:]}"):
        fit_intrinsic(errors, known, predicted)


def test_what_rounding_leaves_of_no_covariance_is_none():
    errors, _, predicted = drawn(300)
    unit = np.diag([20.0, 0.05])
    rounding = unit @ np.array([[-1e-15, 3e-15], [-2e-15, 1e-15]]) @ unit
    found = fit_intrinsic(errors, np.stack([rounding] * 300), predicted, min_stars=300)
    expected = fit_intrinsic(errors, np.zeros((300, 2, 2)), predicted, min_stars=300)
    for one, other in zip(found.boxes, expected.boxes, strict=True):
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-6)


@pytest.mark.parametrize("dof", [-1.0, 2.0, np.nan])
def test_degrees_of_freedom_without_a_covariance_are_refused(dof):
    with pytest.raises(InputError, match=r"dof is .*; expected more than 2"):
        fit_intrinsic(*drawn(300), dof=dof)
    with pytest.raises(InputError, match="2 or more stars"):
        fit_intrinsic(np.ones(300), np.ones(300), np.ones(300))
