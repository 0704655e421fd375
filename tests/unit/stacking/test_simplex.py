"""Non-negative and convex least squares: optimality conditions, other solvers, hard cases."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize

from starstack.stacking.simplex import convex_weights, non_negative_least_squares


def problems(seed, count, *, most=16, spread=0.0):
    """Random members around y; the sizes of their errors differ by 10**spread."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n, m = int(rng.integers(4, 120)), int(rng.integers(1, most))
        y = rng.normal(size=n) * 10.0 ** rng.uniform(-8, 8)
        shared = rng.normal(size=(n, 1)) * rng.integers(0, 2)
        error = (shared + rng.normal(size=(n, m))) * 10.0 ** -rng.uniform(0, spread, size=m)
        yield y[:, None] + error * np.abs(y).max() * 10.0 ** rng.uniform(-3, 1), y


def duality_gap(F, y, w):
    """‖Dw‖² − min_j d_j·Dw, zero at the optimum and nowhere else; the best member has ‖d‖² = 1.

    It is at least half of what ‖Dw‖² could still fall, so a small gap proves optimality.
    """
    D = y[:, None] - F
    D = D / np.linalg.norm(D, axis=0).min()
    residual = D @ w
    return residual @ residual - (D.T @ residual).min()


def best_by_enumeration(F, y):
    """Solve the equality-constrained problem on every support; keep the best feasible point."""
    D = y[:, None] - F
    size, m = np.linalg.norm(D, axis=0), F.shape[1]
    G = (D / size).T @ (D / size)
    best, weights = np.inf, None
    for count in range(1, m + 1):
        for support in itertools.combinations(range(m), count):
            within = list(support)
            z = np.linalg.solve(G[np.ix_(within, within)], 1 / size[within]) / size[within]
            if (z / z.sum() < 0).any():
                continue
            w = np.zeros(m)
            w[within] = z / z.sum()
            if np.linalg.norm(D @ w) < best:
                best, weights = np.linalg.norm(D @ w), w
    return weights


def test_convex_weights_are_optimal_on_many_problems():
    for F, y in problems(0, 500):
        w = convex_weights(F, y)
        assert (w >= 0).all()
        assert duality_gap(F, y, w) < 1e-12


def test_members_whose_errors_differ_by_eight_orders_of_magnitude():
    for F, y in problems(1, 200, most=6, spread=8):
        D = y[:, None] - F
        least = np.linalg.norm(D @ best_by_enumeration(F, y))
        single = np.linalg.norm(D, axis=0).min()
        assert np.linalg.norm(D @ convex_weights(F, y)) <= least * (1 + 1e-9) + single * 1e-9


def test_a_member_that_is_almost_perfect_does_not_stop_the_solver():
    # Left unscaled, these columns exhausted the solver's iterations.
    rng = np.random.default_rng(2)
    for _ in range(300):
        n, m = int(rng.integers(20, 100)), int(rng.integers(2, 20))
        y = rng.normal(size=n)
        size = 10.0 ** rng.uniform(-15, 3, size=m)
        w = convex_weights(y[:, None] + rng.normal(size=(n, m)) * size, y)
        assert np.isfinite(w).all()
        assert w @ size < 1e3 * size.min()


def test_convex_weights_equal_enumeration_of_all_supports():
    rng = np.random.default_rng(3)
    for _ in range(200):
        n, m = int(rng.integers(6, 30)), int(rng.integers(1, 5))
        y = rng.normal(size=n)
        F = y[:, None] + rng.normal(size=(n, m)) + rng.normal(size=(n, 1)) * rng.integers(0, 2)
        np.testing.assert_allclose(convex_weights(F, y), best_by_enumeration(F, y), atol=1e-10)


