import logging

import numpy as np
import pytest

from starstack.networks.fitting import FitOptions, _in_order, _shuffled, fit_network, select
from starstack.networks.heads import HEADS, make_network, precision

OPTIONS = {
    "epochs": 3, "batch_size": 8, "learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999,
    "epsilon": 1e-7, "learning_rate_schedule": "constant", "patience": 5, "jit_compile": False,
}  # fmt: skip
ROWS = (np.arange(20.0)[:, None].astype(np.float32), np.arange(20.0)[:, None].astype(np.float32))


def train(rows=ROWS, validation=None, dtype="float64", **changes):
    options = FitOptions(**OPTIONS | changes)
    with precision(dtype):
        model = make_network(
            "dense", {"units": []}, input_shape=(1,), task="regression", n_outputs=1, seed=0
        )
        model.set_weights([np.array([[0.5]]), np.array([0.25])])
        history = fit_network(model, HEADS["regression"], rows, validation, options, seed=1)
    return model, history


def test_each_epoch_has_every_row_once_in_an_order_of_its_own():
    batches = list(_shuffled(ROWS, 8, 4, seed=3).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [8, 8, 4] * 4
    assert all((x == y).all() for x, y in batches)
    epochs = [np.concatenate([x for x, _ in batches[i : i + 3]]).ravel() for i in range(0, 12, 3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = np.concatenate([x for x, _ in _shuffled(ROWS, 8, 4, seed=3).as_numpy_iterator()])
    assert (again.ravel() == np.concatenate(epochs)).all()
    assert [len(x) for x, _ in _in_order(ROWS).as_numpy_iterator()] == [20]


def adam(gradient, theta, rates, epsilon=1e-7):
    """Kingma and Ba (2015), algorithm 1, with Keras's place of epsilon."""
    m = v = np.zeros_like(theta)
    for t, rate in enumerate(rates, start=1):
        g = gradient(theta)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta = theta - step * m / (np.sqrt(v) + epsilon)
    return theta


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
def test_three_steps_of_adam_by_hand(schedule, weighted):
    x, y = ROWS[0][:, 0].astype(float), np.sin(ROWS[1][:, 0]).astype(float)
    weight = np.linspace(0.5, 1.5, 20) if weighted else np.ones(20)
    rows = (x[:, None], y[:, None], *([weight] if weighted else []))
    model, history = train(rows, batch_size=None, learning_rate_schedule=schedule)

    def gradient(theta):
        residual = weight * (theta[0] * x + theta[1] - y)
        return 2 * np.array([(residual * x).mean(), residual.mean()])

    rates = np.full(3, 0.01)
    if schedule == "cosine":
        rates = 0.005 * (1 + np.cos(np.pi * np.arange(3) / 3))
    expected = adam(gradient, np.array([0.5, 0.25]), rates)
    found = np.concatenate([w.ravel() for w in model.get_weights()])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    first = (weight * np.square(0.5 * x + 0.25 - y)).mean()
    assert history["loss"][0] == pytest.approx(first, rel=1e-6)


def test_the_trained_network_is_not_compiled_and_a_compiled_step_gives_the_same():
    model, history = train()
    assert getattr(model, "optimizer", None) is None
    assert set(history) == {"loss"}
    compiled, _ = train(jit_compile=True)
    np.testing.assert_allclose(compiled.get_weights()[0], model.get_weights()[0], rtol=1e-6)


def test_validation_rows_are_weighted():
    weights = np.linspace(0.0, 2.0, 20)
    validation = (*ROWS, weights)
    model, history = train((*ROWS, np.ones(20)), validation, epochs=1)
    slope, intercept = (float(w.ravel()[0]) for w in model.get_weights())
    squares = np.square(slope * ROWS[0][:, 0] + intercept - ROWS[1][:, 0])
    expected = np.average(squares, weights=weights)
    assert history["val_mean_squared_error"] == pytest.approx([expected], rel=1e-6)


def test_rows_are_selected_together():
    some = select((*ROWS, np.arange(20)), np.array([3, 1]))
    assert [values.ravel().tolist() for values in some] == [[3.0, 1.0]] * 2 + [[3, 1]]


def test_many_fits_are_quiet(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            train(epochs=1)
    assert caplog.messages == []
    assert logging.getLogger("tensorflow").filters == []
