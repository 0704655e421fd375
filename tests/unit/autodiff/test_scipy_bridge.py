"""SciPy's minimisers on weights: closed-form minima, exact inverses, failures that are clear."""

import re

import keras
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

from starstack.autodiff import scipy_bridge
from starstack.autodiff.batches import Batches
from starstack.autodiff.fixed_hessian import FixedHessian
from starstack.autodiff.products import Products
from starstack.autodiff.scipy_bridge import (
    METHODS,
    REMEDIES,
    inverse_hessian_error,
    inverse_hessian_product,
    minimize,
)
from starstack.errors import InputError

RNG = np.random.default_rng(0)
N, P_IN = 40, 4
X = RNG.normal(size=(N, P_IN)) @ np.diag([0.3, 1, 1, 3])
Y = X @ RNG.normal(size=(P_IN, 2)) + 0.3 * RNG.normal(size=(N, 2))
RIDGE = 0.1


def linear(dtype="float64", penalty=None, activation=None, k=2):
    keras.utils.set_random_seed(1)
    regularizer = None if penalty is None else keras.regularizers.L2(penalty)
    layer = keras.layers.Dense(
        k, activation, use_bias=False, dtype=dtype, kernel_regularizer=regularizer
    )
    return keras.Sequential([keras.Input((P_IN,), dtype=dtype), layer])


def curved(dtype="float64"):
    """Return a network of one hidden layer with a penalty, so that its minimum is strict."""
    keras.utils.set_random_seed(3)
    options = {"dtype": dtype, "kernel_regularizer": keras.regularizers.L2(0.01)}
    options |= {"bias_regularizer": keras.regularizers.L2(0.01)}
    layers = [keras.layers.Dense(3, "tanh", **options), keras.layers.Dense(2, **options)]
    return keras.Sequential([keras.Input((P_IN,), dtype=dtype), *layers])


def fit(model, method, data=(X, Y), **options):
    return minimize(model, "mse", data, method, **({"jit_compile": False} | options))


@pytest.mark.parametrize("method", METHODS)
def test_least_squares_reach_the_normal_equations(method):
    model = linear()
    result = fit(model, method, tol=1e-10, data=Batches(X, Y, batch_size=16))
    expected = np.linalg.lstsq(X, Y, rcond=None)[0]
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-6)
    np.testing.assert_array_equal(result.x, model.get_weights()[0].reshape(-1))
    assert result.fun == pytest.approx(np.mean((X @ expected - Y) ** 2))
    assert np.abs(result.jac).max() < 1e-5
    assert result.x.dtype == np.float64


@pytest.mark.parametrize("penalized", [True, False])
def test_ridge_and_the_choice_to_leave_the_penalty_out(penalized):
    model = linear(penalty=RIDGE)
    fit(model, "trust-krylov", regularization=penalized, tol=1e-10)
    strength = 2 * N * RIDGE if penalized else 0.0
    expected = np.linalg.solve(X.T @ X + strength * np.eye(P_IN), X.T @ Y)
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_hess_inv_of_every_method_against_the_exact_inverse(method):
    """The exact ones are exact; those of BFGS and L-BFGS are what they are, and measured."""
    model = curved()
    result = fit(model, method, tol=1e-6, options={"maxiter": 3000})
    P = len(result.x)
    assert result.hess_inv.shape == (P, P)
    error = inverse_hessian_error(result)
    if METHODS[method].needs_products:
        assert error.frobenius < 1e-7
        assert error.worst_ratio == pytest.approx(1, abs=1e-6)
    elif method == "BFGS":
        assert isinstance(result.hess_inv, np.ndarray)
        assert 1e-4 < error.frobenius < 0.8
    else:
        assert isinstance(result.hess_inv, LinearOperator)
        assert error.frobenius > 1e-2


def test_bfgs_is_a_poor_inverse_hessian_even_of_a_quadratic():
    """Its line search is not exact, so that P iterations do not make it exact: two thirds off."""
    errors = {}
    for n_iterations in (1, 200):
        result = fit(linear(), "BFGS", tol=1e-9, options={"maxiter": n_iterations})
        assert result.success == (n_iterations == 200)
        errors[n_iterations] = inverse_hessian_error(result).frobenius
    assert errors[1] > 0.9
    assert 0.3 < errors[200] < errors[1]


