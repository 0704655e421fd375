"""SciPy's operators: equal to the dense matrices, in every form that SciPy asks for."""

import keras
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

from starstack.autodiff.batches import Batches
from starstack.autodiff.operators import GaussNewtonOperator, HessianOperator
from starstack.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(15, 3)), RNG.normal(size=(15, 2))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(4, "tanh", dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
    return keras.Sequential([keras.Input((3,), dtype="float64"), *layers])


@pytest.fixture(scope="module", params=[HessianOperator, GaussNewtonOperator])
def operator(request, model):
    return request.param.of(model, "mse", (X, Y), jit_compile=False)


def test_all_forms_of_products_agree_with_the_dense_matrix(operator):
    size = operator.shape[0]
    dense = operator @ np.eye(size)
    v, V = RNG.normal(size=size), RNG.normal(size=(size, 3))
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)
    np.testing.assert_allclose(operator @ v, dense @ v, atol=1e-14)
    np.testing.assert_allclose(operator.matvec(v[:, None]), (dense @ v)[:, None], atol=1e-14)
    np.testing.assert_allclose(operator @ V, dense @ V, atol=1e-14)
    np.testing.assert_allclose(operator.T @ v, dense @ v, atol=1e-14)
    np.testing.assert_allclose((2 * operator + operator) @ v, 3 * dense @ v, atol=1e-13)
    assert isinstance(operator, LinearOperator) and operator.dtype == np.float64
    assert operator.proofs.matrix == operator.matrix


def test_scipys_eigenvalues_are_those_of_the_dense_matrix(operator):
    dense = operator @ np.eye(operator.shape[0])
    largest = eigsh(operator, k=2, return_eigenvectors=False)
    expected = np.linalg.eigvalsh(dense)
    chosen = np.sort(expected[np.argsort(np.abs(expected))[-2:]])
    np.testing.assert_allclose(np.sort(largest), chosen, rtol=1e-9)


def test_it_follows_the_model(model):
    operator = HessianOperator.of(model, "mse", (X, Y), proved=False, jit_compile=False)
    v, own = RNG.normal(size=operator.shape[0]), operator.products.parameters.read()
    before = operator @ v
    with operator.products.parameters.at(own + 0.5):
        assert np.linalg.norm(operator @ v - before) > 0.1
    np.testing.assert_array_equal(operator @ v, before)


@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator])
def test_a_row_that_is_not_finite_is_named(kind, proved, model):
    """The proofs see the first batch only."""
    broken = X.copy()
    broken[11, 1] = np.nan
    data = Batches(broken, Y, batch_size=4)
    with pytest.raises(InputError, match=r"loss of .* not finite in row 11 \(batch 2\)"):
        kind.of(model, "mse", data, proved=proved, jit_compile=False) @ np.ones(26)


def test_a_vector_that_is_not_finite_is_refused(operator):
    with pytest.raises(InputError, match="the vector holds NaN"):
        operator @ np.full(26, np.nan)
