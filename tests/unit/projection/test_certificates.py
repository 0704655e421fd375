"""What is stated of a fit's end: null directions as many as derived, separable data named."""

import json
import re

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from starstack.projection import separation
from starstack.projection.certificates import (
    certify,
    gauge_count,
    gauge_directions,
    null_count,
)
from starstack.projection.objective import JointObjective, Layout
from starstack.projection.projected_logistic import ProjectedLogisticRegression
from starstack.projection.saddle import extreme_curvature
from starstack.projection.separation import is_separable
from starstack.projection.solvers import Trace

# Classes, rank, penalty, intercept, duplicated column -> null directions by hand, with F = 5.
COUNTS = [
    (2, 1, 0.0, True, False, 1),  # one scale
    (2, 3, 0.0, True, False, 13),  # F(L − 1) + L: the fibre of the product
    (2, 1, 0.5, True, False, 0),
    (2, 3, 0.5, True, False, 2),  # rotations of a product of rank one: L − 1
    (4, 2, 0.0, False, False, 6),  # L² = 4, and r_W = 2 shifts of the softmax
    (4, 2, 0.0, True, False, 7),  # and the intercept's
    (4, 6, 0.0, True, False, 40),  # FL + LC − FC = 34, F = 5 shifts, the intercept's
    (4, 3, 0.5, False, False, 3),  # rotations of three columns
    (4, 3, 0.5, True, False, 4),
    (4, 3, 0.5, True, True, 4),  # a penalty decides between equal columns
    (2, 2, 0.0, True, True, 9),  # F(L − 1) + L = 7, and L for the sixth column
]


@pytest.mark.parametrize(
    ("n_classes", "rank", "alpha", "fit_intercept", "duplicated", "expected"), COUNTS
)
def test_null_directions_are_as_many_as_derived(
    make_classes, n_classes, rank, alpha, fit_intercept, duplicated, expected
):
    X, y = make_classes(n_classes, n=300)
    if duplicated:
        X = np.column_stack([X, X[:, 0]])
    model = ProjectedLogisticRegression(
        rank, alpha=alpha, fit_intercept=fit_intercept, tol=1e-10, random_state=0
    ).fit(X, y)
    found = model.certificates_
    assert found["status"] == "minimum"
    assert found["null_directions_found"] == expected
    assert found["null_directions_derived"] == expected
    assert found["gauge_directions"] <= expected
    assert found["gauge_residual"] < 1e-7


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def versicolor_or_virginica():
    X, y = load_iris(return_X_y=True)
    return X[y > 0], y[y > 0]


# Two classes, penalty, rank, seed: columns that the penalty drives to zero are left at any length.
# Rotations of the only column that stays are L − 1; at zero there are none.
DEFAULT_COUNTS = [
    (breast_cancer, 5.0, 3, 3, 2),
    (breast_cancer, 5.0, 8, 1, 7),
    (breast_cancer, 5.0, 8, 5, 7),
    (breast_cancer, 1000.0, 8, 1, 0),
    (versicolor_or_virginica, 50.0, 5, 0, 0),
    (versicolor_or_virginica, 50.0, 5, 1, 0),
]


@pytest.mark.parametrize("solver", ["trust-krylov", "l-bfgs"])
@pytest.mark.parametrize(("data", "alpha", "rank", "seed", "expected"), DEFAULT_COUNTS)
def test_null_directions_at_the_default_tolerance(data, alpha, rank, seed, expected, solver):
    model = ProjectedLogisticRegression(rank, alpha=alpha, solver=solver, random_state=seed)
    found = model.fit(*data()).certificates_
    assert found["status"] == "minimum"
    assert found["null_directions_found"] == expected
    assert found["null_directions_derived"] == expected
    assert found["gauge_directions"] == expected
    assert found["product_rank"] == int(expected > 0)


@pytest.mark.parametrize("solver", ["trust-krylov", "l-bfgs"])
def test_null_directions_where_the_first_newton_step_raises_the_gradient(make_classes, solver):
    X, y = make_classes(2, n=200, seed=18)
    model = ProjectedLogisticRegression(
        4, alpha=0.05, solver=solver, fit_intercept=False, random_state=1
    ).fit(30 * X, y)
    found = model.certificates_
    assert found["null_directions_found"] == found["null_directions_derived"] == 3