def test_convex_weights_equal_a_general_solver():
    rng = np.random.default_rng(4)
    for _ in range(15):
        y = rng.normal(size=40)
        F = 0.7 * y[:, None] + rng.normal(size=(40, 5)) + 0.3
        found = minimize(
            lambda w, F=F, y=y: np.sum((y - F @ w) ** 2),
            np.full(5, 0.2),
            method="SLSQP",
            bounds=[(0, 1)] * 5,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        w = convex_weights(F, y)
        np.testing.assert_allclose(w, found.x, atol=1e-5)
        assert np.sum((y - F @ w) ** 2) <= found.fun * (1 + 1e-10)


def test_no_point_of_a_grid_is_better():
    rng = np.random.default_rng(5)
    grid = [(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]
    for _ in range(20):
        y = rng.normal(size=12)
        F = rng.normal(size=(12, 3)) + 0.5 * y[:, None]
        risks = ((y[:, None] - F @ (np.array(grid).T / 60)) ** 2).sum(axis=0)
        w = convex_weights(F, y)
        assert np.sum((y - F @ w) ** 2) <= risks.min() + 1e-12
        # The grid is fine enough to come near, so that the comparison means something.
        assert risks.min() - np.sum((y - F @ w) ** 2) < 0.05


def test_dividing_plain_non_negative_weights_by_their_sum_is_not_the_solution():
    # The two problems differ: the solver of one cannot stand in for the other.
    rng = np.random.default_rng(6)
    y = rng.normal(size=30) + 5
    F = y[:, None] * [0.5, 0.6] + rng.normal(size=(30, 2))
    heuristic = non_negative_least_squares(F, y)
    heuristic /= heuristic.sum()
    assert duality_gap(F, y, heuristic) > 1e-3
    assert duality_gap(F, y, convex_weights(F, y)) < 1e-12


def test_sum_is_exactly_one_in_whatever_order_it_is_taken():
    rng = np.random.default_rng(7)
    for _ in range(300):
        n, m = 60, int(rng.integers(2, 30))
        y = rng.normal(size=n)
        w = convex_weights(y[:, None] + rng.normal(size=(n, m)), y)
        table = np.column_stack([w, w])
        sums = [
            w.sum(),
            sum(w.tolist()),
            sum(w[::-1].tolist()),
            math.fsum(w),
            table.sum(axis=0)[1],
            w[rng.permutation(m)].sum(),
        ]
        assert sums == [1.0] * 6


def test_of_identical_members_only_the_first_gets_weight():
    rng = np.random.default_rng(8)
    y = rng.normal(size=50)
    a, b = y + rng.normal(size=50), y + rng.normal(size=50)
    expected = convex_weights(np.column_stack([a, b]), y)
    assert expected.min() > 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = convex_weights(np.column_stack([a, a, b, a, b]), y)
        nearly = convex_weights(np.column_stack([a, a * (1 + 1e-15), b]), y)
        np.testing.assert_array_equal(convex_weights(np.column_stack([a] * 3), y), [1, 0, 0])
    np.testing.assert_allclose(w, [expected[0], 0, expected[1], 0, 0], atol=1e-12)
    np.testing.assert_allclose(nearly[0] + nearly[1], expected[0], atol=1e-7)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_one_member_gets_everything(shift):
    y = np.arange(5.0)
    assert convex_weights((y + shift)[:, None], y).tolist() == [1.0]


def test_a_perfect_member_gets_everything():
    rng = np.random.default_rng(9)
    y = rng.normal(size=20)
    F = np.column_stack([y + rng.normal(size=20), y, y + 1])
    assert convex_weights(F, y).tolist() == [0.0, 1.0, 0.0]


def test_fewer_rows_than_members():
    rng = np.random.default_rng(10)
    F, y = rng.normal(size=(3, 8)) + 2, rng.normal(size=3)
    w = convex_weights(F, y)
    assert w.sum() == 1.0
    assert duality_gap(F, y, w) < 1e-10


@pytest.mark.parametrize("solve", [convex_weights, non_negative_least_squares])
def test_weights_of_rows_count_them(solve):
    rng = np.random.default_rng(11)
    y = rng.normal(size=15)
    F = y[:, None] + rng.normal(size=(15, 4))
    times = rng.integers(0, 4, size=15)
    weighted = solve(F, y, times.astype(float))
    repeated = solve(np.repeat(F, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)
    assert np.abs(weighted - solve(F, y)).max() > 1e-3


def test_non_negative_least_squares_is_optimal_on_many_problems():
    rng = np.random.default_rng(12)
    for _ in range(500):
        n, m = int(rng.integers(5, 80)), int(rng.integers(1, 20))
        F = rng.normal(size=(n, m)) + rng.normal(size=(n, 1)) * rng.integers(0, 2)
        F *= 10.0 ** rng.uniform(-8, 8, size=m)
        y = rng.normal(size=n) * 10.0 ** rng.uniform(-8, 8)
        w = non_negative_least_squares(F, y)
        gradient = F.T @ (F @ w - y) / np.linalg.norm(F, axis=0) / np.linalg.norm(y)
        assert (w >= 0).all()
        assert gradient.min() > -1e-12
        assert np.abs(gradient[w > 0]).max(initial=0) < 1e-12


def test_non_negative_least_squares_equals_a_bounded_solver():
    rng = np.random.default_rng(13)
    for _ in range(30):
        F, y = rng.normal(size=(25, 5)), rng.normal(size=25)
        expected = lsq_linear(F, y, bounds=(0, np.inf), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(non_negative_least_squares(F, y), expected, atol=1e-10)


def test_units_of_the_members_do_not_matter():
    rng = np.random.default_rng(14)
    y = rng.normal(size=40)
    F = y[:, None] + rng.normal(size=(40, 4))
    unit = np.array([1e-8, 1.0, 1e8, 1e3])
    w = non_negative_least_squares(F, y)
    np.testing.assert_allclose(non_negative_least_squares(F * unit, y) * unit, w, rtol=1e-10)
    np.testing.assert_allclose(non_negative_least_squares(F, y * 1e-8) * 1e8, w, rtol=1e-10)
    convex = convex_weights(F, y)
    for factor in (1e-8, 1e8):
        np.testing.assert_allclose(convex_weights(F * factor, y * factor), convex, atol=1e-10)


def test_members_against_the_target_or_without_values_get_nothing():
    y = np.array([1.0, 2.0, 3.0])
    assert non_negative_least_squares(-y[:, None], y).tolist() == [0.0]
    assert non_negative_least_squares(np.zeros((3, 2)), y).tolist() == [0.0, 0.0]
    assert non_negative_least_squares(y[:, None], np.zeros(3)).tolist() == [0.0]
