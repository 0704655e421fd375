import copy
import dataclasses
import json
import pickle
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.networks.heads import make_network
from starstack.networks.persistence import (
    BLOCK_ROWS,
    FittedNetwork,
    load_network,
    model_from_bytes,
    network_bytes,
    save_network,
)
from starstack.networks.scaling import Scaler

RNG = np.random.default_rng(0)
SHAPE = (4, 3)
X = RNG.normal(size=(2 * BLOCK_ROWS + 5, 12))


def fitted(task="regression", n=2, *, build="dense", shape=SHAPE, seed=1):
    options = {"units": [6], "dropout": 0.2, "normalization": "batch"}
    return FittedNetwork(
        model=make_network(build, options, input_shape=shape, task=task, n_outputs=n, seed=seed),
        task=task,
        target_names=("Teff", "log g")[:n] if task == "regression" else (),
        classes=("dwarf", "giant", "σ")[:n] if task == "classification" else (),
        input_shape=shape,
        input_scaler=Scaler(np.arange(12.0), np.full(12, 2.0)),
        target_scaler=Scaler(np.array([2.4e6, 1.0])[:n], np.array([0.5, 3.0])[:n])
        if task == "regression"
        else Scaler(0.0, 1.0),
        provenance={"made": "here"},
    )


@pytest.fixture
def files(tmp_path):
    return tmp_path / "n.keras", tmp_path / "n.json"


def test_predictions_are_in_physical_units():
    network = fitted()
    scaled = ((X - np.arange(12)) / 2).reshape(-1, *SHAPE).astype(np.float32)
    output = np.asarray(network.model(scaled), dtype=np.float64)
    expected = output * [0.5, 3.0] + [2.4e6, 1.0]
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-9, atol=1e-5)
    assert network.predict(X).dtype == np.float64


def test_a_row_has_the_same_prediction_whatever_rows_stand_beside_it():
    wide = RNG.normal(size=(300, 700))
    model = make_network(
        "dense", {"units": [500]}, input_shape=(700,), task="regression", n_outputs=1, seed=1
    )
    scales = Scaler(0.0, 1.0), Scaler(0.0, 1.0)
    network = FittedNetwork(model, "regression", (), (), (700,), *scales)
    together = network.predict(wide)
    apart = np.vstack([network.predict(wide[[row]]) for row in range(20)])
    np.testing.assert_array_equal(together[:20], apart)
    np.testing.assert_array_equal(together[::-1], network.predict(wide[::-1]))
    assert network.predict(wide[:0]).shape == (0, 1)


def test_rows_may_be_flat_or_in_the_shape_of_the_network():
    network = fitted()
    np.testing.assert_array_equal(network.predict(X), network.predict(X.reshape(-1, *SHAPE)))


def test_an_hdf5_dataset_is_read_by_blocks(tmp_path, monkeypatch):
    network, read = fitted(), []
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = file.create_dataset("X", data=X)
        plain = h5py.Dataset.__getitem__
        monkeypatch.setattr(
            h5py.Dataset, "__getitem__", lambda d, at: read.append(at) or plain(d, at)
        )
        np.testing.assert_array_equal(network.predict(stored), network.predict(X))
    assert [at.start for at in read] == [0, BLOCK_ROWS, 2 * BLOCK_ROWS]


@pytest.mark.parametrize("n", [2, 3])
def test_files_there_and_back(n, files):
    network = fitted("classification", n)
    save_network(network, *files)
    read = load_network(*files)
    np.testing.assert_array_equal(read.predict_proba(X), network.predict_proba(X))
    assert (read.task, read.classes, read.input_shape) == ("classification", network.classes, SHAPE)
    assert read.provenance == {"made": "here"}
    first = [path.read_bytes() for path in files]
    save_network(read, *files)
    assert [path.read_bytes() for path in files] == first


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_independent(copied):
    network = fitted()
    twin = copied(network)
    before = network.predict(X)
    twin.model.set_weights([w + 1 for w in twin.model.get_weights()])
    np.testing.assert_array_equal(network.predict(X), before)
    assert (twin.predict(X) != before).any()