@pytest.mark.parametrize("tol", [1e-6, 1e-12])
def test_a_singular_value_next_to_the_penalty_is_no_null_direction(tol):
    """The second one of ∂f/∂(W V) is 0.99987 for α = 1: eigenvalues of 10⁻⁴, and not of zero."""
    X, y = load_iris(return_X_y=True)
    model = ProjectedLogisticRegression(3, alpha=1.0, tol=tol, random_state=0).fit(scale(X), y)
    found = model.certificates_
    assert found["null_directions_found"] == found["null_directions_derived"] == 3


@pytest.mark.parametrize(("rank", "expected"), [(2, 2), (8, 14)])
def test_null_directions_of_features_of_unlike_size(rank, expected):
    """Standard deviations from 0.1 to 300: eigenvalues from 10⁻³ to 10⁷ are none of them zero."""
    model = ProjectedLogisticRegression(rank, alpha=1.0, random_state=0)
    found = model.fit(*load_wine(return_X_y=True)).certificates_
    assert found["null_directions_found"] == found["null_directions_derived"] == expected


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize(("rank", "n_outputs"), [(1, 1), (2, 1), (3, 4), (2, 4)])
def test_the_loss_does_not_change_along_the_gauge(
    make_classes, make_objective, rank, n_outputs, penalised
):
    X, y = make_classes(max(2, n_outputs))
    objective = make_objective(X, y, rank=rank, alpha=0.7 if penalised else 0.0)
    flat = np.random.default_rng(4).normal(size=objective.size)
    directions = gauge_directions(flat, objective.layout, penalised=penalised)
    gradient = objective.value_and_gradient(flat)[1]
    np.testing.assert_allclose(
        gradient @ directions, 0, atol=1e-12 * np.linalg.norm(gradient) * objective.size
    )
    np.testing.assert_allclose(directions.T @ directions, np.eye(directions.shape[1]), atol=1e-12)


@pytest.mark.parametrize(("rank", "rank_W", "rank_V"), [(3, 3, 3), (3, 2, 3), (3, 2, 1), (2, 0, 0)])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_formula_counts_the_tangents(rank, rank_W, rank_V, fit_intercept):
    rng = np.random.default_rng(5)
    layout = Layout(6, rank, 4, fit_intercept)
    W = rng.normal(size=(6, rank_W)) @ rng.normal(size=(rank_W, rank))
    V = rng.normal(size=(rank, rank_V)) @ rng.normal(size=(rank_V, 4))
    flat = layout.pack(W, V, np.zeros(4))
    built = gauge_directions(flat, layout, penalised=False).shape[1]
    assert gauge_count(flat, layout, penalised=False) == built


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("rank", "rank_W", "rank_V"), [(3, 2, 3), (3, 3, 3), (3, 2, 2), (2, 1, 2)])
def test_null_directions_where_the_product_is_stationary(
    rank, rank_W, rank_V, constant, fit_intercept
):
    """Where the targets are the probabilities themselves the loss is, whatever W and V are.

    V of rank three has the vector 1 in its row space; a constant feature moves no more than an
    intercept does.
    """
    rng = np.random.default_rng(6)
    X = rng.normal(size=(40, 4))
    if constant:
        X[:, 3] = 2.0
    W = rng.normal(size=(4, rank_W)) @ rng.normal(size=(rank_W, rank))
    V = rng.normal(size=(rank, rank_V)) @ rng.normal(size=(rank_V, 3))
    options = {"rank": rank, "alpha": 0.0, "fit_intercept": fit_intercept}
    objective = JointObjective(X, np.zeros((40, 3)), np.ones(40), **options)
    flat = objective.layout.pack(W, V, np.zeros(3))
    objective = JointObjective(X, objective.probabilities(flat), np.ones(40), **options)
    sizes = np.abs(np.linalg.eigvalsh(objective.hessian(flat)))
    expected = np.count_nonzero(sizes < 1e-11 * sizes.max())
    assert null_count(objective, flat, gtol=1e-8) == expected


@pytest.mark.parametrize(("scale", "expected"), [(1.0, True), (-1.0, False)])
def test_separable_classes_are_told_apart(scale, expected):
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    y = np.array([[0.0], [0.0], [1.0], [1.0]])
    X = np.column_stack([x, [scale, 1, scale, 1]])
    if not expected:
        y = y[[0, 2, 1, 3]]
    assert is_separable(X[:, :1], y, np.ones(4), fit_intercept=False) is expected


