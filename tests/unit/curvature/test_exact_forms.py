"""Low rank, function space and conjugate gradients against the dense matrix, in float64."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.autodiff.flat import FlatParameters
from starstack.curvature.exact import fit_exact
from starstack.curvature.function_space import fit_function_space
from starstack.curvature.low_rank import fit_low_rank
from starstack.curvature.matrix_free import fit_matrix_free
from starstack.curvature.structures import laplace, load
from starstack.errors import InputError

N, F = 15, 4
FITS = {
    "low_rank": lambda *args, **options: fit_low_rank(*args, rank=10_000, **options),
    "function_space": fit_function_space,
    "cg": lambda *args, **options: fit_matrix_free(*args, tolerance=1e-13, **options),
}


def dense(width, activation=None):
    return keras.layers.Dense(width, activation=activation, dtype="float64")


def network(layers, shape=(F,), seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input(shape, dtype="float64"), *layers])
    flat = FlatParameters(model)
    flat.write(0.7 * np.random.default_rng(seed).standard_normal(flat.size))
    return model


def squared_error():
    rng = np.random.default_rng(1)
    model = network([dense(3, "tanh"), dense(2)])
    names = [layer.name for layer in model.layers]
    X, Y = rng.standard_normal((N, F)), rng.standard_normal((N, 2))
    data = Batches(X, Y, rng.uniform(0, 2, N), batch_size=8)
    priors = dict(zip(names, [0.5, 2.0], strict=True))
    return model, data, {"noise": [0.5, 2.0], "prior_precision": priors}


def softmax():
    rng = np.random.default_rng(2)
    model = network([dense(3, "tanh"), dense(3, "softmax")])
    data = Batches(rng.standard_normal((N, F)), rng.integers(0, 3, N), rng.uniform(0.5, 2, N))
    return model, data, {"loss": "sparse_categorical_crossentropy", "prior_precision": 0.1}


def sigmoids():
    rng = np.random.default_rng(3)
    model = network([dense(3, "tanh"), dense(2, "sigmoid")])
    data = Batches(rng.standard_normal((N, F)), rng.integers(0, 2, (N, 2)).astype(float))
    return model, data, {"loss": "binary_crossentropy", "prior_precision": 0.1}


def convolution():
    rng = np.random.default_rng(4)
    layers = [
        keras.layers.Conv1D(2, 3, activation="tanh", dtype="float64"),
        keras.layers.Flatten(dtype="float64"),
        dense(1),
    ]
    data = Batches(rng.standard_normal((N, 7, 1)), rng.standard_normal((N, 1)), batch_size=6)
    return network(layers, (7, 1)), data, {"noise": 0.3, "prior_precision": 0.5}


def other_layers():
    rng = np.random.default_rng(5)
    model = network([dense(3), keras.layers.PReLU(dtype="float64"), dense(1)])
    data = Batches(rng.standard_normal((N, F)), rng.standard_normal(N), batch_size=6)
    return model, data, {"noise": 0.3, "prior_precision": 0.5}


CASES = {
    case.__name__: case for case in (squared_error, softmax, sigmoids, convolution, other_layers)
}


@pytest.fixture(scope="module")
def fitted():
    """Fit each structure to each case once."""
    made = {}

    def get(case, structure="exact"):
        if (case, structure) not in made:
            model, data, options = CASES[case]()
            fit = FITS.get(structure, fit_exact)
            made[case, structure] = fit(model, data, **options)
        return made[case, structure]

    return get


def new_rows(posterior):
    shape = posterior.model.input_shape[1:]
    return np.random.default_rng(9).standard_normal((3, *shape))


PAIRS = [(case, "function_space") for case in CASES]
PAIRS += [(case, "low_rank") for case in ("squared_error", "softmax", "convolution")]
PAIRS += [(case, "cg") for case in ("squared_error", "other_layers")]


@pytest.mark.parametrize(("case", "structure"), PAIRS)
def test_answers_are_those_of_the_dense_matrix(fitted, case, structure):
    exact, found = fitted(case), fitted(case, structure)
    x = new_rows(exact)
    wanted = exact.predictive_covariance(x)
    assert wanted.shape == (3, *[exact.likelihood.n_outputs] * 2)
    np.testing.assert_allclose(found.predictive_covariance(x, batch_size=2), wanted, atol=1e-10)
    v = np.random.default_rng(8).standard_normal((exact.parameters.size, 2))
    solved = exact.inverse_hessian_product(v)
    np.testing.assert_allclose(found.inverse_hessian_product(v), solved, atol=1e-9)
    np.testing.assert_allclose(found.inverse_hessian_product(v[:, 0]), solved[:, 0], atol=1e-9)
    assert found.record.expected_decrease == pytest.approx(exact.record.expected_decrease, rel=1e-9)
    if structure != "cg":
        assert found.log_determinant() == pytest.approx(exact.log_determinant(), rel=1e-10)
        evidence = exact.log_marginal_likelihood()
        assert found.log_marginal_likelihood() == pytest.approx(evidence, rel=1e-10)


@pytest.mark.parametrize("structure", FITS)
def test_another_noise_or_prior_needs_no_fit(fitted, structure):
    exact, found = (fitted("squared_error", name) for name in ("exact", structure))
    x = new_rows(exact)
    for change in ({"noise": [2.0, 0.7]}, {"prior_precision": 7.0}):
        np.testing.assert_allclose(
            found.with_hyperparameters(**change).predictive_covariance(x),
            exact.with_hyperparameters(**change).predictive_covariance(x),
            atol=1e-10,
        )
    # The one it was made from stays as it was.
    np.testing.assert_allclose(
        found.predictive_covariance(x), exact.predictive_covariance(x), atol=1e-10
    )


@pytest.mark.parametrize("structure", ["exact", *FITS])
def test_saved_and_loaded_gives_the_same_numbers(fitted, tmp_path, structure):
    posterior = fitted("squared_error", structure)
    posterior.save(tmp_path / "posterior.h5")
    again = load(tmp_path / "posterior.h5", posterior.model)
    assert type(again) is type(posterior)
    assert again.record == posterior.record
    x = new_rows(posterior)
    np.testing.assert_allclose(
        again.predictive_covariance(x), posterior.predictive_covariance(x), rtol=1e-12
    )


def test_log_determinant_without_the_matrix_is_within_its_standard_error(fitted):
    exact, found = (fitted("squared_error", name) for name in ("exact", "cg"))
    estimate = found.estimate_log_determinant(n_probes=15)
    assert abs(estimate.value - exact.log_determinant()) < 4 * estimate.standard_error
    assert estimate.standard_error < 2


def test_an_estimated_log_determinant_says_how_uncertain_it_is(fitted, monkeypatch, caplog):
    exact, found = (fitted("squared_error", name) for name in ("exact", "cg"))
    small = found.with_hyperparameters(prior_precision=1.0)
    whole = exact.with_hyperparameters(prior_precision=1.0).log_marginal_likelihood()
    assert small.log_marginal_likelihood() == pytest.approx(whole, rel=1e-9)
    assert small.record.log_determinant_error == 0
    monkeypatch.setattr("starstack.curvature.matrix_free.EXACT_SIZE", 0)
    large = found.with_hyperparameters(prior_precision=1.0)
    estimate, record = large.log_marginal_likelihood(), large.record
    assert 0 < record.log_determinant_error < 3
    assert abs(estimate - whole) < 4 * record.log_determinant_error / 2
    assert f"± {record.log_determinant_error:.2g}" in caplog.text
    assert large.with_hyperparameters(prior_precision=2.0).record.log_determinant_error is None


def test_variance_falls_with_the_rank_and_not_below_the_exact_one(fitted):
    model, data, options = convolution()
    x = new_rows(fitted("convolution"))
    exact, before = fitted("convolution").predictive_covariance(x), np.inf
    for rank in (1, 4):
        covariance = fit_low_rank(model, data, rank=rank, **options).predictive_covariance(x)
        assert np.linalg.eigvalsh(covariance - exact).min() > -1e-10
        total = np.trace(covariance, axis1=1, axis2=2).sum()
        assert total < before
        before = total


def test_function_space_is_about_its_subset_of_the_rows():
    model, _, options = squared_error()
    rng = np.random.default_rng(6)
    X, Y, rows = rng.standard_normal((50, F)), rng.standard_normal((50, 2)), np.arange(3, 40, 4)
    subset = fit_function_space(model, Batches(X, Y, rows=rows), **options)
    weight_space = fit_exact(model, Batches(X[rows], Y[rows]), **options)
    np.testing.assert_allclose(
        subset.predictive_covariance(X), weight_space.predictive_covariance(X), atol=1e-10
    )
    assert subset.record.n_rows == len(rows)


def test_kfac_as_preconditioner_is_exact_for_one_linear_layer():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, F)) * np.geomspace(0.1, 10, F)
    model, data = network([dense(2)]), Batches(X, rng.standard_normal((40, 2)))
    options = {"noise": [0.5, 0.5], "prior_precision": 0.5}
    kfac = laplace(model, data, structure="kfac", **options)
    v = rng.standard_normal((10, 3))
    plain = laplace(model, data, structure="cg", tolerance=1e-9, **options).solve(v)
    preconditioned = fit_matrix_free(model, data, preconditioner=kfac, tolerance=1e-9, **options)
    found = preconditioned.solve(v)
    assert set(found.n_iterations) == {1}
    assert min(plain.n_iterations) > 3
    np.testing.assert_allclose(found.x, plain.x, rtol=1e-6)
    # The preconditioner follows the prior of the posterior.
    weaker = preconditioned.with_hyperparameters(prior_precision=1e-3).solve(v)
    assert set(weaker.n_iterations) == {1}


@pytest.mark.parametrize("structure", ["kfac", "low_rank"])
def test_the_preconditioner_is_saved(structure, tmp_path):
    """At the σ and δ of the posterior, which may be others than those it was made with."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, F)) * np.geomspace(0.1, 10, F)
    model, data = network([dense(2)]), Batches(X, rng.standard_normal((40, 2)))
    options = {"noise": [0.5, 0.5], "prior_precision": 0.5}
    inner = laplace(model, data, structure=structure, **options)
    made = fit_matrix_free(model, data, preconditioner=inner, tolerance=1e-9, **options)
    made = made.with_hyperparameters(noise=[0.2, 0.9], prior_precision=0.03)
    made.save(tmp_path / "cg.h5")
    read = load(tmp_path / "cg.h5", model)
    v = rng.standard_normal((10, 3))
    solutions = [posterior.solve(v) for posterior in (made, read)]
    np.testing.assert_array_equal(solutions[1].x, solutions[0].x)
    assert set(solutions[1].n_iterations) == {1}


