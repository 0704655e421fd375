"""Adam in one pass: Keras's numbers."""

import keras
import numpy as np
import pytest

from starstack.networks.optimizers import make_adam


def trained(optimizer, n_steps=5):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 2))
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu")])
    model.add(keras.layers.Dense(2))
    model.compile(optimizer, loss="mse", jit_compile=False)
    for _ in range(n_steps):
        model.train_on_batch(X, y)
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1},
        {"global_clipnorm": 0.1},
        {"use_ema": True, "ema_momentum": 0.8},
        {"amsgrad": True},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.05, 5)},
    ],
)
def test_steps_equal_those_of_keras(options):
    options = {"learning_rate": 0.05} | options
    ours, theirs = make_adam(compiled=False, **options), keras.optimizers.Adam(**options)
    assert type(ours) is not type(theirs)
    weights = trained(ours)
    np.testing.assert_allclose(weights, trained(theirs), rtol=2e-5, atol=2e-6)
    assert np.abs(weights - trained(make_adam(compiled=False), n_steps=0)).max() > 0.05


def test_steps_equal_the_published_formula():
    # Kingma & Ba (2015), algorithm 1, on the gradient of w² / 2, which is w.
    rate, beta_1, beta_2, epsilon = 0.1, 0.9, 0.99, 1e-8
    weight, first, second = 3.0, 0.0, 0.0
    variable = keras.Variable(np.float32(weight))
    optimizer = make_adam(
        compiled=False, learning_rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
    )
    for step in range(1, 11):
        first = beta_1 * first + (1 - beta_1) * weight
        second = beta_2 * second + (1 - beta_2) * weight**2
        corrected = first / (1 - beta_1**step), second / (1 - beta_2**step)
        weight -= rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)
        optimizer.apply([keras.ops.convert_to_tensor(variable)], [variable])
    assert float(variable.numpy()) == pytest.approx(weight, rel=1e-5)


def test_xla_gets_the_optimiser_of_keras():
    assert type(make_adam(compiled=True)) is keras.optimizers.Adam