def test_the_bytes_do_not_depend_on_the_optimiser_or_on_what_was_built_before():
    import keras

    one = fitted().model
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    two = fitted().model
    two.compile("adam", "mse")
    assert network_bytes(one) == network_bytes(two)
    assert network_bytes(one) != network_bytes(fitted(seed=2).model)


def test_the_wrong_question_or_the_wrong_width():
    with pytest.raises(InputError, match="the network is a classifier; use predict_proba"):
        fitted("classification").predict(X)
    with pytest.raises(InputError, match="the network is a regression; use predict"):
        fitted().predict_proba(X)
    with pytest.raises(InputError, match="takes rows of 12 values, these have 11"):
        fitted().predict(X[:, 1:])


def test_files_that_are_not_whole_or_not_a_pair(files, tmp_path):
    save_network(fitted(), *files)
    whole, text = files[0].read_bytes(), files[1].read_text()
    save_network(fitted(seed=2), tmp_path / "o.keras", tmp_path / "o.json")
    with pytest.raises(InputError, match=r"is not the file that .*o.json describes"):
        load_network(files[0], tmp_path / "o.json")
    files[0].write_bytes(whole[:-100])
    with pytest.raises(InputError, match="it is cut short"):
        load_network(*files)
    files[0].write_bytes(whole)
    for wrong, message in [
        (text[:50], "no whole description of a network"),
        ("{}", "no whole description of a network"),
        (text.replace('"format_version": 1', '"format_version": 9'), "expected format 1"),
    ]:
        files[1].write_text(wrong)
        with pytest.raises(InputError, match=message):
            load_network(*files)
    files[1].unlink()
    with pytest.raises(InputError, match=r"n.json: there is no such file"):
        load_network(*files)


FIELDS = (
    "format_version", "keras_sha256", "task", "target_names", "classes", "input_shape",
    "input_scaler", "target_scaler", "provenance",
)  # fmt: skip
GONE = object()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, GONE) for key in FIELDS],
        *[(key, None) for key in FIELDS],
        ("task", "segmentation"),
        ("target_names", ["Teff"]),
        ("target_names", [1, 2]),
        ("classes", ["dwarf", "giant"]),
        ("feature_names", None),
        ("feature_names", ["colour"]),
        ("feature_names", [1] * 12),
        ("input_shape", [12]),
        ("input_shape", [3, 4]),
        ("input_shape", [4.0, 3.0]),
        ("input_scaler", {"mean": 0.0}),
        ("input_scaler", {"mean": "a", "scale": 1.0}),
        ("input_scaler", {"mean": [0.0] * 11, "scale": 1.0}),
        ("input_scaler", {"mean": 0.0, "scale": 0.0}),
        ("target_scaler", {"mean": [0.0] * 3, "scale": [1.0] * 3}),
        ("target_scaler", {"mean": 0.0, "scale": float("nan")}),
    ],
)
def test_a_damaged_description_is_refused(key, value, files):
    save_network(fitted(), *files)
    content = json.loads(files[1].read_text())
    # Older files do without the names of the features.
    assert set(content) == {*FIELDS, "feature_names"}
    content[key] = value
    if value is GONE:
        del content[key]
    files[1].write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"n\.json") as caught:
        load_network(*files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [["a"], ["a", "b", "c"], ["a", "a"], [["a"], ["b"]]])
def test_classes_that_do_not_fit_are_refused(classes, files):
    save_network(fitted("classification"), *files)
    content = json.loads(files[1].read_text()) | {"classes": classes}
    files[1].write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"n\.json: (classes does not fit|is no whole)"):
        load_network(*files)


def altered(content, change):
    """Change the description of a network in the bytes of its file."""
    import io

    source, buffer = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            if name == "config.json":
                config = json.loads(part)
                change(config)
                part = json.dumps(config).encode()
            target.writestr(name, part)
    return buffer.getvalue()


