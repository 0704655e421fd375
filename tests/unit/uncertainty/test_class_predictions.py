"""Logits of networks and their covariance, and the probabilities that are made of them."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from scipy.special import softmax

from starstack.autodiff.inference import inference_function
from starstack.curvature.structures import laplace
from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.heads import head_of, make_network
from starstack.networks.persistence import FittedNetwork
from starstack.networks.scaling import Scaler
from starstack.uncertainty.class_predictions import (
    fit_temperatures,
    logits_of_rows,
    predict_classes,
    probability_table,
    temperature_table,
)
from starstack.uncertainty.network_rows import scaled_batches

ROWS = np.arange(3, 23)


def made(n_classes, **posterior):
    rng = np.random.default_rng(n_classes)
    X = rng.normal(5, 3, (40, 4))
    classes = tuple(f"c{i}" for i in range(n_classes))
    dataset = Dataset(
        name="made",
        task="classification",
        X=X,
        y=np.arange(40) % n_classes,
        row_id=np.array([f"r{i}" for i in range(40)]),
        feature_names=("a", "b", "c", "d"),
        target_names=("kind",),
        classes=classes,
    )
    options = {"task": "classification", "n_outputs": n_classes, "seed": 1}
    model = make_network("dense", {"units": [5]}, input_shape=(4,), **options)
    network = FittedNetwork(
        model, "classification", (), classes, (4,), Scaler(5.0, 3.0), Scaler(0.0, 1.0)
    )
    data = scaled_batches(network, dataset, np.arange(40))
    loss = head_of("classification", n_classes).loss
    found = laplace(model, data, structure="exact", loss=loss, **posterior)
    return SimpleNamespace(dataset=dataset, network=network, posterior=found)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logits_are_those_of_the_networks_own_probabilities(n_classes):
    case = made(n_classes)
    logits, covariance = logits_of_rows(case.posterior, case.network, case.dataset, ROWS)
    assert covariance.shape == (20, n_classes, n_classes)
    probabilities = case.network.predict_proba(case.dataset.X[ROWS])
    np.testing.assert_allclose(softmax(logits, axis=1), probabilities, atol=1e-6)
    if n_classes == 2:
        assert not logits[:, 0].any()
        assert not covariance[:, 0].any()
        assert (covariance[:, 1, 1] > 0).all()


def test_their_covariance_is_that_of_the_logits_by_finite_differences():
    """J P⁻¹ Jᵀ, with J by differences of the weights."""
    case = made(3)
    flat, infer = case.posterior.parameters, inference_function(case.network.model, logits=True)
    theta, step, rows = flat.read(), 1e-3, ROWS[:2]
    jacobian = np.empty((2, 3, len(theta)))
    for at in range(len(theta)):
        moved = []
        for sign in (1, -1):
            other = theta.copy()
            other[at] += sign * step
            flat.write(other)
            x = (case.dataset.X[rows] - 5) / 3
            moved.append(np.asarray(infer(x.astype("float32")), dtype=float))
        jacobian[:, :, at] = (moved[0] - moved[1]) / (2 * step)
    flat.write(theta)
    inverse = case.posterior.inverse_hessian_product(np.eye(len(theta)))
    _, covariance = logits_of_rows(case.posterior, case.network, case.dataset, rows)
    expected = np.einsum("nci,ij,ndj->ncd", jacobian, inverse, jacobian)
    np.testing.assert_allclose(covariance, expected, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_certain_weights_give_the_plain_probabilities(n_classes):
    case = made(n_classes, prior_precision=1e12)
    found, errors = predict_classes(
        {"exact": case.posterior}, case.network, case.dataset, ROWS, n_draws=20, seed=0
    )
    assert list(found) == ["plain", "exact, probit", "exact, Monte Carlo"]
    assert list(errors) == ["exact, Monte Carlo"]
    for values in found.values():
        np.testing.assert_allclose(values, found["plain"], atol=1e-5)
    assert errors["exact, Monte Carlo"].max() < 1e-5


def test_uncertain_weights_make_less_certain():
    case = made(3, prior_precision=0.1)
    found, _ = predict_classes(
        {"exact": case.posterior}, case.network, case.dataset, ROWS, n_draws=200, seed=0
    )
    mean = {name: values.max(axis=1).mean() for name, values in found.items()}
    assert mean["exact, probit"] < mean["plain"] - 0.01
    assert mean["exact, Monte Carlo"] < mean["plain"] - 0.01


def test_tables_have_a_line_for_each_row_and_class():
    case = made(3)
    found, errors = predict_classes(
        {"exact": case.posterior}, case.network, case.dataset, ROWS, n_draws=20, seed=0
    )
    temperatures = fit_temperatures(found, case.dataset.y[ROWS])
    table = probability_table(case.dataset, ROWS, found, errors, temperatures)
    assert len(table) == 3 * 20 * 3
    assert table["row_id"].tolist()[:4] == ["r3", "r3", "r3", "r4"]
    assert table["output"].tolist()[:4] == ["c0", "c1", "c2", "c0"]
    assert (
        table["observed"].to_numpy().reshape(-1, 3).argmax(axis=1) == np.tile(ROWS % 3, 3)
    ).all()
    for column in ("probability", "probability_scaled"):
        np.testing.assert_allclose(table[column].to_numpy().reshape(-1, 3).sum(axis=1), 1)
    drawn = table["method"] == "exact, Monte Carlo"
    assert table.loc[drawn, "standard_error"].gt(0).all()
    assert table.loc[~drawn, "standard_error"].isna().all()
    assert temperature_table(temperatures)["method"].tolist() == list(found)


def test_what_has_no_logits_is_refused():
    case = made(3)
    regression = SimpleNamespace(likelihood=SimpleNamespace(is_gaussian=True))
    with pytest.raises(InputError, match="got one of a regression"):
        logits_of_rows(regression, case.network, case.dataset, ROWS)
    # A network whose last layer gives numbers that no softmax has made.
    inputs = keras.Input((4,))
    bare = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    network = FittedNetwork(
        bare, "classification", (), case.network.classes, (4,), Scaler(5.0, 3.0), Scaler(0.0, 1.0)
    )
    data = scaled_batches(network, case.dataset, np.arange(40))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    posterior = laplace(bare, data, structure="last_layer", loss=loss)
    with pytest.raises(InputError, match="expected a network that ends in a sigmoid or a softmax"):
        logits_of_rows(posterior, network, case.dataset, ROWS)