def test_preconditioners_take_fewer_iterations_on_a_deep_net():
    rng = np.random.default_rng(8)
    X = rng.standard_normal((100, F)) * np.geomspace(1 / 30, 1, F)
    model = network([dense(3, "tanh"), dense(2)])
    flat = FlatParameters(model)
    flat.write(0.4 * flat.read())
    data = Batches(X, rng.standard_normal((100, 2)), batch_size=100)
    options = {"noise": [0.3, 0.3], "prior_precision": 0.01}
    v = rng.standard_normal(flat.size)

    def iterations(preconditioner):
        posterior = fit_matrix_free(
            model, data, preconditioner=preconditioner, tolerance=1e-6, **options
        )
        return posterior.solve(v).n_iterations[0]

    plain = iterations(None)
    kfac, block = (
        iterations(laplace(model, data, structure=name, **options)) for name in ("kfac", "block")
    )
    # 52, 38 and 20: KFAC has one product for each layer and nothing between layers.
    assert kfac < 0.85 * plain
    assert block < 0.6 * plain


def test_an_indefinite_hessian_stops_conjugate_gradients():
    model, data, options = squared_error()
    with pytest.raises(InputError, match=r"conjugate gradients: the matrix is indefinite"):
        fit_matrix_free(model, data, matrix="hessian", **options)
    shifted = fit_matrix_free(model, data, matrix="hessian", shift=1000.0, **options)
    exact = fit_exact(model, data, matrix="hessian", shift=1000.0, **options)
    assert shifted.record.indefinite is True
    assert shifted.record.shift == 1000
    x = new_rows(shifted)
    np.testing.assert_allclose(
        shifted.predictive_covariance(x), exact.predictive_covariance(x), atol=1e-10
    )


@pytest.mark.parametrize(
    ("fit", "options", "message"),
    [
        (fit_low_rank, {"memory_limit": 1000}, "eigenvectors of 23 weights need"),
        (fit_function_space, {"memory_limit": 1000}, "15 rows of 2 outputs need"),
        (fit_matrix_free, {"matrix": "fisher"}, "expected one of gauss_newton, hessian"),
    ],
)
def test_refusals_say_what_to_do(fit, options, message):
    model, data, _ = squared_error()
    with pytest.raises(InputError, match=message):
        fit(model, data, **options)


@pytest.mark.parametrize("structure", ["low_rank", "function_space"])
def test_no_prior_is_refused_where_it_bounds_the_variance(fitted, structure):
    posterior = fitted("squared_error", structure).with_hyperparameters(prior_precision=0.0)
    with pytest.raises(InputError, match="expected positive prior precisions, got 0"):
        posterior.predictive_covariance(new_rows(posterior))