def test_the_measure_of_the_error():
    result = fit(linear(), "BFGS")
    exact = np.linalg.inv(np.kron(X.T @ X, np.eye(2)) / N)
    result.hess_inv = 2 * exact
    error = inverse_hessian_error(result)
    assert error.frobenius == pytest.approx(1)
    np.testing.assert_allclose(error.variances, 2)
    assert (error.median_ratio, error.worst_ratio) == pytest.approx((2, 2))


def test_inverse_hessian_products_against_the_dense_inverse():
    products = Products(linear(), "mse", (X, Y), jit_compile=False)
    v = RNG.normal(size=products.parameters.size)
    expected = np.linalg.solve(np.kron(X.T @ X, np.eye(2)) / N, v)
    np.testing.assert_allclose(inverse_hessian_product(products, v), expected, rtol=1e-8)
    assert not inverse_hessian_product(products, 0 * v).any()


def test_inverse_hessian_products_refuse_saddles_and_say_when_they_stop_early():
    model = curved()
    products = Products(model, "mse", (X, Y), jit_compile=False)
    v = RNG.normal(size=products.parameters.size)
    with pytest.raises(InputError, match="not positive definite"):
        inverse_hessian_product(products, v)
    easy = Products(linear(), "mse", (X, Y), jit_compile=False)
    with pytest.raises(InputError, match="relative residual"):
        inverse_hessian_product(easy, v[:8], max_iterations=2)


def test_float32_models_are_minimised_too():
    model = linear("float32")
    for method in ("L-BFGS-B", "BFGS", "trust-ncg"):
        result = fit(model, method, x0=np.zeros(8), options={"maxiter": 50})
        assert result.x.dtype == result.jac.dtype == np.float64
        expected = np.linalg.lstsq(X, Y, rcond=None)[0]
        np.testing.assert_allclose(model.get_weights()[0], expected, atol=2e-3)


def test_initial_weights_may_be_a_list():
    kernel = np.full((P_IN, 2), 0.5)
    starts = [[kernel], kernel.reshape(-1), kernel.reshape(-1).tolist(), (kernel,)]
    found = [fit(linear(), "BFGS", x0=x0, options={"maxiter": 2}).x for x0 in starts]
    for x in found[1:]:
        np.testing.assert_array_equal(x, found[0])
    with pytest.raises(InputError, match="weights have shapes"):
        fit(linear(), "BFGS", x0=[kernel, kernel])
    with pytest.raises(InputError, match="x0 has shape"):
        fit(linear(), "BFGS", x0=np.zeros(3))


@pytest.mark.parametrize("method", ["BFGS", "trust-krylov"])
def test_weights_come_back_after_an_interruption(method):
    model = curved()
    own = [weight.copy() for weight in model.get_weights()]

    def interrupt(intermediate):
        assert intermediate.x.shape == (23,)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, method, callback=interrupt)
    for found, expected in zip(model.get_weights(), own, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_matrix_that_does_not_fit_is_refused_with_its_size():
    layers = [keras.layers.Dense(500), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((200,)), *layers])
    data = np.zeros((2, 200)), np.zeros(2)
    with pytest.raises(InputError, match=r"101001 × 101001 matrix, 81.6 GB.*L-BFGS-B.*inverse_h"):
        minimize(model, "mse", data, "BFGS")
    with pytest.raises(InputError, match="8 × 8 matrix"):
        fit(linear(), "BFGS", memory_limit=1000)


def test_unknown_methods_and_useless_inverses_are_refused():
    with pytest.raises(InputError, match="method is 'Nelder-Mead'"):
        fit(linear(), "Nelder-Mead")
    result = fit(linear(), "BFGS", data=(X * [1, 1, 1, 0], Y))
    with pytest.raises(InputError, match="no covariance"):
        inverse_hessian_error(result, hessian=np.diag([-1.0] + [1.0] * 7))