def test_damaged_bytes():
    content = network_bytes(fitted().model)
    for cut in (0, 10, len(content) // 2, len(content) - 5):
        with pytest.raises(InputError, match=r"x: is not a whole \.keras file"):
            model_from_bytes(content[:cut], "x")

    def wider(config):
        dense = next(c for c in config["config"]["layers"] if c["class_name"] == "Dense")
        dense["config"]["units"] = 7

    with pytest.raises(InputError, match="x: cannot be read as a network"):
        model_from_bytes(altered(content, wider), "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_name": "Lambda"}, "holds a Lambda layer, which could run any code"),
        ({"class_name": "TFSMLayer"}, "holds a TFSMLayer layer"),
        ({"module": "os", "class_name": "system"}, "holds os.system, which Keras does not know"),
        (
            {"module": "my_layers", "class_name": "Mine", "registered_name": "me>Mine"},
            "holds my_layers.Mine, which Keras does not know",
        ),
        ({"class_name": "NoSuchLayer"}, "cannot be read as a network"),
    ],
)
def test_unsafe_or_unknown_parts_are_refused(changes, message):
    def change(config):
        config["config"]["layers"][2].update(changes)

    with pytest.raises(InputError, match=message):
        model_from_bytes(altered(network_bytes(fitted().model), change), "x")


def test_a_network_that_could_not_be_read_is_not_written(files):
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    with pytest.raises(InputError, match="this network: holds a Lambda layer"):
        network_bytes(model)


def test_a_registered_layer_is_read():
    import keras

    @keras.saving.register_keras_serializable("test_persistence")
    class Double(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Double()(inputs))
    read = model_from_bytes(network_bytes(model), "x")
    assert np.asarray(read(np.ones((1, 3)))).tolist() == [[2.0, 2.0, 2.0]]


@pytest.mark.parametrize("module", ["__main__", "my_layers"])
def test_a_layer_or_function_that_is_not_registered_is_not_written(module, files):
    import keras

    class Double(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def double(x):
        return 2 * x

    Double.__module__ = double.__module__ = module
    inputs = keras.Input((3,))
    for layer, name in ((Double(), f"{module}.Double"), (keras.layers.Dense(2, double), "double")):
        network = dataclasses.replace(fitted(), model=keras.Model(inputs, layer(inputs)))
        with pytest.raises(InputError, match=rf"this network: holds .*{name}, which Keras does"):
            save_network(network, *files)
    assert not any(path.exists() for path in files)


def test_a_registered_function_is_read():
    import keras

    @keras.saving.register_keras_serializable("test_persistence")
    def thrice(x):
        return 3 * x

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Activation(thrice)(inputs))
    read = model_from_bytes(network_bytes(model), "x")
    assert np.asarray(read(np.ones((1, 3)))).tolist() == [[3.0, 3.0, 3.0]]


def named_network():
    model = make_network(
        "dense", {"units": [3]}, input_shape=(2,), task="regression", n_outputs=1, seed=1
    )
    scales = Scaler(0.0, 1.0), Scaler(0.0, 1.0)
    return FittedNetwork(
        model, "regression", (), (), (2,), *scales, feature_names=("colour", "mag")
    )


def test_columns_of_a_data_frame_are_checked_by_name(files):
    save_network(named_network(), *files)
    network = load_network(*files)
    frame = pd.DataFrame(RNG.normal(size=(3, 2)), columns=["colour", "mag"])
    np.testing.assert_array_equal(network.predict(frame), network.predict(frame.to_numpy()))
    with pytest.raises(InputError, match="column 1 is 'mag', expected 'colour'"):
        network.predict(frame[["mag", "colour"]])


def test_a_row_that_is_not_finite_is_named():
    frame = pd.DataFrame([[0, 0], [0, np.nan]], index=["a", "b"], columns=["colour", "mag"])
    with pytest.raises(InputError, match=r"column 'mag' is missing \(NaN\) in row 'b'"):
        named_network().predict(frame)
    rows = np.zeros((BLOCK_ROWS + 4, 12))
    rows[BLOCK_ROWS + 2, 5] = np.inf
    with pytest.raises(InputError, match=f"column '5' is infinite in row '{BLOCK_ROWS + 2}'"):
        fitted("classification").predict_proba(rows)


def test_files_from_before_features_had_names_go_on_working(files):
    save_network(named_network(), *files)
    content = json.loads(files[1].read_text())
    del content["feature_names"]
    files[1].write_text(json.dumps(content))
    network = load_network(*files)
    assert network.feature_names == ()
    assert np.isfinite(network.predict(pd.DataFrame({"b": [1.0], "a": [2.0]}))).all()
