"""What a record says of a posterior, beside dense linear algebra."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.diagnosis import diagnose, likelihood_products
from starstack.curvature.structures import STRUCTURES, laplace
from starstack.errors import InputError


def test_gradient_by_parts_and_eigenvalues_of_fewer_rows(oracle):
    """One linear layer: H is XᵀX/σ² for the rows at hand, the gradient is Xᵀr/σ² + δθ."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 1))
    model = oracle.network((4,), oracle.dense(1))
    posterior = laplace(model, Batches(X, y), noise=0.5, prior_precision=3.0)
    products = likelihood_products(posterior, Batches(X, y))
    weight = np.full(10, 4.0)
    fewer = products.over(Batches(X[:10], y[:10], weight))
    record = diagnose(posterior, products, fewer=fewer)

    A, theta = np.column_stack([X, np.ones(40)]), np.concatenate(model.get_weights(), axis=None)
    data, prior = A.T @ (A @ theta - y[:, 0]) / 0.25, 3.0 * theta
    norms = [record.gradient_norm, record.data_gradient_norm, record.prior_gradient_norm]
    np.testing.assert_allclose(norms, [np.linalg.norm(g) for g in (data + prior, data, prior)])
    eigenvalues = np.linalg.eigvalsh(4 * A[:10].T @ A[:10] / 0.25)
    assert (record.lambda_min, record.lambda_max) == pytest.approx(eigenvalues[[0, -1]])
    assert (record.eigenvalue_rows, record.n_rows, record.indefinite) == (10, 40, False)
    own = diagnose(posterior, products)
    eigenvalues = np.linalg.eigvalsh(A.T @ A / 0.25)
    assert (own.lambda_min, own.lambda_max) == pytest.approx(eigenvalues[[0, -1]])
    assert own.eigenvalue_rows == 40
    # What was measured at another δ is not known at this one.
    posterior.record = record
    changed = posterior.with_hyperparameters(prior_precision=1.0).record
    assert (changed.prior_gradient_norm, changed.data_gradient_norm) == (None, None)


def test_a_record_keeps_no_eigenvalues_of_another_noise(oracle):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 1))
    posterior = laplace(oracle.network((4,), oracle.dense(1)), Batches(X, y), noise=0.5)
    posterior.record = diagnose(posterior, likelihood_products(posterior, Batches(X, y)))
    assert posterior.record.noise == [0.5]
    kept = posterior.with_hyperparameters(prior_precision=2.0).record
    assert (kept.noise, kept.lambda_max) == ([0.5], posterior.record.lambda_max)
    other = posterior.with_hyperparameters(noise=1.0).record
    assert other.noise == [1.0]
    spectrum = (other.lambda_max, other.lambda_min, other.indefinite, other.eigenvalue_rows)
    assert spectrum == (None, None, None, None)


def test_the_gradient_is_that_of_the_covered_weights(oracle):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 2))
    model = oracle.network((4,), oracle.dense(3, "tanh"), oracle.dense(2))
    posterior = laplace(model, Batches(X, y), structure="last_layer", noise=0.5, prior_precision=3)
    record = diagnose(posterior, likelihood_products(posterior, Batches(X, y)), n_steps=0)
    kernel, bias, last, shift = model.get_weights()
    A = np.column_stack([np.tanh(X @ kernel + bias), np.ones(40)])
    theta = np.vstack([last, shift])
    data, prior = A.T @ (A @ theta - y) / 0.25, 3.0 * theta
    norms = [record.gradient_norm, record.data_gradient_norm, record.prior_gradient_norm]
    np.testing.assert_allclose(norms, [np.linalg.norm(g) for g in (data + prior, data, prior)])


@pytest.mark.parametrize("structure", ["kfac", "block", "exact", "low_rank", "cg"])
def test_outputs_of_higher_rank_have_the_record_of_flat_ones(oracle, structure):
    layers = oracle.conv1d(2, 2, activation="tanh"), oracle.conv1d(1, 1)
    model = oracle.network((5, 3), *layers)
    flat = oracle.network((5, 3), *layers, keras.layers.Flatten)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((9, 5, 3)), rng.standard_normal((9, 4, 1))
    noise = [0.3, 0.5, 1.0, 2.0]
    options = {"rank": 17} if structure == "low_rank" else {}
    found, expected = (
        laplace(one, (X, y), structure=structure, noise=noise, prior_precision=0.3, **options)
        for one, y in ((model, Y), (flat, Y[:, :, 0]))
    )
    oracle.assert_close(
        found.predictive_covariance(X), expected.predictive_covariance(X), tolerance=1e-7
    )
    assert found.outputs(X).shape == (9, 4)
    one, other = diagnose(found, (X, Y)), diagnose(expected, (X, Y[:, :, 0]))
    for name in ("lambda_max", "lambda_min", "gradient_norm", "expected_decrease"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-7)


def test_rows_are_enough_for_a_record(oracle):
    model = oracle.network((3,), oracle.dense(2))
    rng = np.random.default_rng(0)
    data = Batches(rng.standard_normal((12, 3)), rng.standard_normal((12, 2)))
    posterior = laplace(model, data, structure="kfac", noise=0.5)
    assert posterior.record.lambda_max is None
    record = diagnose(posterior, data)
    A = np.column_stack([np.concatenate([batch.x for batch in data]), np.ones(12)])
    assert record.lambda_max == pytest.approx(np.linalg.eigvalsh(4 * A.T @ A)[-1], rel=1e-9)
    assert record.indefinite is False and record.proofs is not None and record.seconds > 0


@pytest.mark.parametrize("structure", sorted(STRUCTURES))
@pytest.mark.parametrize("frozen_at_the_fit", [True, False])
def test_layers_that_were_frozen_or_thawed_are_told_by_all_in_the_same_words(
    oracle, structure, frozen_at_the_fit, tmp_path
):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    model = oracle.network((3,), oracle.dense(3, "tanh"), oracle.dense(2))
    model.layers[0].trainable = not frozen_at_the_fit
    posterior = laplace(model, (X, y), structure=structure, noise=0.5)
    expected = posterior.predictive_covariance(X[:2])
    model.layers[0].trainable = frozen_at_the_fit
    told = set()
    for call in (
        lambda: diagnose(posterior, (X, y)),
        lambda: posterior.predictive_covariance(X[:2]),
        lambda: posterior.layer_covariances(X[:2]),
        posterior.log_marginal_likelihood,
        lambda: posterior.save(tmp_path / "posterior.h5"),
    ):
        with pytest.raises(InputError, match=r"layers were frozen or thawed since, with .*kernel"):
            call()
        try:
            call()
        except InputError as error:
            told.add(str(error))
    assert len(told) == 1
    model.layers[0].trainable = not frozen_at_the_fit
    np.testing.assert_allclose(posterior.predictive_covariance(X[:2]), expected, rtol=1e-9)
