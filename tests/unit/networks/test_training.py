"""Networks trained from a data set: what they learn, and what is kept of them."""

import logging

import keras
import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.device import Device
from starstack.networks.holdout import validation_rows
from starstack.networks.options import TrainingOptions
from starstack.networks.training import train_network

N, P = 240, 6
TRAIN = np.arange(200)


def data(**changes):
    """Return two targets of very different units, smooth functions of six features."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)).astype(np.float32)
    y = np.tanh(X @ rng.normal(size=(P, 2)) / 2) * [500.0, 0.5] + [5000.0, 2.0]
    parts = {
        "name": "made",
        "task": "regression",
        "X": X,
        "y": y,
        "row_id": np.array([f"star {number}" for number in range(N)]),
        "feature_names": tuple(f"x{number}" for number in range(P)),
        "target_names": ("teff", "logg"),
    }
    return Dataset(**(parts | changes))


def classes(n_classes):
    y = np.digitize(data().y[:, 0], np.linspace(4500, 5500, n_classes + 1)[1:-1]).astype(np.int64)
    names = tuple("abcd"[:n_classes])
    return data(task="classification", y=y, target_names=("kind",), classes=names)


def train(dataset=None, *, seed=5, device=None, build_params=None, folder=None, **options):
    options = {"epochs": 4, "batch_size": 20, "learning_rate": 0.01} | options
    return train_network(
        data() if dataset is None else dataset,
        TRAIN,
        TrainingOptions(**options),
        build="dense",
        build_params={"units": [16]} | (build_params or {}),
        seed=seed,
        device=device,
        checkpoint_folder=folder,
    )


def values_of(history, quantity):
    return history.loc[history["quantity"] == quantity, "value"].to_numpy()


def weights_of(network):
    return np.concatenate([np.ravel(weight) for weight in network.model.get_weights()])


def on_cpu(dtype):
    import tensorflow as tf

    return Device("cpu", ("/device:CPU:0",), tf.distribute.get_strategy(), dtype, False)


def test_targets_are_learnt_in_their_units():
    made = data()
    network, history = train(made, epochs=15, learning_rate=0.03)
    error = network.predict(made.X[200:]) - made.y[200:]
    assert np.all(error.std(axis=0) < 0.4 * made.y.std(axis=0))
    assert list(dict.fromkeys(history["quantity"])) == [
        "loss",
        "rmse_teff",
        "rmse_logg",
        "val_loss",
        "val_rmse_teff",
        "val_rmse_logg",
        "learning_rate",
    ]
    # What the history says of the validation rows is what the kept network does there.
    best = int(np.argmin(values_of(history, "val_loss")))
    _, held_out = validation_rows(made, TRAIN, 0.1, 5)
    error = network.predict(made.X[held_out]) - made.y[held_out]
    for column, name in enumerate(made.target_names):
        expected = values_of(history, f"val_rmse_{name}")[best]
        assert np.sqrt(np.mean(error[:, column] ** 2)) == pytest.approx(expected, rel=1e-4)
    assert network.provenance["best_epoch"] == best + 1


@pytest.mark.parametrize("n_classes", [2, 4])
def test_classes_are_learnt(n_classes):
    made = classes(n_classes)
    network, history = train(made, epochs=10, learning_rate=0.03)
    probabilities = network.predict_proba(made.X[200:])
    assert np.mean(probabilities.argmax(axis=1) == made.y[200:]) > 0.6
    assert network.classes == made.classes
    assert values_of(history, "val_accuracy").max() > 0.6
    assert values_of(history, "loss")[-1] < values_of(history, "loss")[0]


@pytest.mark.parametrize(
    "options",
    [
        {"build_params": {"weight_decay": 0.01, "dropout": 0.3}},
        {"average_momentum": 0.9},
        {"loss": "huber"},
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(options):
    # Validation rows that say the opposite of the others: the longer trained, the worse.
    made = data()
    _, held_out = validation_rows(made, TRAIN, 0.1, 5)
    made.y[held_out] = 2 * made.y.mean(axis=0) - made.y[held_out]
    network, history = train(made, epochs=5, learning_rate=0.03, **options)
    losses = values_of(history, "val_loss")
    assert np.argmin(losses) < len(losses) - 1
    scaler = network.target_scaler
    error = (network.predict(made.X[held_out]) - made.y[held_out]) / scaler.scale
    if options.get("loss") == "huber":  # ½e² up to 1, straight beyond
        size = np.abs(error)
        loss = np.where(size < 1, size**2 / 2, size - 0.5)
    else:
        loss = error**2
    # Without the penalty of the weight decay.
    assert loss.mean() == pytest.approx(losses.min(), rel=1e-4)


def test_the_seed_decides_everything():
    options = {"build_params": {"dropout": 0.2}, "epochs": 2}
    first, second, other = (train(seed=seed, **options)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(weights_of(first), weights_of(second))
    assert not np.allclose(weights_of(first), weights_of(other))


def test_cosine_falls_over_all_steps():
    _, history = train(schedule="cosine", final_learning_rate=0.002, epochs=5)
    fall = (1 + np.cos(np.pi * np.arange(5) / 5)) / 2
    expected = 0.002 + (0.01 - 0.002) * fall
    np.testing.assert_allclose(values_of(history, "learning_rate"), expected, rtol=1e-5)


def test_plateau_lowers_the_rate_and_patience_ends_the_run():
    # No epoch but the first can improve by so much.
    options = {"schedule": "reduce_on_plateau", "plateau_patience": 1, "min_delta": 1e3}
    _, history = train(
        **options, plateau_factor=0.1, final_learning_rate=5e-4, epochs=9, patience=5
    )
    rates = values_of(history, "learning_rate")
    np.testing.assert_allclose(rates, [0.01, 0.01, 1e-3, 5e-4, 5e-4, 5e-4], rtol=1e-5)


@pytest.fixture(scope="module")
def losses_in_single_precision():
    return values_of(train(epochs=8)[1], "val_loss")


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_gives_a_network_in_single_precision(
    dtype, losses_in_single_precision
):
    network, history = train(device=on_cpu(dtype), epochs=8)
    losses = values_of(history, "val_loss")
    assert losses[-1] < 0.5 * losses[0]
    assert {str(weight.dtype) for weight in network.model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in network.model.layers} == {"float32"}
    np.testing.assert_allclose(losses, losses_in_single_precision, rtol=0.2)


def test_rows_of_weight_zero_do_not_count():
    made = data()
    weight = np.where(np.arange(N) % 3 == 0, 0.0, 2.0)
    spoilt = np.where(weight[:, None] == 0, made.y.mean(axis=0) + 900.0, made.y)
    network, _ = train(data(y=spoilt, sample_weight=weight), epochs=15, learning_rate=0.03)
    error = network.predict(made.X[200:]) - made.y[200:]
    assert np.all(np.abs(error.mean(axis=0)) < 0.15 * made.y.std(axis=0))


def test_columns_keep_their_names_and_pixels_have_none():
    assert train(epochs=1)[0].feature_names == data().feature_names
    for known in ({"wavelength": np.linspace(15000.0, 15001.0, P)}, {"X_error": np.ones((N, P))}):
        assert train(data(**known), epochs=1)[0].feature_names == ()


def test_noise_is_drawn_onto_noise_free_values():
    made = data()
    error = np.full((N, P), 3.0, np.float32)
    tables = {"X_error": error, "X_noiseless": made.X}
    quiet, _ = train(made, epochs=10)
    noisy, _ = train(data(**tables), epochs=10, noise=True)
    # Under noise, the best answer leans to the mean.
    spread = [network.predict(made.X[200:]).std(axis=0) for network in (quiet, noisy)]
    assert np.all(spread[1] < 0.7 * spread[0])


def test_validation_rows_take_whole_groups():
    group = np.array([f"star {number // 4}" for number in range(N)])
    fit, held_out = validation_rows(data(group=group), TRAIN[::-1], 0.2, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, held_out])), TRAIN)
    assert set(group[fit]).isdisjoint(group[held_out]) and len(held_out) == 40


def test_without_validation_rows_the_last_epoch_is_kept():
    network, history = train(validation_fraction=0, epochs=3)
    assert "val_loss" not in set(history["quantity"])
    assert network.provenance["best_epoch"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "linear"}, "schedule is 'linear'; expected one of constant, cosine"),
        ({"loss": "mse"}, "loss is 'mse'; expected one of null, mean_squared_error"),
        ({"noise_scale": (2.0, 1.0)}, r"noise_scale is \[2.0, 1.0\]"),
        ({"patience": 3, "validation_fraction": 0}, "look at validation rows"),
        ({"noise": True}, "hold no errors of X"),
        ({"learning_rate": 1e30}, "became NaN or infinite in epoch 1; lower learning_rate"),
    ],
)
def test_what_cannot_be_trained(options, message):
    with pytest.raises(InputError, match=message):
        train(**options)


def test_a_row_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"input_shape \[2, 4\] holds 8 values, a row of X has 6"):
        train_network(data(), TRAIN, TrainingOptions(), build="dense", input_shape=(2, 4), seed=1)


class Unregistered(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class Nameless(Unregistered):
    def __init__(self, values):
        super().__init__()
        self.values = values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.layers.Lambda(lambda x: 2 * x), "holds a Lambda layer"),
        (Unregistered, "Unregistered, which Keras does not know; register"),
        (lambda: Nameless(object()), "cannot be stored .*; give the layer a get_config"),
    ],
)
def test_what_cannot_be_stored_is_not_trained(monkeypatch, make, message):
    def build(input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, make()(inputs))

    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(InputError, match=message) as caught:
        train_network(data(), TRAIN, TrainingOptions(), build=build, seed=1)
    assert "\n" not in str(caught.value)


def test_the_log_tells_each_epoch(caplog):
    with caplog.at_level(logging.INFO):
        train(epochs=2)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("epoch 2 of 2: loss ") and "rows/s" in line for line in lines)