@pytest.mark.parametrize(("others", "offset"), [(1e7, 0.0), (1.0, 1e9)])
def test_the_scale_and_the_origin_of_features_hide_no_separation(others, offset):
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], 20)[:, None]
    separating = (2 * y[:, 0] - 1) * rng.uniform(1, 2, 40) + offset
    X = np.column_stack([separating, others * rng.normal(size=40)])
    assert is_separable(X, y, np.ones(40), fit_intercept=True)
    assert not is_separable(X[:, 1:], y, np.ones(40), fit_intercept=True)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e8, 1e12])
@pytest.mark.parametrize(("n_features", "n_classes"), [(1, 2), (3, 2), (2, 3)])
def test_a_row_far_from_all_others_separates_none_of_them(size, n_features, n_classes):
    """Classes are random, so that many rows are nearer to another one."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, n_features)), rng.integers(0, n_classes, 60)
    X[0, 0], y[0] = size, 1
    Y, ones = np.eye(n_classes)[y], np.ones(60)
    Y = Y[:, 1:] if n_classes == 2 else Y
    assert not is_separable(X, Y, ones, fit_intercept=True)
    X[:, 0] = np.where(y == 1, np.abs(X[:, 0]) + 1, -np.abs(X[:, 0]) - 1)
    assert is_separable(X, Y, ones, fit_intercept=True)


def test_an_outlier_does_not_hide_a_minimum():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 1)), rng.integers(0, 2, 60)
    X[0], y[0] = 1e8, 1
    certificates = ProjectedLogisticRegression(1, alpha=0, random_state=0).fit(X, y).certificates_
    assert certificates["loss"] > 30
    assert (certificates["status"], certificates["has_minimum"]) == ("minimum", True)


def test_the_origin_counts_without_an_intercept():
    """All rows are on one side of it."""
    X, y, ones = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0], [0.0], [1.0]]), np.ones(3)
    assert is_separable(X, y, ones, fit_intercept=True)
    assert not is_separable(X, y, ones, fit_intercept=False)


def test_one_row_that_runs_off_is_no_minimum():
    """A large column beside one that is 1 in one row only: its coefficient grows for ever."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    X = np.column_stack([1e4 * rng.normal(size=2000), np.arange(2000) == 7])
    model = ProjectedLogisticRegression(1, alpha=0, tol=1e-5, random_state=0)
    with pytest.warns(UserWarning, match="no minimum"):
        model.fit(X, y)
    assert model.certificates_["status"] == "no minimum"


def test_coefficients_of_both_signs_separate():
    X, ones = np.array([[-1.0, 2.0], [1.0, 1.0], [2.0, -1.0]]), np.ones(3)
    for y in ([0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]):
        assert is_separable(X, np.array(y)[:, None], ones, fit_intercept=True)


def test_a_tie_separates_all_but_its_rows():
    """Quasi-complete separation: the loss still has no minimum."""
    X = np.array([[-1.0], [0.0], [0.0], [1.0]])
    y = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert is_separable(X, y, np.ones(4), fit_intercept=True)


def test_rows_without_weight_do_not_count():
    X = np.array([[-1.0], [1.0], [2.0]])
    y = np.array([[0.0], [1.0], [0.0]])
    assert not is_separable(X, y, np.ones(3), fit_intercept=True)
    assert is_separable(X, y, np.array([1.0, 1.0, 0.0]), fit_intercept=True)


def test_three_classes_that_are_separable_have_no_minimum():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 8.0], [7.0, -4.0], [-7.0, -4.0]])
    y = np.repeat([0, 1, 2], 20)
    X = centres[y] + rng.normal(size=(60, 2))
    model = ProjectedLogisticRegression(2, alpha=0, max_iter=50, random_state=0)
    with pytest.warns(UserWarning, match="no minimum"):
        model.fit(X, y)
    assert model.certificates_["status"] == "no minimum"
    X[[0, 20, 40]] = centres[[1, 2, 0]]  # one row of each class among another
    assert not is_separable(X, np.eye(3)[y], np.ones(60), fit_intercept=True)


@pytest.mark.parametrize("tol", [1e-5, 1e-8])
def test_a_projection_that_may_still_turn_is_not_said_to_have_a_minimum(tol):
    """Of class 0 alone some rows have the first feature: coefficients grow as `tol` falls."""
    rng = np.random.default_rng(2)
    y, X = np.arange(30) % 3, rng.normal(size=(30, 2))
    X[:, 0] = (y == 0) * (rng.random(30) < 0.3)
    model = ProjectedLogisticRegression(1, alpha=0, tol=tol, max_iter=10000, random_state=0)
    with pytest.warns(UserWarning, match="separable by all features.*is not known"):
        model.fit(X, y)
    assert model.certificates_["has_minimum"] is None
    model.set_params(rank=2)
    with pytest.warns(UserWarning, match="no minimum"):
        model.fit(X, y)
    assert model.certificates_["has_minimum"] is False


