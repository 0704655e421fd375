"""The dense curvature against closed forms in float64, and where it has no inverse."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import block_diag
from scipy.special import expit, softmax
from scipy.stats import multivariate_normal

from starstack.autodiff.batches import Batches
from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.products import Products
from starstack.curvature.exact import ExactPosterior, fit_exact
from starstack.curvature.row_jacobian import RowJacobian
from starstack.errors import InputError

N, F, K = 17, 4, 2
SIGMA, DELTA = np.array([0.5, 2.0]), 0.3


def rows(seed=0, n_outputs=K):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, F)), rng.standard_normal((N, n_outputs)), rng.uniform(0.5, 2, N)


def network(*layers, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((F,), dtype="float64"), *layers])
    flat = FlatParameters(model)
    flat.write(0.7 * np.random.default_rng(seed).standard_normal(flat.size))
    return model


def dense(width, activation=None, **options):
    return keras.layers.Dense(width, activation=activation, dtype="float64", **options)


def with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


def in_flat_order(blocks):
    """Arrange one (F + 1, F + 1) block per output as the flat vector has it: kernel, then bias."""
    k, size = len(blocks), len(blocks[0])
    by_output = block_diag(*blocks)
    order = [c * size + f for f in range(size) for c in range(k)]
    return by_output[np.ix_(order, order)]


def ridge(X, weight):
    A = with_ones(X)
    gram = A.T @ (weight[:, None] * A)
    return [gram / sigma**2 + DELTA * np.eye(F + 1) for sigma in SIGMA]


@pytest.mark.parametrize(("matrix", "batch_size"), [("gauss_newton", 5), ("hessian", 64)])
def test_linear_model_has_the_ridge_posterior(matrix, batch_size):
    X, Y, weight = rows()
    model = network(dense(K))
    data = Batches(X, Y, weight, batch_size=batch_size)
    posterior = fit_exact(model, data, noise=SIGMA, prior_precision=DELTA, matrix=matrix)
    precision = in_flat_order(ridge(X, weight))
    np.testing.assert_allclose(posterior.precision(), precision, atol=1e-10)
    v = np.random.default_rng(1).standard_normal((K * (F + 1), 3))
    solved = np.linalg.solve(precision, v)
    np.testing.assert_allclose(posterior.inverse_hessian_product(v), solved, atol=1e-10)
    np.testing.assert_allclose(posterior.inverse_hessian_product(v[:, 1]), solved[:, 1], atol=1e-10)
    new = np.random.default_rng(2).standard_normal((7, F))
    expected = [
        np.diag([a @ np.linalg.solve(block, a) for block in ridge(X, weight)])
        for a in with_ones(new)
    ]
    found = posterior.predictive_covariance(new, batch_size=3)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert posterior.log_determinant() == pytest.approx(np.linalg.slogdet(precision)[1], rel=1e-12)


def test_log_marginal_likelihood_of_a_linear_model_is_its_evidence():
    X, Y, _ = rows()
    model, A = network(dense(K)), with_ones(X)
    modes = [
        np.linalg.solve(block, A.T @ Y[:, c] / SIGMA[c] ** 2)
        for c, block in enumerate(ridge(X, np.ones(N)))
    ]
    model.set_weights([np.stack(modes, axis=1)[:-1], np.stack(modes, axis=1)[-1]])
    posterior = fit_exact(model, Batches(X, Y), noise=SIGMA, prior_precision=DELTA)
    evidence = sum(
        multivariate_normal(cov=A @ A.T / DELTA + sigma**2 * np.eye(N)).logpdf(y)
        for sigma, y in zip(SIGMA, Y.T, strict=True)
    )
    assert posterior.log_marginal_likelihood() == pytest.approx(evidence, abs=1e-9)
    # At the mode of the posterior the gradient vanishes.
    assert posterior.record.gradient_norm < 1e-9
    assert posterior.record.expected_decrease < 1e-18


@pytest.mark.parametrize(
    ("matrix", "last"), [("gauss_newton", "sigmoid"), ("hessian", "sigmoid"), ("hessian", "linear")]
)
def test_logistic_regression(matrix, last):
    X, Y, weight = rows(n_outputs=1)
    model, A = network(dense(1, last)), with_ones(X)
    loss = keras.losses.BinaryCrossentropy(from_logits=last == "linear")
    data = Batches(X, (Y > 0).astype(float), weight)
    posterior = fit_exact(model, data, loss=loss, prior_precision=DELTA, matrix=matrix)
    p = expit(A @ FlatParameters(model).read())
    precision = A.T @ ((weight * p * (1 - p))[:, None] * A) + DELTA * np.eye(F + 1)
    np.testing.assert_allclose(posterior.precision(), precision, atol=1e-10)


@pytest.mark.parametrize(("matrix", "one_hot"), [("gauss_newton", True), ("hessian", False)])
def test_softmax_regression(matrix, one_hot):
    X, _, weight = rows()
    codes = np.arange(N) % 3
    model, A = network(dense(3, "softmax")), with_ones(X)
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    data = Batches(X, np.eye(3)[codes] if one_hot else codes, weight, batch_size=6)
    posterior = fit_exact(model, data, loss=loss, prior_precision=DELTA, matrix=matrix)
    weights, bias = model.get_weights()
    p = softmax(X @ weights + bias, axis=1)
    curvature = weight[:, None, None] * (
        np.einsum("nc,cd->ncd", p, np.eye(3)) - p[:, :, None] * p[:, None]
    )
    precision = np.einsum("nf,ncd,ng->fcgd", A, curvature, A).reshape(3 * (F + 1), -1)
    np.testing.assert_allclose(
        posterior.precision(), precision + DELTA * np.eye(len(precision)), atol=1e-10
    )


def test_hessian_and_gauss_newton_of_two_weights_by_hand():
    # f = b tanh(a x): the two matrices differ by the residuals' part.
    x, y = np.array([[0.5], [-1.2], [2.0]]), np.array([[0.3], [0.9], [-0.4]])
    layers = [dense(1, "tanh", use_bias=False), dense(1, use_bias=False)]
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    a, b = 0.8, -1.1
    FlatParameters(model).write([a, b])
    t, r = np.tanh(a * x), b * np.tanh(a * x) - y
    slope = 1 - t**2
    J = np.hstack([b * slope * x, t])
    second = np.zeros((2, 2))
    second[0, 0] = (r * b * -2 * t * slope * x**2).sum()
    second[0, 1] = second[1, 0] = (r * slope * x).sum()
    options = {"noise": 0.5, "prior_precision": 1000.0}
    found = {
        matrix: fit_exact(model, Batches(x, y), matrix=matrix, **options).precision()
        for matrix in ("gauss_newton", "hessian")
    }
    prior = 1000 * np.eye(2)
    np.testing.assert_allclose(found["gauss_newton"], J.T @ J / 0.25 + prior, atol=1e-10)
    np.testing.assert_allclose(found["hessian"], (J.T @ J + second) / 0.25 + prior, atol=1e-10)


def test_another_noise_or_prior_equals_a_fit_with_it():
    X, Y, weight = rows()
    model = network(dense(3, "tanh"), dense(K))
    first, second = (name for name in FlatParameters(model).names if "kernel" in name)
    layers = [first.split("/")[-2], second.split("/")[-2]]
    priors = dict(zip(layers, [0.2, 3.0], strict=True))
    data = Batches(X, Y, weight)
    changed = fit_exact(model, data, noise=1.0).with_hyperparameters(SIGMA, priors)
    fitted = fit_exact(model, data, noise=SIGMA, prior_precision=priors)
    np.testing.assert_allclose(changed.precision(), fitted.precision(), atol=1e-10)
    np.testing.assert_allclose(
        changed.predictive_covariance(X), fitted.predictive_covariance(X), atol=1e-12
    )
    sizes = [(F + 1) * 3, 4 * K]
    np.testing.assert_array_equal(fitted.prior_vector(), np.repeat([0.2, 3.0], sizes))


def test_limits_of_the_prior_and_duplicate_data():
    X, Y, _ = rows()
    model = network(dense(3, "tanh"), dense(K))
    posterior = fit_exact(model, Batches(X, Y), noise=SIGMA, prior_precision=1.0)
    jacobian = RowJacobian(model)
    J = jacobian.flat(jacobian(X)[1])
    strong = posterior.with_hyperparameters(prior_precision=1e12).predictive_covariance(X)
    np.testing.assert_allclose(1e12 * strong, np.einsum("ncp,ndp->ncd", J, J), rtol=1e-8)
    linear = fit_exact(network(dense(K)), Batches(X, Y), noise=SIGMA, prior_precision=1e-12)
    A = with_ones(X)
    hat = np.diag(A @ np.linalg.solve(A.T @ A, A.T))
    variance = np.einsum("ncc->nc", linear.predictive_covariance(X))
    np.testing.assert_allclose(variance, hat[:, None] * SIGMA**2, rtol=1e-8)
    twice = fit_exact(
        network(dense(K)),
        Batches(np.vstack([X, X]), np.vstack([Y, Y])),
        noise=SIGMA,
        prior_precision=1e-12,
    )
    np.testing.assert_allclose(
        2 * twice.predictive_covariance(X), linear.predictive_covariance(X), rtol=1e-8
    )


def saddle():
    """Return a network far from a minimum, whose Hessian has negative eigenvalues."""
    X, Y, _ = rows()
    return network(dense(3, "tanh"), dense(K)), Batches(X, 5 * Y)


def test_an_indefinite_hessian_is_refused_and_shifted_only_on_request():
    model, data = saddle()
    options = {"noise": SIGMA, "prior_precision": 0.1, "matrix": "hessian"}
    with pytest.raises(
        InputError, match=r"smallest eigenvalue is -.* ask for a shift above"
    ) as told:
        fit_exact(model, data, **options)
    needed = float(str(told.value).rsplit(" ", 1)[1])
    with pytest.raises(InputError, match="not positive definite"):
        fit_exact(model, data, shift=0.99 * needed, **options)
    posterior = fit_exact(model, data, shift=1.1 * needed, **options)
    assert posterior.record.shift == 1.1 * needed
    assert posterior.record.matrix == "hessian"
    assert posterior.record.indefinite is True
    values = np.linalg.eigvalsh(posterior.precision())
    assert values[0] == pytest.approx(0.1 * needed, rel=1e-4)
    assert posterior.record.lambda_min == pytest.approx(values[0] - 0.1 - 1.1 * needed, rel=1e-9)
    assert posterior.record.lambda_max == pytest.approx(values[-1] - 0.1 - 1.1 * needed, rel=1e-9)


def test_gauss_newton_is_definite_there_but_its_record_says_that_the_hessian_is_not():
    model, data = saddle()
    posterior = fit_exact(model, data, noise=SIGMA, prior_precision=0.1)
    assert np.linalg.eigvalsh(posterior.precision())[0] > 0.0999
    assert posterior.record.indefinite is True
    assert posterior.record.lambda_min < 0
    assert posterior.record.shift == 0


def test_expected_decrease_of_a_linear_model_is_what_its_newton_step_gains():
    X, Y, _ = rows()
    model = network(dense(K))
    posterior = fit_exact(model, Batches(X, Y), noise=SIGMA, prior_precision=DELTA)

    def objective(flat):
        kernel = flat.reshape(F + 1, K)
        residuals = (Y - with_ones(X) @ kernel) / SIGMA
        return 0.5 * (residuals**2).sum() + 0.5 * DELTA * (flat**2).sum()

    A = with_ones(X)
    minimum = np.stack(
        [
            np.linalg.solve(b, A.T @ Y[:, c] / SIGMA[c] ** 2)
            for c, b in enumerate(ridge(X, np.ones(N)))
        ],
        axis=1,
    ).ravel()
    gained = objective(FlatParameters(model).read()) - objective(minimum)
    assert posterior.record.expected_decrease == pytest.approx(gained, rel=1e-10)


def test_layers_without_factors_take_one_backward_pass_per_row():
    X, Y, weight = rows()
    layers = [dense(3), keras.layers.PReLU(dtype="float64"), dense(K)]
    data = Batches(X, Y, weight, batch_size=6)
    model = network(*layers)
    posterior = fit_exact(model, data, noise=SIGMA, prior_precision=DELTA)
    products = Products(model, "mse", (X, Y))
    J = np.stack(
        [products.jacobian_vector_product(X, unit) for unit in np.eye(posterior.parameters.size)],
        axis=2,
    )
    precision = np.einsum("n,ncp,ncq,c->pq", weight, J, J, SIGMA**-2.0)
    np.testing.assert_allclose(
        posterior.precision(), precision + DELTA * np.eye(len(precision)), atol=1e-10
    )


def test_single_precision_agrees_with_double():
    X, Y, _ = rows()
    double = network(dense(3, "tanh"), dense(K))
    single = keras.Sequential(
        [keras.Input((F,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(K)]
    )
    single.set_weights(double.get_weights())
    covariances = [
        fit_exact(model, Batches(X, Y), noise=SIGMA).predictive_covariance(X)
        for model in (single, double)
    ]
    np.testing.assert_allclose(*covariances, rtol=1e-4, atol=1e-6)


@tf.custom_gradient
def wrong_slope(x):
    return tf.tanh(x), lambda upstream: upstream * (2 - tf.square(tf.tanh(x)))


def test_a_proof_that_fails_is_an_error():
    X, Y, _ = rows()
    layer = keras.layers.Activation(lambda x: wrong_slope(x), dtype="float64")
    model = network(dense(3), layer, dense(K))
    with pytest.raises(InputError, match="the proof of agreement with finite differences failed"):
        fit_exact(model, Batches(X, Y), noise=SIGMA)


def test_a_dense_matrix_that_differs_from_the_product_is_an_error(monkeypatch):
    X, Y, _ = rows()
    flat = RowJacobian.flat
    monkeypatch.setattr(RowJacobian, "flat", lambda self, blocks: 1.01 * flat(self, blocks))
    with pytest.raises(InputError, match=r"differs from the gauss_newton product by 0\.02"):
        fit_exact(network(dense(K)), Batches(X, Y), noise=SIGMA)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matrix": "fisher"}, "expected one of gauss_newton, hessian"),
        ({"memory_limit": 1000}, "matrices of 10 × 10 weights need"),
    ],
)
def test_refusals_say_what_to_do(options, message):
    X, Y, _ = rows()
    with pytest.raises(InputError, match=message):
        fit_exact(network(dense(K)), Batches(X, Y), **options)


def test_the_class_is_in_the_table():
    from starstack.curvature.structures import STRUCTURES

    assert STRUCTURES["exact"].posterior is ExactPosterior


def test_a_strong_prior_hides_no_difference():
    X, Y, _ = rows()
    model = network(dense(3, "tanh"), dense(K))
    jacobian = RowJacobian(model)
    J = jacobian.flat(jacobian(X)[1])
    for prior in (1e9, 1e14):
        posterior = fit_exact(model, Batches(X, Y), noise=SIGMA, prior_precision=prior)
        covariance = prior * posterior.predictive_covariance(X)
        np.testing.assert_allclose(covariance, np.einsum("ncp,ndp->ncd", J, J), rtol=1e-5)
    first, second = posterior.layers
    fit_exact(model, Batches(X, Y), noise=SIGMA, prior_precision={first: 1e12, second: 1.0})


def test_weights_that_are_not_trained_take_no_memory():
    X, Y, _ = rows()
    model = network(dense(1000, "tanh", trainable=False), dense(K))
    model.layers[1].trainable = False
    model = keras.Sequential([model, dense(K)])
    posterior = fit_exact(model, Batches(X, Y), noise=SIGMA, memory_limit=10_000)
    assert posterior.precision().shape == (6, 6)