def test_cross_entropy_reaches_scikit_learns_minimum():
    from sklearn.linear_model import LogisticRegression

    y = (X[:, 0] + RNG.normal(size=N) > 0).astype(int)
    model = linear(activation="sigmoid", k=1, penalty=0.05)
    minimize(model, "binary_crossentropy", (X, y), "Newton-CG", tol=1e-12, jit_compile=False)
    theirs = LogisticRegression(C=1 / (2 * 0.05 * N), fit_intercept=False, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_[0], atol=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-krylov"])
def test_data_that_are_not_finite_are_refused_before_the_start(method):
    model, broken = linear(), X.copy()
    broken[30, 2] = np.inf
    own = model.get_weights()[0]
    with pytest.raises(InputError, match=r"loss .* not finite in row 30 \(batch 3\)"):
        fit(model, method, data=Batches(broken, Y, batch_size=8), x0=np.ones(8))
    np.testing.assert_array_equal(model.get_weights()[0], own)


@pytest.mark.parametrize("x0", [[], (), 3.0, "text", np.array(1.0)])
def test_useless_initial_weights_are_refused(x0):
    with pytest.raises(InputError, match="x0 has shape"):
        fit(linear(), "BFGS", x0=x0)


def test_negative_curvature_is_told_per_unit_length():
    """It is a Rayleigh quotient: no lower than the lowest eigenvalue, whatever v's length."""
    products = Products(curved(), "mse", (X, Y), jit_compile=False)
    lowest = np.linalg.eigvalsh(products.hessian_vector_product(np.eye(23)))[0]
    v = np.random.default_rng(1).normal(size=23)
    said = []
    for length in (1.0, 1e6):
        with pytest.raises(InputError, match="along a unit direction") as caught:
            inverse_hessian_product(products, length * v)
        said.append(float(re.search(r"curvature (\S+) along", str(caught.value))[1]))
    assert said[0] == said[1]
    assert lowest * 1.06 <= said[0] < 0  # two digits are told


def test_the_room_exports_it():
    from starstack import autodiff

    assert autodiff.inverse_hessian_product is inverse_hessian_product


def test_the_room_names_what_it_exports():
    from starstack import autodiff

    names = {}
    exec("from starstack.autodiff import *", names)
    assert set(autodiff.__all__) == set(dir(autodiff)) <= set(names)


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-ncg"])
def test_added_losses_are_refused_by_name(method):
    class Penalized(keras.layers.Dense):
        def call(self, x):
            self.add_loss(keras.ops.sum(self.kernel**2))
            return super().call(x)

    inputs = keras.Input((P_IN,), dtype="float64")
    model = keras.Sequential([inputs, Penalized(2, name="culprit", dtype="float64")])
    with pytest.raises(InputError, match=r"layer 'culprit' .*add_loss"):
        fit(model, method)
    assert fit(model, method, regularization=False).success


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
def test_a_first_batch_without_weight_is_no_obstacle(method):
    weight = np.repeat([0.0, 1.0], N // 2)
    model = linear()
    fit(model, method, Batches(X, Y, weight, batch_size=N // 2), tol=1e-10)
    expected = np.linalg.lstsq(X[N // 2 :], Y[N // 2 :], rcond=None)[0]
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-6)


def test_the_inverse_of_a_model_of_several_types_is_as_exact_as_its_products():
    exact = {"dtype": "float64", "kernel_regularizer": keras.regularizers.L2(0.01)}
    layers = [
        keras.layers.Dense(5, "tanh", use_bias=False, **exact),
        keras.layers.Dropout(0.2, dtype="float32"),
        keras.layers.Dense(2, use_bias=False, **exact),
    ]
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((P_IN,), dtype="float64"), *layers])
    result = fit(model, "trust-krylov", tol=1e-4)
    v = RNG.normal(size=30)
    found = result.hess_inv @ v
    np.testing.assert_allclose(
        result.products.hessian_vector_product(found), v, atol=1e-3 * np.linalg.norm(v)
    )


def logistic():
    """A convex problem of three parameters, and its gradient in closed form."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 2))
    y = (features[:, 0] + 0.8 * rng.normal(size=60) > 0).astype(float)
    layers = [keras.layers.Dense(1, "sigmoid", dtype="float64")]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), *layers])
    A = np.column_stack([features, np.ones(60)])
    return model, (features, y), lambda x: A.T @ (1 / (1 + np.exp(-A @ x)) - y) / 60


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_trust_krylov_keeps_what_it_reached_where_scipy_divides_zero_by_zero(caplog):
    """At the minimum its subproblem predicts no fall, and it goes on with a vector of NaN.

    Rounding decides at each start whether SciPy gives up, goes on to its last iteration, squares
    a vector beyond float64 or converges, so that the starts are many and each may end its way.
    """
    model, data, gradient = logistic()
    stopped = []
    for seed in range(12):
        x0 = np.random.default_rng(seed).normal(size=3)
        result = minimize(
            model, "binary_crossentropy", data, "trust-krylov", x0=x0, tol=1e-10, jit_compile=False
        )
        assert np.linalg.norm(gradient(result.x)) < 1e-4
        np.testing.assert_array_equal(result.products.parameters.read(), result.x)
        if not result.success:
            slope = f"{np.abs(result.jac).max():.1e}"
            assert f"The largest slope is {slope}; {REMEDIES[result.status]}." in result.message
            assert result.message in caplog.text
            stopped.append(result)
    assert len(stopped) > 6


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
def test_a_product_that_is_missing_on_the_way_leaves_what_was_reached(method, monkeypatch):
    calls, seen = [], []

    class Failing(FixedHessian):
        def __call__(self, v):
            calls.append(v)
            if len(calls) > 20:
                raise InputError("hessian product of model 'm' is not finite although the rest is")
            return super().__call__(v)

    monkeypatch.setattr(scipy_bridge, "FixedHessian", Failing)
    model = curved()
    start = Products(model, "mse", (X, Y), regularization=True, jit_compile=False).loss()
    result = fit(model, method, tol=1e-12, callback=lambda intermediate: seen.append(1))
    assert not result.success and result.fun < start
    np.testing.assert_array_equal(result.products.parameters.read(), result.x)
    loss, gradient = result.products.loss_and_gradient()
    assert (loss, result.nit, result.nhev) == (result.fun, len(seen), len(calls))
    assert result.nfev == result.njev >= result.nit
    np.testing.assert_array_equal(gradient, result.jac)
    assert "not finite" in result.message and REMEDIES[3] in result.message


def test_a_product_that_is_missing_at_the_start_is_an_error(monkeypatch):
    def missing(self, v):
        raise InputError("hessian product of model 'm' is not finite")

    monkeypatch.setattr(FixedHessian, "__call__", missing)
    model = curved()
    own = model.get_weights()
    with pytest.raises(InputError, match=r"^hessian product of model 'm' is not finite$"):
        fit(model, "trust-krylov")
    for before, after in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("method", METHODS)
def test_unknown_options_are_refused_by_name(method):
    with pytest.raises(InputError, match=f"options hold maxitr, which SciPy's method '{method}'"):
        fit(linear(), method, options={"maxitr": 3, "maxiter": 2})


@pytest.mark.parametrize("method", METHODS)
def test_iterations_that_are_used_up_are_told_with_the_slope_and_a_remedy(method):
    result = fit(curved(), method, options={"maxiter": 1})
    assert not result.success
    assert "The largest slope is" in result.message
    assert "raise maxiter in options" in result.message


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
def test_hess_inv_stays_that_of_its_minimum(method):
    """The model may be used for other fits afterwards, and keeps its weights."""
    model, (features, y), _ = logistic()
    fits = [
        minimize(
            model, "binary_crossentropy", (features[:n], y[:n]), method, tol=1e-6, jit_compile=False
        )
        for n in (60, 20)
    ]
    A = np.column_stack([features, np.ones(60)])
    p = 1 / (1 + np.exp(-A @ fits[0].x))
    expected = np.linalg.inv(A.T @ (A * (p * (1 - p))[:, None]) / 60)
    np.testing.assert_allclose(fits[0].hess_inv @ np.eye(3), expected, rtol=1e-7)
    assert inverse_hessian_error(fits[0]).frobenius < 1e-7
    np.testing.assert_array_equal(fits[1].products.parameters.read(), fits[1].x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{"tol": 1e-2}, {"options": {"maxiter": 3}}])
def test_loss_and_gradient_are_those_at_the_result(method, options):
    """SciPy's Newton-CG gives the gradient from before its last step."""
    result = fit(curved(), method, **options)
    loss, gradient = result.products.loss_and_gradient()
    assert result.fun == loss
    np.testing.assert_array_equal(result.jac, gradient)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (curved, {"tol": -1}, "tol is -1; expected a number from 0"),
        (curved, {"tol": np.nan}, "tol is nan; expected a number from 0"),
        (curved, {"options": ["maxiter"]}, r"options are \['maxiter'\]; expected a dict"),
        (lambda: "mse", {}, "expected a Keras model, got str 'mse'"),
    ],
)
def test_wrong_arguments_are_refused(model, options, message):
    with pytest.raises(InputError, match=message):
        fit(model(), "BFGS", **options)
