"""SciPy's operators: equal to the dense matrices, in every form that SciPy asks for."""

import keras
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh, lsmr

from starstack.autodiff.batches import Batches
from starstack.autodiff.operators import GaussNewtonOperator, HessianOperator, JacobianOperator
from starstack.autodiff.products import Products, hessian_vector_product
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


def test_the_transpose_takes_vectors_of_its_own_width(model):
    J = JacobianOperator(Products(model, "mse", (X, Y), jit_compile=False), X, proved=False)
    assert J.rmatvec(np.ones(30)).shape == (J.shape[1],)
    for product in (J.rmatvec, J.rmatmat):
        with pytest.raises(InputError, match=r"shape \(5, 1\); expected \(30,\) or \(30, m\)"):
            product(np.ones((5, 1)))


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_target_that_is_not_finite_is_named(bad):
    """A linear model's Hessian does not see its targets; differences of gradients do."""
    layers = [keras.layers.Dense(2, dtype="float64")]
    linear = keras.Sequential([keras.Input((3,), dtype="float64"), *layers])
    broken = Y.copy()
    broken[2, 1] = bad
    for make in (HessianOperator.of, hessian_vector_product):
        with pytest.raises(InputError, match=r"loss of .* not finite in row 2 \(batch 0\)"):
            make(linear, "mse", (X, broken), jit_compile=False)


@pytest.mark.parametrize("shape", [(25,), (27,), (25, 2), (25, 1)])
def test_vectors_of_another_length_are_refused(operator, shape):
    with pytest.raises(InputError, match=r"expected \(26,\) or \(26, m\)"):
        operator @ np.ones(shape)
    with pytest.raises(InputError, match=r"expected \(26,\) or \(26, m\)"):
        operator.T @ np.ones(shape)


@pytest.fixture(scope="module")
def jacobian(model):
    return JacobianOperator(
        Products(model, "mse", Batches(X, Y, batch_size=6), jit_compile=False), X
    )


def test_the_jacobian_agrees_with_the_products_closed_form(jacobian, model):
    """Rows of the output, one after the other; of the last layer they are (h, 1)."""
    first, shift, _, _ = model.get_weights()
    hidden = np.tanh(X @ first + shift)
    last = np.concatenate(
        [np.einsum("nh,jk->njhk", hidden, np.eye(2)).reshape(30, 8), np.tile(np.eye(2), (15, 1))], 1
    )
    dense = jacobian @ np.eye(26)
    assert jacobian.shape == dense.shape == (30, 26)
    np.testing.assert_allclose(dense[:, 16:], last, atol=1e-14)
    np.testing.assert_allclose(jacobian.T @ np.eye(30), dense.T, atol=1e-14)
    v, u = RNG.normal(size=26), RNG.normal(size=30)
    np.testing.assert_allclose(jacobian @ v, dense @ v, atol=1e-14)
    np.testing.assert_allclose(jacobian.rmatvec(u), dense.T @ u, atol=1e-14)
    np.testing.assert_allclose(jacobian.H @ u, dense.T @ u, atol=1e-14)
    assert jacobian.proofs.matrix == "jacobian"


def test_jacobians_make_the_gauss_newton_matrix(jacobian, model):
    G = GaussNewtonOperator.of(model, "mse", (X, Y), proved=False, jit_compile=False)
    v = RNG.normal(size=26)
    np.testing.assert_allclose(jacobian.T @ (jacobian @ v) * 2 / 30, G @ v, atol=1e-14)


def test_scipy_solves_with_the_jacobian(jacobian):
    u = RNG.normal(size=30)
    found = lsmr(jacobian, u, atol=1e-13, btol=1e-13, maxiter=2000)[0]
    dense = jacobian @ np.eye(26)
    np.testing.assert_allclose(dense.T @ (dense @ found - u), 0, atol=1e-7)


def test_jacobians_at_any_rows_are_traced_once(jacobian):
    products = jacobian.products
    for n in range(1, 9):
        other = JacobianOperator(products, X[:n])
        other.T @ (other @ np.ones(26))
    assert {products.n_traces[f"{name}_product"] for name in ("jacobian", "transposed")} == {1}


def test_an_operator_at_wrong_rows_or_vectors_is_refused(jacobian):
    with pytest.raises(InputError, match=r"rows of shape \(2,\)"):
        JacobianOperator(jacobian.products, X[:, :2])
    with pytest.raises(InputError, match=r"expected \(26,\)"):
        jacobian @ np.ones(30)
