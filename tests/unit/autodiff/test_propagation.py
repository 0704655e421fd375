"""Propagated noise: three ways that agree, closed forms, masks, and Monte Carlo."""

import numpy as np
import pytest

from starstack.autodiff import propagation
from starstack.autodiff.jacobian import input_jacobian
from starstack.autodiff.propagation import NoisePropagation, propagated_covariance
from starstack.errors import InputError

keras = pytest.importorskip("keras")

N, P, K = 9, 7, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
VARIANCE = RNG.uniform(0.5, 2.0, P)
VARIANCES = RNG.uniform(0.5, 2.0, (N, P))
INPUT_SCALE = RNG.uniform(0.5, 2.0, P)
TARGET_SCALE = np.array([500.0, 1.0, 0.3])


def network(*layers):
    keras.utils.set_random_seed(3)
    built = [
        keras.layers.Dense(units, activation, dtype="float64", bias_initializer="normal")
        for units, activation in layers
    ]
    return keras.Sequential([keras.Input((P,), dtype="float64"), *built])


def deep():
    return network((6, "relu"), (5, "tanh"), (K, "linear"))


def bands(rng, shape=(2, P)):
    """Return covariances with one and two neighbours, small enough to be some."""
    return rng.uniform(-0.1, 0.1, shape)


def dense(variance, off_diagonals):
    """Write a banded matrix in full, entry by entry."""
    matrix = np.diag(np.where(np.isinf(variance), 0, variance))
    for step, diagonal in enumerate(off_diagonals, start=1):
        for i in range(P - step):
            if np.isfinite(variance[[i, i + step]]).all():
                matrix[i, i + step] = matrix[i + step, i] = diagonal[i]
    return matrix


def test_a_linear_model_gives_its_closed_form():
    model = network((K, "linear"))
    kernel = model.layers[0].kernel.numpy()
    expected = kernel.T @ np.diag(VARIANCE) @ kernel
    for method in ("rows", "gram"):
        found = propagated_covariance(model, X, VARIANCE, method=method, batch_size=4)
        assert found.shape == (N, K, K)
        assert np.allclose(found, expected, rtol=1e-13)


def test_a_linear_model_agrees_with_monte_carlo():
    model = network((K, "linear"))
    n_draws = 40_000
    off_diagonals = bands(np.random.default_rng(2))
    covariance = dense(VARIANCE, off_diagonals)
    draws = np.random.default_rng(1).multivariate_normal(X[0], covariance, n_draws)
    outputs = np.asarray(model(draws))
    sampled = np.cov(outputs.T)
    expected = propagated_covariance(model, X[:1], VARIANCE, off_diagonals=off_diagonals)[0]
    # Of normal deviates, the variance of a sample covariance is (Cᵢᵢ Cⱼⱼ + Cᵢⱼ²) / n.
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / n_draws)
    assert (np.abs(sampled - expected) < 4.5 * error).all()


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("banded", [False, True])
def test_all_ways_agree_with_the_whole_jacobian(per_row, banded, monkeypatch):
    monkeypatch.setattr(propagation, "GRAM_BLOCK", 4)  # of the six columns
    model = deep()
    scales = {"input_scale": INPUT_SCALE, "target_scale": TARGET_SCALE}
    variance = (VARIANCES if per_row else VARIANCE).copy()
    variance[..., 2] = np.inf
    shape = (N, 2, P) if per_row else (2, P)
    off_diagonals = bands(np.random.default_rng(4), shape) if banded else None
    jacobian = input_jacobian(model, X, **scales)
    every_variance = np.broadcast_to(variance, (N, P))
    every_band = np.zeros((N, 2, P)) if off_diagonals is None else off_diagonals
    every_band = np.broadcast_to(every_band, (N, 2, P))
    matrices = [dense(*row) for row in zip(every_variance, every_band, strict=True)]
    expected = [j @ c @ j.T for j, c in zip(jacobian, matrices, strict=True)]
    for method in ["rows"] if per_row else ["rows", "gram", "auto"]:
        for batch_size in (4, 256):
            found = propagated_covariance(
                model,
                X,
                variance,
                off_diagonals=off_diagonals,
                method=method,
                batch_size=batch_size,
                **scales,
            )
            assert np.allclose(found, expected, rtol=1e-11), (method, batch_size)


def test_masked_inputs_contribute_nothing():
    model = deep()
    masked = VARIANCES.copy()
    masked[:, :-1] = np.inf
    jacobian = input_jacobian(model, X)[:, :, -1]
    expected = VARIANCES[:, -1, None, None] * jacobian[:, :, None] * jacobian[:, None]
    assert np.allclose(propagated_covariance(model, X, masked), expected, rtol=1e-12)
    assert not propagated_covariance(model, X, np.full(P, np.inf)).any()


def test_one_number_is_the_variance_of_all():
    model = deep()
    found = propagated_covariance(model, X, 0.25)
    assert np.allclose(found, propagated_covariance(model, X, np.full((N, P), 0.25)))


