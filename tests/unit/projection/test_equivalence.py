"""The product equals what ordinary problems give: ridge at the matching C, the nuclear norm."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from starstack.projection.equivalence import balance, matching_c
from starstack.projection.objective import Layout
from starstack.projection.projected_logistic import ProjectedLogisticRegression

TIGHT = {"tol": 1e-10, "random_state": 0}


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.2, 3.0])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_two_classes_equal_ridge_at_the_matching_c(make_classes, rank, alpha, fit_intercept):
    X, y = make_classes(2)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    joint = ProjectedLogisticRegression(rank, alpha=alpha, fit_intercept=fit_intercept, **TIGHT)
    joint.fit(X, y, weight)
    C = joint.certificates_["matching_c"]
    assert pytest.approx(np.linalg.norm(joint.coef_) / alpha) == C
    ridge = LogisticRegression(C=C, fit_intercept=fit_intercept, tol=1e-12, max_iter=10000)
    ridge.fit(X, y, weight)
    np.testing.assert_allclose(joint.coef_, ridge.coef_, atol=1e-6)
    np.testing.assert_allclose(joint.intercept_, ridge.intercept_, atol=1e-6)
    other = LogisticRegression(C=2 * C, fit_intercept=fit_intercept, tol=1e-12, max_iter=10000)
    assert np.abs(joint.coef_ - other.fit(X, y, weight).coef_).max() > 1e-3
    assert joint.certificates_["product_rank"] == 1


@pytest.mark.parametrize("solver", ["trust-krylov", "l-bfgs"])
def test_coefficients_agree_at_the_default_tolerance(solver):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    joint = ProjectedLogisticRegression(2, alpha=5.0, solver=solver, random_state=0).fit(X, y)
    C = joint.certificates_["matching_c"]
    ridge = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(joint.coef_, ridge.coef_, atol=1e-6)
    np.testing.assert_allclose(joint.intercept_, ridge.intercept_, atol=1e-6)


def test_coefficients_agree_where_features_are_nearly_the_same():
    """The Hessian has a condition of 10⁸, which conjugate gradients do not get through."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 4))
    y = np.argmax(X @ rng.normal(size=(4, 3)) + 2 * rng.gumbel(size=(200, 3)), axis=1) > 0
    rng = np.random.default_rng(0)
    X = np.column_stack([X, *(X + 1e-3 * rng.normal(size=X.shape) for _ in range(2))])
    joint = ProjectedLogisticRegression(2, alpha=1e-3, random_state=0).fit(X, y)
    C = joint.certificates_["matching_c"]
    ridge = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
    size = np.abs(ridge.coef_).max()
    np.testing.assert_allclose(joint.coef_, ridge.coef_, atol=1e-9 * size)


def nuclear_norm_by_proximal_gradient(X, y, alpha, n_steps=20000):
    """FISTA with restarts on B and b: the product itself, no factors, no automatic derivatives."""
    one_hot = np.eye(max(y) + 1)[y]
    step = 2 / np.linalg.norm(np.column_stack([X, np.ones(len(X))]), 2) ** 2
    B, b = np.zeros((X.shape[1], one_hot.shape[1])), np.zeros(one_hot.shape[1])
    at_B, at_b, t = B, b, 1.0
    for _ in range(n_steps):
        r = softmax(X @ at_B + at_b, axis=1) - one_hot
        P, sigma, Qt = np.linalg.svd(at_B - step * X.T @ r, full_matrices=False)
        new_B = P * np.maximum(sigma - step * alpha, 0) @ Qt
        new_b = at_b - step * r.sum(axis=0)
        restart = np.sum((at_B - new_B) * (new_B - B)) + (at_b - new_b) @ (new_b - b) > 0
        new_t = 1.0 if restart else (1 + np.sqrt(1 + 4 * t * t)) / 2
        momentum = 0.0 if restart else (t - 1) / new_t
        moved = np.abs(new_B - B).max() + np.abs(new_b - b).max()
        at_B, at_b = new_B + momentum * (new_B - B), new_b + momentum * (new_b - b)
        B, b, t = new_B, new_b, new_t
        if moved < 1e-13:
            break
    return B, b


def test_several_classes_equal_the_nuclear_norm_problem(make_classes):
    X, y = make_classes(4)
    alpha = 8.0
    B, b = nuclear_norm_by_proximal_gradient(X, y, alpha)
    rank = np.linalg.matrix_rank(B, tol=1e-8)
    assert 1 < rank < 4  # the penalty has cut the rank, so that the test is about it
    joint = ProjectedLogisticRegression(4, alpha=alpha, **TIGHT).fit(X, y)
    np.testing.assert_allclose(joint.coef_, B.T, atol=1e-6)
    found = joint.intercept_ - joint.intercept_.mean()
    np.testing.assert_allclose(found, b - b.mean(), atol=1e-6)
    assert joint.certificates_["product_rank"] == rank
    assert joint.certificates_["is_global"]
    assert joint.certificates_["nuclear_norm"] == pytest.approx(np.linalg.norm(B, "nuc"), abs=1e-6)


def test_too_small_a_rank_is_not_called_global(make_classes):
    X, y = make_classes(4)
    model = ProjectedLogisticRegression(1, alpha=2.0, **TIGHT).fit(X, y)
    assert model.certificates_["status"] == "minimum"
    assert not model.certificates_["is_global"]
    assert model.certificates_["dual_norm"] > 2.0


def test_without_a_penalty_the_probabilities_are_those_of_logistic_regression(make_classes):
    X, y = make_classes(3, n=400)
    joint = ProjectedLogisticRegression(3, alpha=0, **TIGHT).fit(X, y)
    plain = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10000).fit(X, y)
    assert joint.certificates_["status"] == "minimum"
    np.testing.assert_allclose(joint.predict_proba(X), plain.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize(("rank", "n_outputs"), [(1, 1), (3, 1), (2, 4), (6, 4)])
def test_balancing_keeps_the_product_and_costs_its_nuclear_norm(rank, n_outputs):
    layout = Layout(5, rank, n_outputs, True)
    flat = np.random.default_rng(0).normal(size=layout.size)
    W, V, b = layout.unpack(flat)
    balanced_W, balanced_V, same_b = layout.unpack(balance(flat, layout))
    np.testing.assert_allclose(balanced_W @ balanced_V, W @ V, atol=1e-12)
    np.testing.assert_array_equal(same_b, b)
    half = (np.sum(balanced_W**2) + np.sum(balanced_V**2)) / 2
    assert half == pytest.approx(np.linalg.norm(W @ V, "nuc"))
    assert half <= (np.sum(W**2) + np.sum(V**2)) / 2
    np.testing.assert_allclose(balanced_W.T @ balanced_W, balanced_V @ balanced_V.T, atol=1e-12)


def test_matching_c_without_a_penalty_is_infinite():
    assert matching_c(np.ones(3), 0.0) == np.inf