STUCK = [
    ({"rank": 2, "init": "zeros", "escape": False}, "saddle"),
    (
        {"rank": 2, "init": "zeros", "solver": "gradient-descent", "max_iter": 50},
        "no minimum",
    ),
    ({"rank": 3, "solver": "gradient-descent", "max_iter": 1}, "no minimum"),
]


@pytest.mark.parametrize(("options", "status"), STUCK)
def test_the_features_decide_whether_there_is_a_minimum(options, status):
    """The projection that was found separates nothing yet; of rank K − 1 another one does."""
    X, y = load_wine(return_X_y=True)
    model = ProjectedLogisticRegression(alpha=0, random_state=0, **options)
    with pytest.warns(UserWarning, match=status):
        model.fit(scale(X), y)
    assert model.certificates_["has_minimum"] is False
    assert model.certificates_["status"] == status


def test_too_few_iterations_are_not_called_a_minimum(make_classes):
    X, y = make_classes(2)
    model = ProjectedLogisticRegression(1, solver="gradient-descent", max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="did not converge.*raise max_iter above 2$"):
        model.fit(X, y)
    assert model.certificates_["status"] == "not converged"


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize(("n_classes", "max_iter"), [(2, 2), (3, 3)])
def test_certificates_of_a_fit_that_did_not_converge_are_of_its_factors(
    make_classes, make_objective, n_classes, max_iter, alpha
):
    X, y = make_classes(n_classes)
    X *= 10.0 ** np.arange(X.shape[1])  # the solver leaves the factors unbalanced
    model = ProjectedLogisticRegression(
        3, alpha=alpha, solver="l-bfgs", max_iter=max_iter, random_state=0
    )
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X, y)
    objective = make_objective(X, y, rank=3, alpha=alpha)
    flat = objective.layout.pack(model.projection_, model.weights_, model.intercept_)
    loss, gradient = objective.value_and_gradient(flat)
    found = model.certificates_
    assert found["loss"] == pytest.approx(loss, rel=1e-10)
    assert found["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert found["smallest_eigenvalue"] == pytest.approx(
        np.linalg.eigvalsh(objective.hessian(flat))[0], rel=1e-2
    )
    assert (model.history_["loss"][-1], model.n_iter_) == (found["loss"], max_iter)


def far_apart():
    """Two classes that a small penalty alone keeps from a minimum at infinity."""
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(30, 2)) - 2, rng.normal(size=(30, 2)) + 4])
    return X, np.repeat([0, 1], 30)


@pytest.mark.filterwarnings("ignore:the minimum should have 1 null directions")  # α is rounding
@pytest.mark.parametrize("solver", ["trust-krylov", "l-bfgs"])
@pytest.mark.parametrize("alpha", [1e-5, 1e-6, 1e-8])
def test_a_small_penalty_is_seen(alpha, solver):
    X, y = far_apart()
    model = ProjectedLogisticRegression(2, alpha=alpha, solver=solver, random_state=0).fit(X, y)
    found = model.certificates_
    assert (found["status"], found["is_global"]) == ("minimum", True)
    assert found["dual_norm"] == pytest.approx(alpha, rel=1e-6)
    ridge = LogisticRegression(C=found["matching_c"], solver="newton-cholesky", tol=1e-12)
    np.testing.assert_allclose(model.coef_, ridge.fit(X, y).coef_, rtol=1e-5)


def test_a_gradient_that_hides_the_penalty_is_no_minimum(make_objective):
    """Within 10⁻⁶ per row, and still far from where the penalty holds the coefficients."""
    X, y = far_apart()
    objective = make_objective(X, y, rank=2, alpha=1e-6)
    flat = np.array([2.5, 0.0, 2.5, 0.0, 3.5, 0.0, -17.5])
    norm = np.linalg.norm(objective.value_and_gradient(flat)[1])
    assert 1e-9 < norm < 1e-6 * len(y)
    gtol = objective.gradient_tolerance(1e-6)
    assert gtol == pytest.approx(1e-9 / np.mean(np.sum(X**2, axis=1)) ** 0.25)
    found = certify(objective, flat, extreme_curvature(objective, flat), gtol=gtol)
    assert (found["status"], found["is_global"]) == ("not converged", False)


