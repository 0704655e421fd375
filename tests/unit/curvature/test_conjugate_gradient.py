"""Conjugate gradients on quadratic bowls against direct solutions, and where there is no bowl."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.stats import ortho_group

from starstack.curvature.conjugate_gradient import solve
from starstack.errors import InputError

N = 50
BOWLS = {
    "distinct": np.linspace(1, 4, N),
    "repeated": np.repeat([0.5, 2.0], N // 2),
    "clustered": np.r_[1 + 1e-7 * np.arange(N - 2), 1e3, 2e3],
    "condition 1e10": np.geomspace(1e-10, 1, N),
}
ROTATION = ortho_group.rvs(N, random_state=0)


def rotated(spectrum):
    return ROTATION * spectrum @ ROTATION.T


def right_hand_sides(n_columns=3, seed=1):
    return np.random.default_rng(seed).standard_normal((N, n_columns))


@pytest.mark.parametrize("name", [name for name in BOWLS if "1e10" not in name])
def test_several_right_hand_sides_equal_the_direct_solution(name):
    matrix, b = rotated(BOWLS[name]), right_hand_sides()
    solution = solve(aslinearoperator(matrix), b, tolerance=1e-12)
    exact = np.linalg.solve(matrix, b)
    np.testing.assert_allclose(solution.x, exact, atol=1e-10 * np.abs(exact).max())
    one = solve(aslinearoperator(matrix), b[:, 1], tolerance=1e-12)
    np.testing.assert_array_equal(one.x, solution.x[:, 1])
    assert one.n_iterations == solution.n_iterations[1:2]


def test_repeated_eigenvalues_take_as_many_steps_as_there_are_different_ones():
    solution = solve(
        aslinearoperator(rotated(BOWLS["repeated"])), right_hand_sides(), tolerance=1e-10
    )
    assert set(solution.n_iterations) == {2}


def test_a_condition_of_1e10_needs_a_preconditioner():
    spectrum = BOWLS["condition 1e10"]
    matrix, exact = rotated(spectrum), right_hand_sides(1)
    b = matrix @ exact
    # Not the exact inverse: each eigenvalue is up to 30 % off.
    rough = rotated(1 / (spectrum * np.random.default_rng(2).uniform(0.7, 1.3, N)))
    options = {"tolerance": 1e-12, "max_iterations": 20}
    solution = solve(aslinearoperator(matrix), b, preconditioner=lambda v: rough @ v, **options)
    np.testing.assert_allclose(solution.x, exact, atol=1e-4)
    with pytest.raises(InputError, match=r"after 20 iterations the residual is .* preconditioner"):
        solve(aslinearoperator(matrix), b, **options)


def test_a_residual_that_only_the_recurrence_believes_is_refused():
    # With this right-hand side rounding keeps the true residual above 1e-8, whatever SciPy says.
    matrix, b = rotated(BOWLS["condition 1e10"]), right_hand_sides(1)
    with pytest.raises(InputError, match=r"the residual is \d\.\de-0[5678] of"):
        solve(aslinearoperator(matrix), b, tolerance=1e-10, max_iterations=10_000)


def test_the_exact_inverse_as_preconditioner_takes_one_step():
    matrix = rotated(BOWLS["distinct"])
    inverse = np.linalg.inv(matrix)
    solution = solve(
        aslinearoperator(matrix),
        right_hand_sides(),
        preconditioner=lambda v: inverse @ v,
        tolerance=1e-10,
    )
    assert set(solution.n_iterations) == {1}


@pytest.mark.parametrize("shift", [0.7, np.linspace(0.1, 3, N)], ids=["one", "per weight"])
def test_shift_is_added_to_the_diagonal(shift):
    matrix, b = rotated(BOWLS["distinct"]), right_hand_sides()
    solution = solve(aslinearoperator(matrix), b, shift=shift, tolerance=1e-12)
    exact = np.linalg.solve(matrix + np.diag(np.broadcast_to(shift, N)), b)
    np.testing.assert_allclose(solution.x, exact, atol=1e-10)


def test_residuals_are_those_of_the_solution():
    matrix, b = rotated(BOWLS["distinct"]), right_hand_sides()
    solution = solve(aslinearoperator(matrix), b, tolerance=1e-4)
    true = np.linalg.norm(b - matrix @ solution.x, axis=0) / np.linalg.norm(b, axis=0)
    np.testing.assert_allclose(solution.residuals, true, rtol=1e-8)
    assert max(true) <= 1e-4


def test_zero_is_solved_without_a_product():
    def refuse(v):
        raise AssertionError

    operator = LinearOperator((N, N), matvec=refuse, dtype=np.float64)
    solution = solve(operator, np.zeros(N))
    assert not solution.x.any()
    assert solution.n_iterations == (0,)


@pytest.mark.parametrize("smallest", [-1.0, -1e-3])
def test_an_indefinite_matrix_stops_with_its_curvature(smallest):
    matrix = rotated(np.r_[smallest, np.linspace(0.1, 2, N - 1)])
    with pytest.raises(InputError, match=r"indefinite or singular, its curvature .* is -"):
        solve(aslinearoperator(matrix), right_hand_sides(1), tolerance=1e-10)
    # The shift that the message asks for makes a bowl of it.
    shifted = solve(aslinearoperator(matrix), right_hand_sides(1), shift=1.5)
    assert shifted.residuals[0] <= 1e-8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b": np.ones(3)}, r"b has shape \(3,\), the matrix \(50, 50\)"),
        ({"preconditioner": lambda v: -v}, "the preconditioner is not positive definite"),
        ({"max_iterations": 2}, "after 2 iterations the residual is"),
        ({"shift": np.nan}, "NaN or infinity"),
    ],
)
def test_refusals_say_what_to_do(options, message):
    arguments = {"b": right_hand_sides(1)} | options
    with pytest.raises(InputError, match=message):
        solve(aslinearoperator(rotated(BOWLS["distinct"])), **arguments)
