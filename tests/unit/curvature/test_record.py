"""Records: what was measured, judged with the rounding of the products, as JSON and back."""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator
from scipy.stats import ortho_group

from starstack.curvature.record import CurvatureRecord, describe_curvature, peak_memory
from starstack.errors import InputError

ROTATION = ortho_group.rvs(20, random_state=0)


def describe(spectrum=None, **options):
    given = {"matrix": "hessian", "structure": "exact", "n_rows": 7, "prior_precision": 0.5}
    if spectrum is not None:
        given["operator"] = aslinearoperator(ROTATION * spectrum @ ROTATION.T)
    return describe_curvature(**given | options)


def test_extreme_eigenvalues_and_definiteness():
    bowl = describe(np.linspace(0.1, 3, 20))
    assert (bowl.lambda_min, bowl.lambda_max) == pytest.approx((0.1, 3))
    assert bowl.indefinite is False
    saddle = describe(np.linspace(-0.1, 3, 20))
    assert saddle.lambda_min == pytest.approx(-0.1)
    assert saddle.indefinite is True


def test_a_singular_matrix_is_not_called_indefinite():
    for precision in (np.float64, np.float32):
        spectrum = np.r_[np.zeros(15), np.arange(1.0, 6)]
        matrix = (ROTATION * spectrum @ ROTATION.T).astype(precision)
        record = describe(operator=aslinearoperator(matrix), precision=precision)
        assert record.indefinite is False
        assert abs(record.lambda_min) < 1e-5


def test_expected_decrease_is_what_a_newton_step_gains():
    rng = np.random.default_rng(1)
    hessian = ROTATION * np.geomspace(0.1, 10, 20) @ ROTATION.T
    minimum, at = rng.standard_normal((2, 20))

    def value(x):
        return 0.5 * (x - minimum) @ hessian @ (x - minimum)

    gradient = hessian @ (at - minimum)
    record = describe(gradient=gradient, inverse_product=lambda v: np.linalg.solve(hessian, v))
    newton = at - np.linalg.solve(hessian, gradient)
    assert record.expected_decrease == pytest.approx(value(at) - value(newton), rel=1e-10)
    assert record.gradient_norm == pytest.approx(np.linalg.norm(gradient))


def test_the_gradient_is_told_apart_by_its_parts():
    data, prior = np.array([3.0, 0.0]), np.array([0.0, -4.0])
    record = describe(gradient=data + prior, prior_gradient=prior)
    norms = (record.gradient_norm, record.data_gradient_norm, record.prior_gradient_norm)
    assert norms == (5, 3, 4)


def test_rows_behind_the_eigenvalues_are_stated():
    spectrum = np.linspace(0.1, 3, 20)
    assert describe(spectrum).eigenvalue_rows == 7
    assert describe(spectrum, eigenvalue_rows=2).eigenvalue_rows == 2
    assert describe(eigenvalue_rows=2).eigenvalue_rows is None


def test_what_was_not_given_is_none():
    record = describe()
    measured = (record.lambda_max, record.indefinite, record.gradient_norm, record.proofs)
    assert measured == (None, None, None, None)
    assert record.seconds is None
    assert record.shift == 0


def test_json_and_back():
    @dataclass
    class Proofs:
        symmetry: float
        finite_difference: float

    record = describe(
        np.linspace(-1, 3, 20),
        prior_precision={"dense": np.float64(2), "output": 1},
        shift=np.float32(1.5),
        proofs=Proofs(1e-15, 1e-9),
        started=time.perf_counter(),
    )
    assert record.prior_precision == {"dense": 2.0, "output": 1.0}
    assert record.proofs == {"symmetry": 1e-15, "finite_difference": 1e-9}
    assert 0 < record.seconds < 60
    assert CurvatureRecord.from_json(record.to_json()) == record


def test_peak_memory_is_in_bytes():
    before = peak_memory()
    block = np.ones(40_000_000)  # 320 MB
    assert block.nbytes < peak_memory() < 100 * 2**30
    assert peak_memory() >= before


def test_an_unknown_matrix_is_refused():
    with pytest.raises(InputError, match="expected one of gauss_newton, hessian"):
        describe(matrix="fisher")
