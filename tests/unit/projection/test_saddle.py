"""Saddles: known in closed form at zero, found by Lanczos, escaped to the minimum."""

import logging

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from starstack.projection.objective import Layout
from starstack.projection.projected_logistic import ProjectedLogisticRegression
from starstack.projection.saddle import Curvature, escape_along, extreme_curvature
from starstack.projection.solvers import SOLVERS, minimise
from starstack.projection.starts import STARTS

BASE_RATE = -(3 * np.log(0.75) + np.log(0.25))


class Quadratic:
    """½ xᵀ A x, in place of the joint loss."""

    def __init__(self, A):
        self.A, self.size, self.layout = A, len(A), Layout(1, 1, 1, False)

    def value_and_gradient(self, flat):
        return flat @ self.A @ flat / 2, self.A @ flat

    def hessian_vector_product(self, flat, vector):
        return self.A @ vector


def rotated(eigenvalues, seed=0):
    """Make a symmetric matrix of given eigenvalues; a diagonal one would be easy."""
    Q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return Q * eigenvalues @ Q.T, Q


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(-1, 5, 60),
        np.repeat([-2.0, 0.0, 0.0, 3.0], 10),  # repeated, with many zeros
        np.concatenate([[-1e-3], np.geomspace(1e-6, 1e3, 49)]),  # badly conditioned
        np.concatenate([[-1e-9], np.linspace(1, 2, 99)]),  # weak, and negative
        np.concatenate([[-1e-8], np.geomspace(1e-6, 1, 99)]),
        np.full(8, 4.0),
        np.array([-3.0]),
    ],
)
def test_lanczos_finds_both_ends(eigenvalues):
    A, _ = rotated(eigenvalues)
    found = extreme_curvature(Quadratic(A), np.zeros(len(A)), seed=1)
    scale = np.abs(eigenvalues).max()
    assert found.smallest == pytest.approx(eigenvalues.min(), abs=1e-9 * scale)
    assert found.largest == pytest.approx(eigenvalues.max(), abs=1e-3 * scale)
    assert np.linalg.norm(found.direction) == pytest.approx(1)
    residual = np.linalg.norm(A @ found.direction - found.smallest * found.direction)
    assert residual <= 1.5e-7 * scale
    assert found.is_negative(0) == (eigenvalues.min() < 0)


def test_lanczos_needs_far_fewer_products_than_parameters():
    A, _ = rotated(np.concatenate([[-5.0], np.linspace(1, 2, 499)]))
    found = extreme_curvature(Quadratic(A), np.zeros(500))
    assert found.smallest == pytest.approx(-5, abs=1e-8)
    assert found.n_products < 60


def test_a_hessian_of_zeros_is_not_negative():
    found = extreme_curvature(Quadratic(np.zeros((5, 5))), np.zeros(5))
    assert (found.smallest, found.largest, found.is_negative(0)) == (0, 0, False)


@pytest.mark.parametrize(("n_classes", "alpha"), [(2, 0.0), (2, 0.4), (3, 0.4)])
def test_hessian_at_zero_is_the_closed_form(make_classes, make_objective, n_classes, alpha):
    """α ± σ_i(G), L times each, and α."""
    X, y = make_classes(n_classes)
    rank = 2
    objective = make_objective(X, y, rank=rank, alpha=alpha, fit_intercept=False)
    zero = np.zeros(objective.size)
    sigma = np.linalg.svd(objective.product_gradient(zero), compute_uv=False)
    expected = np.repeat(np.concatenate([alpha - sigma, alpha + sigma]), rank)
    expected = np.concatenate([expected, np.full(objective.size - len(expected), alpha)])
    found = np.linalg.eigvalsh(objective.hessian(zero))
    np.testing.assert_allclose(found, np.sort(expected), atol=1e-10 * sigma.max())
    assert np.linalg.norm(objective.value_and_gradient(zero)[1]) == 0
    assert extreme_curvature(objective, zero).smallest == pytest.approx(alpha - sigma[0], rel=1e-6)


def test_zero_is_the_minimum_for_a_large_penalty(make_classes, make_objective):
    X, y = make_classes(2)
    sigma = np.linalg.norm(
        make_objective(X, y, rank=1, fit_intercept=False).product_gradient(np.zeros(6))
    )
    options = {"rank": 1, "fit_intercept": False, "init": "zeros", "random_state": 0}
    above = ProjectedLogisticRegression(alpha=1.01 * sigma, **options).fit(X, y)
    assert above.certificates_["status"] == "minimum"
    assert above.certificates_["is_global"]
    assert not above.coef_.any()
    below = ProjectedLogisticRegression(alpha=0.99 * sigma, **options).fit(X, y)
    assert len(below.saddle_) == 1
    assert np.linalg.norm(below.coef_) > 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("fit_intercept", "stuck_at"), [(False, 4 * np.log(2)), (True, BASE_RATE)])