def test_networks_without_a_gram_matrix_go_by_rows():
    layers = keras.layers
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((P, 1), dtype="float64"),
            layers.Conv1D(2, 3, activation="tanh", dtype="float64"),
            layers.Flatten(dtype="float64"),
            layers.Dense(K, dtype="float64"),
        ]
    )
    jacobian = input_jacobian(model, X)
    expected = np.einsum("nkp,p,nlp->nkl", jacobian, VARIANCE, jacobian)
    assert np.allclose(propagated_covariance(model, X, VARIANCE), expected, rtol=1e-12)
    with pytest.raises(InputError, match="needs noise that all rows share"):
        propagated_covariance(model, X, VARIANCE, method="gram")


def test_enough_rows_make_up_for_the_gram_matrix(monkeypatch):
    used = []
    by_gram = NoisePropagation.by_gram
    monkeypatch.setattr(
        NoisePropagation, "by_gram", lambda *a: used.append(len(a[1])) or by_gram(*a)
    )
    model = network((3, "relu"), (K, "linear"))
    propagated_covariance(model, X[:1], VARIANCE)
    propagated_covariance(model, X, VARIANCE)
    propagated_covariance(model, X, VARIANCES)
    assert used == [N]


def test_it_is_compiled_once():
    noise = NoisePropagation(deep(), batch_size=4)
    for n in (1, 4, 9):
        noise.by_rows(X[:n], VARIANCES[:n])
    assert noise.n_traces == 1
    for n in (1, 4, 9):
        noise.by_gram(X[:n], noise.gram(VARIANCE))
    assert noise.n_traces == 2


def test_no_rows_are_refused_and_lists_are_arrays():
    with pytest.raises(InputError, match="x has no rows"):
        propagated_covariance(deep(), X[:0], VARIANCE)
    off_diagonals = bands(RNG)
    found = propagated_covariance(
        deep(), X.tolist(), VARIANCE.tolist(), off_diagonals=off_diagonals.tolist()
    )
    expected = propagated_covariance(deep(), X, VARIANCE, off_diagonals=off_diagonals)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("variance", "off_diagonals", "message"),
    [
        (np.ones(P - 1), None, "variance has shape"),
        (-np.ones(P), None, "negative or NaN"),
        (np.full(P, np.nan), None, "negative or NaN"),
        (np.ones(P), np.ones((1, P - 1)), "off_diagonals has shape"),
        (np.ones(P), np.full((1, P), np.nan), "off_diagonals has NaN"),
        (np.ones(P), np.full((1, P), 1.1), "inputs 1 apart that is larger"),
        (np.zeros((N, P)), np.eye(2, P, 1) * 1e-6, "inputs 1 apart that is larger"),
        (np.ones(P), np.full((3, P), -0.99), "no covariance"),
    ],
)
def test_what_is_no_noise_is_refused(variance, off_diagonals, message):
    with pytest.raises(InputError, match=message):
        propagated_covariance(deep(), X, variance, off_diagonals=off_diagonals)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["rows", "gram"])
def test_a_covariance_without_negative_variances_may_still_be_none(method, dtype):
    """Neighbours of three inputs may correlate up to 1/√2, in whatever units the outputs are."""
    layer = keras.layers.Dense(3, use_bias=False, dtype=dtype)
    model = keras.Sequential([keras.Input((3,), dtype=dtype), layer])
    scale = np.diag([1.0, 1e-6, 1.0])
    model.set_weights([scale])

    def of(c):
        return propagated_covariance(
            model, np.ones((3, 3)), np.ones(3), off_diagonals=np.full((1, 3), c), method=method
        )

    neighbours = np.eye(3) + 0.707 * (np.eye(3, k=1) + np.eye(3, k=-1))
    expected = np.tile(scale @ neighbours @ scale, (3, 1, 1))
    np.testing.assert_allclose(of(0.707), expected, rtol=1e-6)
    with pytest.raises(InputError, match=r"row 0 \(least eigenvalue .* -0\.27\).*no covariance"):
        of(0.9)


@pytest.mark.parametrize("method", ["rows", "gram"])
def test_rows_that_rectified_units_would_hide_are_refused(method):
    model, broken = network((6, "relu"), (K, "linear")), X.copy()
    broken[5, 2] = np.nan
    with pytest.raises(InputError, match="row '5' is NaN"):
        propagated_covariance(model, broken, VARIANCE, method=method)


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1e19, 1e30])
def test_any_unit_will_do_in_single_precision(unit, per_row):
    """Squares of such units are no float32 numbers, as those of flux in erg/s/cm² are not."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(6, "tanh"), keras.layers.Dense(K)]
    model = keras.Sequential([keras.Input((P,)), *layers])
    variance = VARIANCES if per_row else VARIANCE
    expected = propagated_covariance(model, X, variance, off_diagonals=np.full((1, P), 0.1))
    for method in ("rows",) if per_row else ("rows", "gram"):
        found = propagated_covariance(
            model,
            X,
            variance * unit**2,
            off_diagonals=np.full((1, P), 0.1 * unit**2),
            input_scale=unit,
            target_scale=1 / unit,
            method=method,
        )
        np.testing.assert_allclose(found * unit**2, expected, rtol=1e-4, atol=1e-6)


def test_negative_variances_are_refused():
    with pytest.raises(InputError, match="negative or NaN"):
        propagated_covariance(deep(), X, np.r_[-1e-3, VARIANCE[1:]])
    with pytest.raises(InputError, match="negative or NaN"):
        propagated_covariance(deep(), X, np.r_[np.nan, VARIANCE[1:]])
