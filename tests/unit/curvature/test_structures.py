"""What holds for every structure that is made from layers' factors."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.structures import STRUCTURES, laplace, load
from starstack.errors import InputError

LAYERED = ("block", "last_layer", "kfac", "ekfac", "diagonal")
# The last layer alone is a block of its own.
WHOLE = ("block", "kfac", "ekfac", "diagonal")
NOISE = np.array([0.4, 1.0, 2.5])


def rows(n=40, width=6, k=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)), rng.standard_normal((n, k))


def small(oracle):
    return oracle.network((6,), oracle.dense(5, "tanh"), oracle.dense(3))


def convolutional(oracle):
    return oracle.network(
        (6, 5, 2),
        oracle.conv2d(3, (3, 2), strides=(1, 2), padding="same", activation="tanh"),
        keras.layers.Flatten,
        oracle.dense(2),
    )


def wide(oracle):
    """Return a network whose first layer has more inputs than there are rows."""
    return oracle.network((60,), oracle.dense(4, "tanh"), oracle.dense(2))


def make(model, X, y, structure="kfac", **options):
    options = {"prior_precision": 2.0, "batch_size": 16} | options
    data = Batches(X, y, options.pop("sample_weight", None), batch_size=options.pop("batch_size"))
    return laplace(model, data, structure=structure, **options)


@pytest.mark.parametrize("structure", LAYERED)
def test_one_dense_layer_has_the_posterior_of_ridge_regression(oracle, structure):
    """Wrong N, k, a factor of 2, σ instead of σ² or a wrong δ would all show."""
    X, y = rows(n=23, k=2)
    noise, delta = np.array([0.3, 1.7]), 0.8
    model = oracle.network((6,), oracle.dense(2))
    posterior = make(model, X, y, structure, noise=noise, prior_precision=delta)
    A = np.column_stack([X, np.ones(23)])
    at = np.random.default_rng(1).standard_normal((5, 6))
    B = np.column_stack([at, np.ones(5)])
    found = posterior.predictive_covariance(at)
    for c, sigma in enumerate(noise):
        precision = A.T @ A / sigma**2
        if structure == "diagonal":
            precision = np.diag(np.diag(precision))
        covariance = np.linalg.inv(precision + delta * np.eye(7))
        expected = np.einsum("ni,ij,nj->n", B, covariance, B)
        if structure == "kfac":
            # One G for both outputs, diag(1/σ_c²): still exact.
            assert posterior.kronecker[model.layers[0].name].outputs.shape == (2, 2, 2)
        np.testing.assert_allclose(found[:, c, c], expected, rtol=1e-10)
    np.testing.assert_allclose(found[:, 0, 1], 0.0, atol=1e-12)


@pytest.mark.parametrize("build", [small, convolutional, wide])
@pytest.mark.parametrize("structure", LAYERED)
def test_predictions_and_log_determinant_are_those_of_the_inverse(oracle, structure, build):
    model = build(oracle)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, *model.input_shape[1:]))
    y = rng.standard_normal((20, model.output_shape[-1]))
    posterior = make(model, X, y, structure, prior_precision=0.5)
    at = rng.standard_normal((7, *model.input_shape[1:]))
    expected = oracle.predictive(posterior, at)
    oracle.assert_close(posterior.predictive_covariance(at), expected)
    # Filled-up batches, single rows and one batch for all.
    for batch_size in (1, 3, 100):
        oracle.assert_close(posterior.predictive_covariance(at, batch_size), expected)
    expected = np.linalg.slogdet(oracle.precision_of(posterior))[1]
    np.testing.assert_allclose(posterior.log_determinant(), expected, rtol=1e-9)


@pytest.mark.parametrize("structure", WHOLE)
def test_noise_and_prior_change_without_another_fit(oracle, structure):
    X, y = rows()
    model = small(oracle)
    first, second = model.layers
    prior = {first.name: 3.0, second.name: 0.2}
    fresh = make(model, X, y, structure, noise=NOISE, prior_precision=prior)
    # The basis of EKFAC is that of the noise at the fit.
    noise = 2 * NOISE if structure == "ekfac" else np.array([1.0, 3.0, 0.1])
    changed = make(model, X, y, structure, noise=noise).with_hyperparameters(NOISE, prior)
    at = rows(5, seed=9)[0]
    oracle.assert_close(changed.predictive_covariance(at), fresh.predictive_covariance(at), 1e-9)
    np.testing.assert_allclose(changed.log_determinant(), fresh.log_determinant(), rtol=1e-10)
    np.testing.assert_allclose(
        changed.log_marginal_likelihood(), fresh.log_marginal_likelihood(), rtol=1e-10
    )
    assert changed.record.prior_precision == prior


@pytest.mark.parametrize("structure", WHOLE)
def test_a_posterior_is_left_as_it_was_by_another_choice(oracle, structure):
    X, y = rows()
    posterior = make(small(oracle), X, y, structure)
    before = posterior.predictive_covariance(X[:3])
    posterior.with_hyperparameters(NOISE, 50.0).predictive_covariance(X[:3])
    np.testing.assert_array_equal(posterior.predictive_covariance(X[:3]), before)


@pytest.mark.parametrize("structure", WHOLE)
def test_batches_and_order_do_not_matter(oracle, structure):
    X, y = rows()
    model, at = small(oracle), rows(5, seed=9)[0]
    expected = make(model, X, y, structure, noise=NOISE).predictive_covariance(at)
    order = np.random.default_rng(0).permutation(len(X))
    for batch_size, rows_ in ((1, order), (7, np.arange(40))):
        again = make(model, X[rows_], y[rows_], structure, noise=NOISE, batch_size=batch_size)
        oracle.assert_close(again.predictive_covariance(at), expected)


@pytest.mark.parametrize("structure", WHOLE)
def test_weights_count_as_repeated_rows(oracle, structure):
    X, y = rows()
    model, at = small(oracle), rows(5, seed=9)[0]
    weight = np.random.default_rng(2).integers(0, 4, 40)
    weighted = make(model, X, y, structure, sample_weight=weight.astype(float))
    repeated = make(model, np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0), structure)
    np.testing.assert_allclose(weighted.noise, repeated.noise, rtol=1e-12)
    oracle.assert_close(
        weighted.predictive_covariance(at), repeated.predictive_covariance(at), 1e-9
    )
    np.testing.assert_allclose(
        weighted.log_marginal_likelihood(), repeated.log_marginal_likelihood(), rtol=1e-9
    )


@pytest.mark.parametrize("structure", WHOLE)
def test_data_given_twice_double_the_curvature(oracle, structure):
    X, y = rows()
    model = small(oracle)
    once = make(model, X, y, structure, noise=NOISE)
    twice = make(model, np.tile(X, (2, 1)), np.tile(y, (2, 1)), structure, noise=NOISE)
    curvature = oracle.precision_of(once) - 2 * np.eye(once.is_covered().sum())
    again = oracle.precision_of(twice) - 2 * np.eye(once.is_covered().sum())
    oracle.assert_close(again, 2 * curvature)


@pytest.mark.parametrize("structure", WHOLE)
def test_a_strong_prior_leaves_nothing_but_itself(oracle, structure):
    X, y = rows()
    model = small(oracle)
    posterior = make(model, X, y, structure, noise=NOISE, prior_precision=1e12)
    J = oracle.jacobian(model, X[:4])[..., posterior.is_covered()]
    expected = np.einsum("nci,ndi->ncd", J, J) / 1e12
    np.testing.assert_allclose(
        posterior.predictive_covariance(X[:4]), expected, rtol=1e-6, atol=1e-20
    )


@pytest.mark.parametrize("structure", LAYERED)
def test_without_a_prior_least_squares_is_left(oracle, structure):
    X, y = rows(k=1)
    model = oracle.network((6,), oracle.dense(1))
    posterior = make(model, X, y, structure, noise=0.7, prior_precision=0.0)
    A = np.column_stack([X, np.ones(40)])
    gram = A.T @ A
    if structure == "diagonal":
        gram = np.diag(np.diag(gram))
    expected = 0.49 * np.einsum("ni,ij,nj->n", A, np.linalg.inv(gram), A)
    np.testing.assert_allclose(posterior.predictive_covariance(X)[:, 0, 0], expected, rtol=1e-10)
    with pytest.raises(InputError, match="expected positive prior precisions"):
        posterior.log_marginal_likelihood()


@pytest.mark.parametrize("structure", WHOLE)
def test_variance_falls_with_the_prior_precision_and_rises_with_the_noise(oracle, structure):
    X, y = rows()
    posterior = make(small(oracle), X, y, structure, noise=NOISE)
    variances = [
        np.diagonal(
            posterior.with_hyperparameters(prior_precision=d).predictive_covariance(X),
            axis1=1,
            axis2=2,
        )
        for d in np.logspace(-3, 5, 9)
    ]
    assert (np.diff(variances, axis=0) < 0).all()
    louder = posterior.with_hyperparameters(noise=1.5 * NOISE).predictive_covariance(X)
    least = np.linalg.eigvalsh(louder - posterior.predictive_covariance(X))[:, 0]
    assert (least > 0).all()


@pytest.mark.parametrize("structure", LAYERED)
def test_evidence_of_bayesian_linear_regression(oracle, structure):
    """At the posterior mean, the marginal likelihood is log N(y; 0, A Aᵀ/δ + σ² I)."""
    X, y = rows(n=15, width=4, k=2)
    A = np.column_stack([X, np.ones(15)])
    noise, delta = np.array([0.6, 1.3]), 0.9
    if structure == "diagonal":  # exact where the inputs are orthogonal
        A = np.linalg.qr(np.column_stack([np.ones(15), X]))[0] * np.sqrt(15.0)
        A = np.column_stack([A[:, 1:], A[:, 0]])
        A *= np.sign(A[0, -1])
        X = A[:, :4]
    model, expected = oracle.network((4,), oracle.dense(2)), 0.0
    kernel = np.empty((5, 2))
    for c, sigma in enumerate(noise):
        kernel[:, c] = np.linalg.solve(A.T @ A + sigma**2 * delta * np.eye(5), A.T @ y[:, c])
        covariance = A @ A.T / delta + sigma**2 * np.eye(15)
        expected += -0.5 * (
            y[:, c] @ np.linalg.solve(covariance, y[:, c])
            + np.linalg.slogdet(2 * np.pi * covariance)[1]
        )
    model.set_weights([kernel[:4], kernel[4]])
    posterior = make(model, X, y, structure, noise=noise, prior_precision=delta)
    np.testing.assert_allclose(posterior.log_marginal_likelihood(), expected, rtol=1e-10)


@pytest.mark.parametrize("structure", WHOLE)
def test_single_precision_is_near_double_precision(oracle, structure):
    X, y = rows(n=200)
    model = small(oracle)
    single = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            layer.get_config() | {"dtype": "float32"}
        ),
    )
    single.set_weights(model.get_weights())
    exact = make(model, X, y, structure, noise=NOISE).predictive_covariance(X[:9])
    found = make(single, X, y, structure, noise=NOISE).predictive_covariance(X[:9])
    scale = np.abs(exact).max()
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("structure", ["block", "kfac"])
def test_other_layers_are_refused_or_fixed(oracle, structure):
    X, y = rows(k=1)
    model = oracle.network(
        (6,), lambda: keras.layers.BatchNormalization(name="normalise"), oracle.dense(1)
    )
    model.layers[0].set_weights([np.abs(weights) for weights in model.layers[0].get_weights()])
    with pytest.raises(InputError, match="normalise is BatchNormalization"):
        make(model, X, y, structure)
    posterior = make(model, X, y, structure, leave_out=True)
    assert posterior.covered == (model.layers[-1].name,)
    assert posterior.is_covered().sum() == 7
    last = make(model, X, y, "last_layer")
    oracle.assert_close(posterior.predictive_covariance(X), last.predictive_covariance(X))
    np.testing.assert_allclose(
        posterior.log_marginal_likelihood(), last.log_marginal_likelihood(), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "fisher"}, "expected one of block"),
        ({"noise": [1.0, 2.0]}, "expected 3 positive"),
        ({"noise": -1.0}, "expected 3 positive"),
        ({"noise": "q"}, "expected 3 positive"),
        ({"prior_precision": "a"}, "at least 0"),
        ({"prior_precision": -1.0}, "at least 0"),
        ({"prior_precision": {"dense": 1.0}}, "one value for each of the layers"),
        ({"structure": "low_rank", "rank": 2.5}, "low rank: rank: expected a whole number"),
        ({"structure": "low_rank", "rank": 0}, "low rank: rank: expected a whole number"),
        ({"structure": "exact", "shift": np.nan}, "exact: shift: expected a number of at least 0"),
        ({"structure": "exact", "shift": -0.5}, "exact: shift: expected a number of at least 0"),
        ({"structure": "cg", "shift": "a"}, "cg: shift: expected a number of at least 0"),
        ({"structure": "cg", "preconditioner": "kfac"}, "expected a posterior of this network"),
        ({"loss": "mae"}, "squared error or a cross-entropy"),
        (
            {"loss": keras.losses.CategoricalCrossentropy(from_logits=True), "noise": 1.0},
            "has none",
        ),
    ],
)
def test_wrong_options_are_refused(oracle, options, message):
    X, y = rows()[0], np.eye(3)[np.arange(40) % 3]
    with pytest.raises(InputError, match=message):
        make(small(oracle), X, y, **options)


def test_rows_that_make_no_sense_are_refused(oracle):
    X, y = rows()
    model = small(oracle)
    with pytest.raises(InputError, match="targets"):
        laplace(model, Batches(X))
    X[3, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        make(model, X, y)


@pytest.mark.parametrize("structure", sorted(STRUCTURES))
def test_a_wrong_call_is_refused_and_breaks_nothing(oracle, structure):
    X, y = rows()
    posterior, again = (make(small(oracle), X, y, structure, noise=NOISE) for _ in range(2))
    expected = again.predictive_covariance(X[:2])
    faulty = X[:2].copy()
    faulty[1, 0] = np.nan
    for _ in range(2):
        # Before the first good call, and after it.
        for wrong, message in (
            (X[:2, :3], r"expected shape \(n, 6\)"),
            (X[0], r"expected shape \(n, 6\)"),
            (X[:0], "at least one row"),
            (faulty, "got NaN or infinity in row 1;"),
        ):
            with pytest.raises(InputError, match=message) as caught:
                posterior.predictive_covariance(wrong)
            assert "\n" not in str(caught.value)
        np.testing.assert_array_equal(posterior.predictive_covariance(X[:2]), expected)
    for v in (np.ones(3), np.ones((3, 2)), np.float64(1.0)):
        with pytest.raises(InputError, match="one entry for each trainable weight"):
            posterior.inverse_hessian_product(v)


@pytest.mark.parametrize("structure", sorted(STRUCTURES))
def test_targets_are_needed_and_must_be_finite(oracle, structure):
    X, y = rows()
    with pytest.raises(InputError, match="targets"):
        laplace(small(oracle), Batches(X), structure=structure)
    y[3, 1] = np.nan
    with pytest.raises(InputError, match="targets: expected finite numbers"):
        make(small(oracle), X, y, structure)


@pytest.mark.parametrize("structure", LAYERED)
def test_weights_that_the_data_say_nothing_of_need_a_prior(oracle, structure):
    X, y = rows(n=3)
    model = oracle.network((6,), oracle.dense(3))
    X[:, 0] = 0.0
    with pytest.raises(InputError, match="give a positive one"):
        make(model, X, y, structure, noise=NOISE, prior_precision=0.0).predictive_covariance(X)


def test_every_structure_is_described():
    assert set(LAYERED) < set(STRUCTURES)
    for name, structure in STRUCTURES.items():
        assert structure.posterior.structure == name
        assert structure.summary


def test_recurrent_layers_are_refused_with_the_way_out(oracle):
    model = oracle.network((5, 2), lambda: keras.layers.GRU(3), oracle.dense(1))
    X, y = np.ones((4, 5, 2)), np.ones((4, 1))
    with pytest.raises(InputError, match="is GRU; hold these layers fixed by leave_out=True"):
        make(model, X, y)


def test_all_that_is_exported_can_be_imported_at_once():
    found = {}
    exec("from starstack.curvature import *", found)
    assert {"laplace", "load", "Posterior"} < found.keys()


@pytest.mark.parametrize("structure", sorted(STRUCTURES))
def test_noise_is_a_copy_that_nobody_changes(oracle, structure):
    X, y = rows()
    noise = np.array(NOISE)
    posterior = make(small(oracle), X, y, structure, noise=noise)
    other = posterior.with_hyperparameters(noise=noise)
    expected = posterior.predictive_covariance(X[:2])
    noise *= 10
    for each in (posterior, other):
        assert each.noise.tolist() == list(NOISE)
        np.testing.assert_array_equal(each.predictive_covariance(X[:2]), expected)
        with pytest.raises(ValueError, match="read-only"):
            each.noise[0] = 1.0


@pytest.mark.parametrize("batch_size", [2.5, 0, "a"])
def test_a_batch_size_that_is_no_whole_number_is_refused(oracle, batch_size):
    X, y = rows()
    posterior = make(small(oracle), X, y)
    with pytest.raises(InputError, match="batch_size: expected a whole number"):
        posterior.predictive_covariance(X, batch_size)


@pytest.mark.parametrize("saved", [False, True])
def test_a_preconditioner_of_some_layers_solves_for_all(oracle, saved, tmp_path):
    X, y = rows()
    layers = (
        oracle.dense(4),
        lambda: keras.layers.BatchNormalization(trainable=True),
        oracle.dense(3),
    )
    model = oracle.network((6,), *layers, scale=0.3)
    model.layers[1].moving_variance.assign(np.ones(4))
    data = Batches(X, y)
    exact, partial = (
        laplace(model, data, structure=structure, noise=0.3, **options)
        for structure, options in (("exact", {}), ("kfac", {"leave_out": True}))
    )
    assert len(partial.covered) == 2
    found = laplace(model, data, structure="cg", noise=0.3, preconditioner=partial)
    if saved:
        found.save(tmp_path / "posterior.h5")
        found = load(tmp_path / "posterior.h5", model)
    np.testing.assert_allclose(
        found.predictive_covariance(X[:2]), exact.predictive_covariance(X[:2]), rtol=1e-7
    )
    v = np.random.default_rng(0).standard_normal(found.parameters.size)
    np.testing.assert_allclose(
        found.inverse_hessian_product(v), exact.inverse_hessian_product(v), rtol=1e-7, atol=1e-9
    )


def test_a_preconditioner_of_another_network_is_refused(oracle):
    X, y = rows()
    other = make(oracle.network((6,), oracle.dense(3), seed=5), X, y)
    with pytest.raises(InputError, match="one of another network or of other weights"):
        make(small(oracle), X, y, "cg", preconditioner=other)


def test_layers_that_were_frozen_since_the_fit_are_told(oracle, tmp_path):
    X, y = rows()
    model = small(oracle)
    posterior = make(model, X, y, "cg", noise=NOISE).with_hyperparameters(prior_precision=2.0)
    posterior.save(tmp_path / "posterior.h5")
    expected = posterior.predictive_covariance(X[:1])
    posterior = load(tmp_path / "posterior.h5", model)
    model.layers[0].trainable = False
    with pytest.raises(InputError, match=r"frozen or thawed since, with .*kernel"):
        posterior.predictive_covariance(X[:1])
    with pytest.raises(InputError, match="layers of this network were frozen or thawed"):
        load(tmp_path / "posterior.h5", model)
    model.layers[0].trainable = True
    for each in (posterior, load(tmp_path / "posterior.h5", model)):
        np.testing.assert_allclose(each.predictive_covariance(X[:1]), expected, rtol=1e-9)


def test_a_folder_is_no_place_for_a_posterior(oracle, tmp_path):
    X, y = rows()
    with pytest.raises(InputError, match="expected the name of a file, got that of a folder"):
        make(small(oracle), X, y).save(tmp_path)
