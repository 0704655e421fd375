"""Losses without a penalty that are said to be the lowest are, on features of any scale."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from starstack.projection.duality import duality_gap
from starstack.projection.objective import JointObjective
from starstack.projection.projected_logistic import ProjectedLogisticRegression

CASES = [(2, True), (2, False), (4, True), (4, False)]


def lowest_loss(objective):
    """Minimise over the coefficients themselves, by BFGS with differences."""
    X, Y, weight = objective.X, objective.Y, objective.sample_weight
    if Y.shape[1] == 1:
        Y = np.hstack([1 - Y, Y])
    if objective.layout.fit_intercept:
        X = np.column_stack([X, np.ones(len(X))])

    def loss(coefficients):
        logits = X @ coefficients.reshape(X.shape[1], -1)
        return weight @ (logsumexp(logits, axis=1) - (Y * logits).sum(axis=1))

    return minimize(loss, np.zeros(X.shape[1] * Y.shape[1])).fun


@pytest.fixture
def weighted(make_classes, make_objective):
    def make(n_classes, *, scales=1.0, fit_intercept=True):
        X, y = make_classes(n_classes, n_features=3)
        weight = np.random.default_rng(1).choice([0.0, 0.5, 3.0], len(y))
        return make_objective(
            X * scales, y, rank=3, alpha=0.0, fit_intercept=fit_intercept, sample_weight=weight
        )

    return make


def near_the_minimum(objective, distance):
    """Return the point of a tight fit, moved."""
    y = objective.Y[:, 0] if objective.layout.n_outputs == 1 else objective.Y.argmax(axis=1)
    intercept = objective.layout.fit_intercept
    model = ProjectedLogisticRegression(
        3, alpha=0, tol=1e-10, fit_intercept=intercept, random_state=0
    ).fit(objective.X, y, sample_weight=objective.sample_weight)
    flat = objective.layout.pack(model.projection_, model.weights_, model.intercept_)
    return flat + distance * np.random.default_rng(2).normal(size=flat.size)


@pytest.mark.parametrize(("n_classes", "fit_intercept"), CASES)
def test_the_gap_bounds_the_distance_to_the_lowest_loss(weighted, n_classes, fit_intercept):
    objective = weighted(n_classes, fit_intercept=fit_intercept)
    lowest = lowest_loss(objective)
    for distance in (1e-3, 1e-2):
        flat = near_the_minimum(objective, distance)
        excess = objective.value_and_gradient(flat)[0] - lowest
        assert 0.999 * excess - 1e-7 <= duality_gap(objective, flat) <= 3 * excess + 1e-7
    assert 0 <= duality_gap(objective, near_the_minimum(objective, 0.0)) + 1e-12 < 1e-9


def test_far_from_the_minimum_nothing_is_bounded(weighted):
    objective = weighted(4)
    far = np.full(objective.size, 3.0) * np.arange(objective.size)
    assert duality_gap(objective, far) == np.inf


def test_the_scale_of_a_feature_does_not_matter(weighted):
    plain, scales = weighted(4), np.array([1e-6, 1.0, 1e5])
    W, V, b = plain.layout.unpack(near_the_minimum(plain, 1e-2))
    expected = duality_gap(plain, plain.layout.pack(W, V, b))
    flat = plain.layout.pack(W / scales[:, None], V, b)
    assert 1e-4 < expected < 1
    assert duality_gap(weighted(4, scales=scales), flat) == pytest.approx(expected, rel=1e-6)


def test_repeated_and_constant_features_do_not_matter(weighted):
    plain = weighted(4)
    X = np.column_stack([plain.X, plain.X[:, 0], np.full(len(plain.X), 7.0)])
    options = {"rank": 3, "alpha": 0.0, "fit_intercept": True}
    repeated = JointObjective(X, plain.Y, plain.sample_weight, **options)
    flat = near_the_minimum(plain, 1e-2)
    W, V, b = plain.layout.unpack(flat)
    padded = repeated.layout.pack(np.pad(W, ((0, 2), (0, 0))), V, b)
    assert duality_gap(repeated, padded) == pytest.approx(duality_gap(plain, flat), rel=1e-6)


def test_a_gradient_that_is_small_on_a_small_feature_is_no_minimum():
    """Standard deviations of 180 and 6·10⁻⁵: the second has next to no gradient."""
    rng = np.random.default_rng(0)
    X = np.column_stack([180 * rng.normal(size=150), 6e-5 * rng.normal(size=150)])
    y = (rng.random(150) < 1 / (1 + np.exp(-X[:, 0] / 180))).astype(int) + (rng.random(150) < 0.3)
    model = ProjectedLogisticRegression(4, alpha=0, random_state=0)
    with pytest.warns(UserWarning, match="did not converge.*scale of every feature.*standardise"):
        model.fit(X, y)
    found = model.certificates_
    assert (found["status"], found["is_global"]) == ("not converged", False)
    lowest = model.fit(X / X.std(axis=0), y).certificates_
    assert (lowest["status"], lowest["is_global"]) == ("minimum", True)
    assert lowest["loss"] < found["loss"] - 0.1