def test_the_toy_stays_at_its_saddle_without_an_escape(toy, solver, fit_intercept, stuck_at):
    assert stuck_at == pytest.approx(2.249341 if fit_intercept else 2.772589, abs=5e-7)
    model = ProjectedLogisticRegression(
        2,
        alpha=0,
        solver=solver,
        init="zeros",
        escape=False,
        fit_intercept=fit_intercept,
        random_state=0,
    ).fit(*toy)
    assert model.history_["loss"][-1] == pytest.approx(stuck_at, abs=1e-9)
    assert not model.projection_.any()
    assert model.certificates_["status"] == "saddle"
    assert not model.certificates_["has_minimum"]
    (saddle,) = model.saddle_
    assert saddle["eigenvalue"] < -1
    assert saddle["step"] == 0
    if not fit_intercept:
        assert model.n_iter_ == 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_toy_escapes_to_its_minimum(toy, solver, fit_intercept, caplog):
    options = {"rank": 2, "alpha": 0.1, "fit_intercept": fit_intercept, "random_state": 0}
    with caplog.at_level(logging.WARNING):
        model = ProjectedLogisticRegression(solver=solver, init="zeros", **options).fit(*toy)
    assert "saddle at iteration" in caplog.text
    assert "escaping along its eigenvector" in caplog.text
    other = ProjectedLogisticRegression(init="orthogonal", tol=1e-9, **options).fit(*toy)
    assert model.certificates_["status"] == "minimum"
    assert model.certificates_["is_global"]
    assert len(model.saddle_) == 1
    assert abs(model.saddle_[0]["step"]) > 0
    assert model.certificates_["loss"] == pytest.approx(other.certificates_["loss"], abs=1e-8)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-4)
    assert np.all(np.diff(model.history_["loss"]) <= 1e-12)


def test_the_toy_without_a_penalty_is_reported_to_have_no_minimum(toy):
    with pytest.warns(ConvergenceWarning, match="separable.*no minimum"):
        model = ProjectedLogisticRegression(2, alpha=0, init="zeros", random_state=0).fit(*toy)
    assert model.certificates_["status"] == "no minimum"
    assert model.history_["loss"][-1] < 0.01
    assert len(model.saddle_) == 1


def test_an_escape_leads_down(toy, make_objective):
    objective = make_objective(*toy, rank=2, alpha=0.1)
    zero = np.zeros(objective.size)
    curvature = extreme_curvature(objective, zero)
    flat, step = escape_along(objective, zero, curvature)
    assert abs(step) == pytest.approx(np.linalg.norm(flat))
    assert objective.value_and_gradient(flat)[0] < objective.value_and_gradient(zero)[0]


class Slope:
    """1 − x²/2 + 0.01 x⁴ + 0.1 x: from zero it falls to one side only."""

    factor_length = 1.0

    def value_and_gradient(self, flat):
        (x,) = flat
        return 1 - x**2 / 2 + 0.01 * x**4 + 0.1 * x, np.array([-x + 0.04 * x**3 + 0.1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_escape_looks_to_both_sides(sign):
    curvature = Curvature(-1.0, 1.0, np.array([sign]), error=0.0, n_products=1)
    flat, step = escape_along(Slope(), np.zeros(1), curvature)
    assert flat[0] < -0.5
    assert step == sign * flat[0]


def test_what_rounding_does_is_no_saddle():
    direction = np.ones(1)
    assert Curvature(-8e-6, 132.0, direction, error=8e-17, n_products=9).is_negative(2e-14)
    assert not Curvature(-8e-6, 132.0, direction, error=8e-17, n_products=9).is_negative(1e-6)
    assert not Curvature(-1e-11, 132.0, direction, error=1e-12, n_products=9).is_negative(0.0)


@pytest.mark.parametrize("init", STARTS)
@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e3, 1e6, 1e8])
def test_the_unit_of_the_features_does_not_matter(make_classes, init, size):
    """(size · X, size · α) has the coefficients of (X, α) over the size, and the same loss."""
    X, y = make_classes(2)
    options = {"rank": 2, "random_state": 0}
    expected = ProjectedLogisticRegression(alpha=1.0, **options).fit(X, y)
    found = ProjectedLogisticRegression(alpha=size, init=init, **options).fit(size * X, y)
    assert found.certificates_["status"] == "minimum"
    assert found.certificates_["loss"] == pytest.approx(expected.certificates_["loss"], rel=1e-10)
    np.testing.assert_allclose(size * found.coef_, expected.coef_, atol=1e-6)


def test_the_optimum_of_one_column_is_a_saddle_of_two(make_classes, make_objective):
    """A column of zeros is stationary wherever the others are, and the next one to be escaped."""
    X, y = make_classes(4, n=300)
    options = {"alpha": 0.5, "random_state": 0}
    one = ProjectedLogisticRegression(1, tol=1e-10, **options).fit(X, y)
    two = make_objective(X, y, rank=2, alpha=0.5)
    padded = two.layout.pack(
        np.pad(one.projection_, ((0, 0), (0, 1))),
        np.pad(one.weights_, ((0, 1), (0, 0))),
        one.intercept_,
    )
    loss, gradient = two.value_and_gradient(padded)
    assert np.linalg.norm(gradient) < 1e-6
    curvature = extreme_curvature(two, padded)
    dual = one.certificates_["dual_norm"]
    assert curvature.smallest == pytest.approx(0.5 - dual, rel=1e-6)
    flat, _, trace = minimise(two, padded, gtol=1e-6)
    assert len(trace.saddles) == 1
    assert two.value_and_gradient(flat)[0] < loss - 1
    from_zero = ProjectedLogisticRegression(2, init="zeros", **options).fit(X, y)
    assert two.value_and_gradient(flat)[0] == pytest.approx(from_zero.certificates_["loss"])
