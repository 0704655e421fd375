import subprocess
import sys

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.networks.architectures import ARCHITECTURES, check_build, resolve_builder
from starstack.networks.heads import make_network

IMAGE = (8, 8)


def network(build, input_shape, n_outputs=3, **options):
    return make_network(
        build, options, input_shape=input_shape, task="regression", n_outputs=n_outputs, seed=1
    )


def layers(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize(
    ("build", "shape", "options", "count"),
    [
        # Fabbro et al. (2018), 7214 pixels and three labels.
        ("starnet", (7214,), {}, 7_419_191),
        ("starnet", (7214, 1), {}, 7_419_191),
        ("dense", (7213,), {"units": [2048, 1024, 512, 256, 128, 32]}, 17_565_699),
        ("dense", IMAGE, {"units": [10]}, 64 * 10 + 10 + 3 * 11),
        # Convolutions 3 × 3 × 1 × 16 and 3 × 3 × 16 × 32; pooling leaves 2 × 2 × 32 values.
        ("cnn_2d", IMAGE, {}, 160 + 4640 + (128 * 64 + 64) + 65 * 3),
        ("cnn_2d", IMAGE, {"filters": [4], "pool_size": 1, "units": []}, 40 + 257 * 3),
        # Three gates, each with input, recurrent, and two bias terms; four gates with one.
        ("recurrent", IMAGE, {"units": [5]}, 3 * (8 * 5 + 5 * 5 + 2 * 5) + 6 * 3),
        ("recurrent", IMAGE, {"units": [5], "cell": "lstm"}, 4 * (8 * 5 + 5 * 5 + 5) + 6 * 3),
        ("recurrent", IMAGE, {"units": [5], "bidirectional": True}, 2 * 225 + 11 * 3),
        ("recurrent", IMAGE, {"units": [5, 4]}, 225 + 3 * (20 + 16 + 8) + 5 * 3),
        ("recurrent", (7,), {"units": [5], "unroll": True}, 3 * (5 + 25 + 10) + 6 * 3),
    ],
)
def test_numbers_of_weights(build, shape, options, count):
    assert network(build, shape, **options).count_params() == count


@pytest.mark.parametrize("build", ARCHITECTURES)
def test_every_body_gives_one_row_of_features_and_has_every_option(build):
    options = {"dropout": 0.5, "weight_decay": 0.1, "input_noise": 0.2, "activation": "elu"}
    shape = (16,) if build == "starnet" else IMAGE
    model = network(build, shape, kernel_initializer="lecun_normal", **options)
    assert model.output_shape == (None, 3)
    assert "GaussianNoise" in layers(model) and "Dropout" in layers(model)
    kernels = [w for w in model.trainable_weights if len(w.shape) > 1]
    penalty = 0.1 * sum(np.square(np.asarray(w)).sum() for w in kernels)
    assert float(sum(model.losses)) == pytest.approx(float(penalty), rel=1e-5)
    for kind, name in (("batch", "BatchNormalization"), ("layer", "LayerNormalization")):
        assert name in layers(network(build, shape, normalization=kind))
    plain = layers(network(build, shape))
    assert not {"Dropout", "GaussianNoise", "BatchNormalization"} & set(plain)


def test_dropout_and_noise_act_in_training_only():
    model = network("dense", (4,), units=[50], dropout=0.5, input_noise=0.5)
    x = np.ones((3, 4), dtype=np.float32)
    quiet = [np.asarray(model(x, training=False)) for _ in range(2)]
    loud = [np.asarray(model(x, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert (loud[0] != loud[1]).all()


def test_one_step_of_a_gru_by_hand():
    model = network("recurrent", (1, 3), units=[4])
    kernel, recurrent, bias = (np.asarray(w) for w in model.layers[1].get_weights())
    x = np.array([[0.3, -0.2, 0.5]])
    # From a state of zeros: z = σ(xWz + b), h = (1 - z) tanh(xWh + bh + r·bh').
    z, r, h = np.split(x @ kernel + bias[0], 3, axis=1)
    z_bias, r_bias, h_bias = np.split(bias[1], 3)
    assert recurrent.shape == (4, 12)
    gate, reset = (1 / (1 + np.exp(-v)) for v in (z + z_bias, r + r_bias))
    expected = (1 - gate) * np.tanh(h + reset * h_bias)
    body = model.layers[1](x.reshape(1, 1, 3).astype(np.float32))
    np.testing.assert_allclose(np.asarray(body), expected, rtol=1e-5)


def test_a_builder_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "def tiny(input_shape, *, width=2):\n"
        "    import keras\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width),"
        " keras.layers.Dropout(0.5)])\n"
        "number = 3\n"
        "from os.path import join\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    builder = resolve_builder("my_nets.tiny", ["my_nets"])
    assert builder.__name__ == "tiny"
    assert network(builder, (3,), width=5).count_params() == 3 * 5 + 5 + 6 * 3
    for path, packages, message in [
        ("my_nets.tiny", ["starstack"], "my_nets.tiny is not in an allowed package"),
        ("my_nets.tny", ["my_nets"], "has no function 'tny'; did you mean 'tiny'"),
        ("my_nets.number", ["my_nets"], "my_nets.number is a int"),
        ("my_nets.join", ["my_nets"], "posixpath.join is not in an allowed package"),
        ("my_nets.missing.x", ["my_nets"], "my_nets.missing cannot be imported"),
    ]:
        with pytest.raises(InputError, match=message):
            resolve_builder(path, packages)
    with pytest.raises(InputError, match=r"unknown option of tiny 'widht'.*did you mean 'width'"):
        check_build("my_nets.tiny", {"widht": 1}, ["my_nets"])


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        ("dens", {}, "unknown architecture 'dens'.*did you mean 'dense'"),
        (3, {}, "unknown architecture 3"),
        ("os.system", {}, "os.system is not in an allowed package"),
        ("dense", {"unit": [3]}, "unknown option of dense 'unit'.*did you mean 'units'"),
        ("dense", {"units": 3}, "'units' parameter of dense must be an array-like"),
        ("dense", {"units": [3, 0]}, "'units' parameter of dense must be an int"),
        ("dense", {"dropout": 1.0}, "'dropout' parameter of dense must be a float"),
        ("dense", {"normalization": "bacth"}, "must be a str among"),
        ("dense", {"weight_decay": -1.0}, "'weight_decay' parameter"),
        ("recurrent", {"cell": "rnn"}, "'cell' parameter of recurrent"),
    ],
)
def test_what_is_refused_before_keras_is_imported(build, options, message):
    with pytest.raises(InputError, match=message):
        check_build(build, options)


def test_the_check_of_the_config_imports_no_tensorflow():
    code = (
        "import sys; from starstack.networks.estimators import KerasClassifier;"
        "from starstack.models.specs import build_estimator;"
        "build_estimator({'class': 'starstack.networks.estimators.KerasClassifier',"
        " 'params': {'build': 'cnn_2d', 'build_params': {'filters': [3]}}},"
        " seed=1, allowed_packages=['starstack'], where='here');"
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