def test_null_directions_other_than_derived_are_said():
    model = ProjectedLogisticRegression(2, alpha=0.1, random_state=0).fit(*far_apart())
    assert model._advice(Trace()) == ""
    model.certificates_["null_directions_found"] = 6
    assert "should have 1 null directions, and 6 were found" in model._advice(Trace())
    model.certificates_["null_directions_found"] = -1
    assert model._advice(Trace()) == ""


ADVICE = [
    ({"init": "zeros", "max_iter": 1}, "ended at a saddle.*raise max_iter above 1$"),
    ({"init": "zeros", "escape": False}, "ended at a saddle.*set escape to True$"),
    ({"solver": "l-bfgs", "tol": 1e-300}, "rounding hides.*standardise.*or raise alpha$"),
]


@pytest.mark.parametrize(("options", "message"), ADVICE)
def test_the_advice_is_what_helps(make_classes, options, message):
    X, y = make_classes(2)
    with pytest.warns(UserWarning, match=message):
        ProjectedLogisticRegression(2, fit_intercept=False, random_state=0, **options).fit(X, y)


def test_the_advice_for_a_penalty_beyond_all_is_to_lower_it(make_classes):
    X, y = make_classes(2)
    model = ProjectedLogisticRegression(2, alpha=1e4, random_state=0).fit(X, y)
    assert model._advice(Trace()) == ""
    for change in ({"status": "not converged"}, {"null_directions_found": 3}):
        certificates = model.certificates_
        model.certificates_ = certificates | change
        assert re.search(r"lower alpha: above about \d+ all", model._advice(Trace()))
        model.certificates_ = certificates


@pytest.mark.filterwarnings("ignore:the minimum should have 1 null directions")  # α is rounding
@pytest.mark.parametrize("alpha", [1e-10, 1e-8, 1e-6])
def test_a_small_penalty_on_classes_that_overlap_is_minimised(make_classes, alpha):
    """Along the gauge it is the only curvature, and unbalanced factors its only gradient."""
    X, y = make_classes(2, n=200, seed=1)
    found = ProjectedLogisticRegression(2, alpha=alpha, random_state=0).fit(X, y).certificates_
    assert (found["status"], found["is_global"]) == ("minimum", True)
    assert found["dual_norm"] == pytest.approx(alpha, rel=1e-3)


def test_certificates_are_plain_numbers_and_words(make_classes):
    X, y = make_classes(3)
    for alpha in (0.0, 2.0):
        model = ProjectedLogisticRegression(2, alpha=alpha, init="zeros", random_state=0).fit(X, y)
        assert model.saddle_
        for found in (model.certificates_, *model.saddle_):
            assert {type(value) for value in found.values()} <= {bool, int, float, str}
            json.dumps(found)


def test_a_column_of_rounding_does_not_hide_that_classes_overlap():
    rng = np.random.default_rng(4)
    told, y = np.arange(100) < 60, rng.integers(0, 2, 100)
    separating = np.where(told, (2 * y - 1) * (1 + rng.random(100)), rng.normal(size=100))
    rounding = np.where(told, 1e-12 * rng.normal(size=100), rng.normal(size=100))
    X = np.column_stack([separating, rounding])
    assert not is_separable(X, y[:, None], np.ones(100), fit_intercept=True)
    # Of the first 60 rows alone the first column tells all.
    assert is_separable(X[:60], y[:60, None], np.ones(60), fit_intercept=True)


@pytest.mark.parametrize("far", [1e3, 1e9, 1e20])
def test_what_separates_one_far_row_alone_separates_nothing(far):
    """Rows 1 to 4 leave nothing to the first feature, rows 5 and 7 nothing to the second."""
    X = np.array([[1, 0], [1, 0], [-1, 0], [-1, 0], [0, 1], [0, -1], [far, 1]])
    y = np.array([0, 1, 0, 1, 1, 0, 0])
    assert not is_separable(X, y[:, None], np.ones(7), fit_intercept=True)


def test_what_the_programme_leaves_of_zero_hides_no_separation(monkeypatch):
    """The last two rows are ties as long as nothing is left to the second feature."""

    def inexact(*args, **options):
        result = linprog(*args, **options)
        result.x[1] += 0.1 * options["options"]["primal_feasibility_tolerance"]
        return result

    monkeypatch.setattr(separation, "linprog", inexact)
    X = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    y = np.array([[0.0], [1.0], [0.0], [1.0]])
    assert is_separable(X, y, np.ones(4), fit_intercept=False)
