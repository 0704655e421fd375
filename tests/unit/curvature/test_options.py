"""Options that cannot be are refused before any work, in one line that names them."""

import inspect

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from starstack.curvature.conjugate_gradient import solve
from starstack.curvature.diagnosis import diagnose
from starstack.curvature.hyperparameters import choose_prior_precision
from starstack.curvature.lanczos import extreme_eigenvalues, largest_eigenpairs
from starstack.curvature.options import OPTIONS, check_options
from starstack.curvature.spectrum import lanczos_quadrature, trace_and_diagonal
from starstack.curvature.structures import STRUCTURES, laplace
from starstack.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((20, 3)), RNG.standard_normal((20, 2))
MATRIX = aslinearoperator(np.diag([1.0, 2.0, 4.0]))
# Of `laplace`, by structure.
NUMBERS = {
    "exact": ("memory_limit", "shift"),
    "block": ("max_bytes",),
    "last_layer": ("max_bytes",),
    "low_rank": ("rank", "tolerance", "n_basis", "seed", "memory_limit"),
    "cg": ("shift", "tolerance"),
    "function_space": ("memory_limit",),
}
WRONG = (-1, "a", np.nan, [1, 2])


def assert_one_line(name, run, *arguments, **options):
    with pytest.raises(InputError, match=rf"{name}: expected a (whole )?number .*, got") as caught:
        run(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("structure", "name"), [(key, name) for key, names in NUMBERS.items() for name in names]
)
def test_a_structure_names_the_option_that_cannot_be(oracle, structure, name):
    model = oracle.network((3,), oracle.dense(2))
    zero = () if name in ("seed", "shift") else (0,)
    none = () if name in ("n_basis", "tolerance") else (None,)
    for value in (*WRONG, *zero, *none):
        options = {"structure": structure, "noise": 0.5, name: value}
        named = f"^{structure.replace('_', ' ')}: {name}"
        assert_one_line(named, laplace, model, (X, Y), **options)


def test_every_number_of_a_structure_is_looked_at():
    for structure, entry in STRUCTURES.items():
        found = {
            name
            for name, parameter in inspect.signature(entry.fit).parameters.items()
            if name in OPTIONS or type(parameter.default) in (int, float)
        }
        assert found - {"prior_precision"} == set(NUMBERS.get(structure, ()))


def test_numbers_as_text_and_no_limit_are_taken(oracle):
    model = oracle.network((3,), oracle.dense(2))
    options = {"structure": "low_rank", "noise": 0.5, "memory_limit": np.inf}
    one = laplace(model, (X, Y), rank=4.0, tolerance="1e-9", **options)
    other = laplace(model, (X, Y), rank=4, tolerance=1e-9, **options)
    np.testing.assert_array_equal(one.predictive_covariance(X), other.predictive_covariance(X))


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (lambda **o: solve(MATRIX, np.ones(3), **o), ("tolerance", "max_iterations")),
        (
            lambda **o: largest_eigenpairs(MATRIX, **{"rank": 1} | o),
            ("rank", "n_basis", "tolerance", "max_restarts", "memory_limit", "seed"),
        ),
        (lambda **o: extreme_eigenvalues(MATRIX, **o), ("n_steps", "seed")),
        (lambda **o: lanczos_quadrature(MATRIX, **o), ("n_steps", "n_probes", "seed")),
        (lambda **o: trace_and_diagonal(MATRIX, **{"n_probes": 1} | o), ("n_probes", "seed")),
    ],
    ids=["solve", "largest_eigenpairs", "extreme_eigenvalues", "quadrature", "trace"],
)
def test_functions_of_operators_name_the_option_that_cannot_be(run, names):
    for name in names:
        for value in (*WRONG, *(() if name in ("seed", "max_restarts") else (0,))):
            assert_one_line(name, run, **{name: value})


@pytest.mark.parametrize("shift", ["a", np.ones(2), 1j])
def test_a_shift_of_other_length_or_kind_is_refused(shift):
    with pytest.raises(InputError, match="shift: expected one number or 3, one for each row"):
        solve(MATRIX, np.ones(3), shift=shift)


@pytest.mark.parametrize("value", [*WRONG, 0, 2.5, None])
def test_sweeps_over_the_layers_are_counted(oracle, value):
    posterior = laplace(oracle.network((3,), oracle.dense(2)), (X, Y), noise=0.5)
    options = {"per_layer": True, "n_sweeps": value}
    assert_one_line("n_sweeps", choose_prior_precision, posterior, (X, Y), **options)


def test_options_of_a_diagnosis(oracle):
    posterior = laplace(oracle.network((3,), oracle.dense(2)), (X, Y), noise=0.5)
    with pytest.raises(InputError, match="matrix is 'fisher'; expected one of gauss_newton"):
        diagnose(posterior, (X, Y), matrix="fisher")
    for name in ("n_steps", "shift", "seed"):
        for value in WRONG:
            assert_one_line(name, diagnose, posterior, (X, Y), **{name: value})
    assert diagnose(posterior, (X, Y), n_steps=0).lambda_max is None


def test_a_basis_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"expected a file that can be written .*No such file"):
        largest_eigenpairs(MATRIX, 1, basis_path=tmp_path / "none" / "basis.npy")


def test_none_is_taken_where_it_is_the_default():
    def own(tolerance=None, rank=3):
        return tolerance, rank

    assert check_options(own, {"tolerance": None}, "own") == {"tolerance": None}
    with pytest.raises(InputError, match="own: rank: expected a whole number"):
        check_options(own, {"rank": None}, "own")
