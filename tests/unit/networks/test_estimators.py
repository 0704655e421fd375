import copy
import gc
import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_blobs
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starstack.errors import InputError
from starstack.models.persistence import dump_models, load_models
from starstack.models.specs import build_estimator
from starstack.networks import estimators
from starstack.networks.estimators import KerasClassifier, KerasRegressor

# Without a hidden layer, all rows in each step, double precision: a convex problem.
LINEAR = {
    "batch_size": None,
    "validation_fraction": 0.0,
    "dtype": "float64",
    "learning_rate": 0.1,
    "learning_rate_schedule": "cosine",
    "epochs": 800,
    "random_state": 0,
}
TINY = {"build_params": {"units": [4]}, "epochs": 2, "random_state": 1}
RNG = np.random.default_rng(0)


def linear(weight_decay):
    return LINEAR | {"build_params": {"units": [], "weight_decay": weight_decay}}


@pytest.fixture
def untrained(monkeypatch):
    """Keep networks from training; what they would have trained on is recorded."""
    calls = []

    def record(network, head, train, validation, options, seed):
        calls.append({"network": network, "train": train, "validation": validation})
        return {"loss": [0.0]}

    monkeypatch.setattr(estimators, "fit_network", record)
    return calls


# --- against closed forms -----------------------------------------------------------------------


def test_a_linear_network_is_least_squares_for_several_targets():
    X = RNG.normal(size=(60, 3)) * [1.0, 100.0, 0.01] + [5.0, 0.0, 3.0]
    Y = np.column_stack([X @ [1.0, 0.02, 30.0], X @ [0.0, 1.0, 0.0] * 1e4 + 5e5])
    Y += RNG.normal(size=Y.shape) * [0.5, 3e5]
    fitted = KerasRegressor(**linear(0.0)).fit(X, Y)
    expected = LinearRegression().fit(X, Y).predict(X)
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-6)


def test_a_linear_network_with_weights_and_penalty_is_ridge():
    X = RNG.normal(size=(50, 3)) @ RNG.normal(size=(3, 3))
    y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=50)
    weight = RNG.integers(0, 4, size=50).astype(float)
    fitted = KerasRegressor(**linear(0.1)).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(50), weight.astype(int))
    scaler = StandardScaler().fit(X[rows])
    # Mean squared error plus 0.1 |w|²: n times the penalty, of standardised targets.
    ridge = Ridge(alpha=0.1 * len(rows)).fit(scaler.transform(X[rows]), y[rows])
    expected = ridge.predict(scaler.transform(X))
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_linear_network_is_logistic_regression_class_by_class(n_classes):
    X, codes = make_blobs(60, centers=n_classes, cluster_std=4.0, random_state=1)
    y = np.array(["zebra", "ant", "σ"])[codes]
    fitted = KerasClassifier(**linear(0.05)).fit(X, y)
    scaled = StandardScaler().fit_transform(X)
    # Cross-entropy has the penalty |w|²/2 per row and C.
    logistic = LogisticRegression(C=1 / (2 * 0.05 * 60), tol=1e-10, max_iter=1000).fit(scaled, y)
    assert fitted.classes_.tolist() == logistic.classes_.tolist()
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba, logistic.predict_proba(scaled), atol=1e-6)
    assert (fitted.predict(X) == logistic.predict(scaled)).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-15)


# --- what it is trained on ----------------------------------------------------------------------


def test_scales_come_from_the_training_rows_alone(untrained):
    X, y = RNG.normal(size=(40, 3)) + 10, RNG.normal(size=40) * 7
    fitted = KerasRegressor(validation_fraction=0.25, random_state=3).fit(X, y)
    (call,) = untrained
    assert [len(values) for values in call["train"]] == [30, 30]
    assert [len(values) for values in call["validation"]] == [10, 10]
    back = fitted.network_.input_scaler.inverse(call["train"][0])
    in_training = np.isclose(X[:, None], back[None], atol=1e-4).all(axis=2).any(axis=1)
    assert in_training.sum() == 30
    expected = StandardScaler().fit(X[in_training])
    np.testing.assert_allclose(fitted.network_.input_scaler.mean, expected.mean_)
    np.testing.assert_allclose(fitted.network_.input_scaler.scale, expected.scale_)
    targets = fitted.network_.target_scaler
    np.testing.assert_allclose([targets.mean[0], targets.scale[0]],
                               [y[in_training].mean(), y[in_training].std()])  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_never_straddle_and_rows_without_weight_are_not_there(untrained, weighted):
    groups = RNG.integers(0, 8, size=80)
    X, y = np.column_stack([groups, np.arange(80)]).astype(float), np.arange(80) % 2
    weight = np.where(np.arange(80) % 5 == 0, 0.0, 3.0) if weighted else None
    options = {"scaling": "none", "validation_fraction": 0.25, "random_state": 0}
    KerasClassifier(**options).fit(X, y, sample_weight=weight, groups=groups)
    (call,) = untrained
    train, validation = call["train"], call["validation"]
    assert not set(train[0][:, 0]) & set(validation[0][:, 0])
    seen = np.concatenate([train[0][:, 1], validation[0][:, 1]])
    assert sorted(seen) == [i for i in range(80) if weight is None or weight[i]]
    np.testing.assert_array_equal(train[1][:, 0], train[0][:, 1] % 2)
    if weighted:
        np.testing.assert_array_equal(train[2], 1.0)


def test_rows_are_brought_to_the_shape_of_the_network(untrained):
    X = RNG.normal(size=(20, 12))
    y, small = np.arange(20) % 2, {"build_params": {"filters": [2]}}
    KerasClassifier("cnn_2d", input_shape=[4, 3], **small).fit(X, y)
    KerasClassifier("cnn_2d", **small).fit(X.reshape(-1, 4, 3), y)
    for call in untrained:
        assert call["network"].input_shape == (None, 4, 3)
        assert call["train"][0].shape[1:] == (4, 3)
    with pytest.raises(
        InputError, match=r"input_shape \[5, 3\] holds 15 values, a row of X has 12"
    ):
        KerasClassifier("cnn_2d", input_shape=[5, 3]).fit(X, y)


def test_early_stopping_keeps_the_best_epoch(monkeypatch):
    calls, plain = [], estimators.fit_network

    def record(network, head, train, validation, *args, **options):
        calls.append(validation)
        return plain(network, head, train, validation, *args, **options)

    monkeypatch.setattr(estimators, "fit_network", record)
    X, y = RNG.normal(size=(40, 5)), RNG.normal(size=40)
    fitted = KerasRegressor(
        build_params={"units": [32], "weight_decay": 0.3},
        learning_rate=0.03, epochs=60, patience=8, validation_fraction=0.25, random_state=0,
    ).fit(X, y)  # fmt: skip
    history = fitted.history_["val_mean_squared_error"]
    best = int(np.argmin(history))
    assert fitted.n_iter_ == len(history) == best + 1 + 8 < 60
    assert np.argmin(fitted.history_["val_loss"]) != best, "the penalty is not in what is compared"
    ((rows, target),) = calls
    output = np.asarray(fitted.network_.model(rows))
    assert np.square(output - target).mean() == pytest.approx(history[best], rel=1e-5)
    assert np.square(output - target).mean() < history[-1]


# --- seeds --------------------------------------------------------------------------------------


def digest(fitted):
    return hashlib.sha256(fitted.network_.__getstate__()["keras"]).hexdigest()


WITH_DROPOUT = TINY | {"build_params": {"units": [4], "dropout": 0.3, "input_noise": 0.1}}


def test_the_seed_decides_and_no_global_state_is_read_or_set():
    import tensorflow as tf

    X, y = load_iris(return_X_y=True)
    first = digest(KerasClassifier(**WITH_DROPOUT).fit(X, y))
    np.random.seed(3)
    random.seed(4)
    tf.random.set_seed(5)
    drawn = float(tf.random.uniform(()))
    tf.random.set_seed(5)
    states = random.getstate(), np.random.get_state()[1].copy()
    assert digest(KerasClassifier(**WITH_DROPOUT).fit(X, y)) == first
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert float(tf.random.uniform(())) == drawn
    other = KerasClassifier(**WITH_DROPOUT | {"random_state": 2}).fit(X, y)
    assert digest(other) != first
    state = np.random.RandomState(7)
    one, two = (digest(KerasClassifier(**TINY | {"random_state": state}).fit(X, y)) for _ in "ab")
    assert one != two


def test_another_process_gives_the_same_bytes(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = KerasClassifier(**WITH_DROPOUT)
    KerasClassifier(**TINY).fit(X, y)
    (there,) = Parallel(n_jobs=2)([delayed(model.fit)(X, y)])
    stored = []
    for number, fitted in enumerate([clone(model).fit(X, y), there]):
        dump_models({"1": fitted}, tmp_path / f"{number}.skops", {})
        stored.append((tmp_path / f"{number}.skops").read_bytes())
    assert stored[0] == stored[1]
    assert not hasattr(model, "network_"), "it was fitted elsewhere"


def test_many_fits_leave_nothing_behind():
    def graphs():
        gc.collect()
        return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())

    X, y = load_iris(return_X_y=True)
    KerasClassifier(**TINY).fit(X, y)
    before = graphs()
    for _ in range(2):
        KerasClassifier(**TINY).fit(X, y)
    assert graphs() == before


# --- in the company of scikit-learn -------------------------------------------------------------


def test_every_parameter_survives_clone():
    changed = {
        "build": "recurrent", "build_params": {"units": [3]}, "input_shape": [4, 1],
        "allowed_packages": ("mine",), "scaling": "common", "epochs": 7, "batch_size": 5,
        "learning_rate": 0.5, "beta_1": 0.1, "beta_2": 0.2, "epsilon": 0.3,
        "learning_rate_schedule": "cosine", "validation_fraction": 0.4, "patience": 6,
        "jit_compile": True, "dtype": "float64", "random_state": 8,
    }  # fmt: skip
    for cls in (KerasClassifier, KerasRegressor):
        assert set(changed) == set(cls().get_params())
        assert all(cls().get_params()[key] != value for key, value in changed.items())
        assert clone(cls(**changed)).get_params() == changed


def test_it_nests():
    X, y = load_iris(return_X_y=True)
    quick = TINY | {"epochs": 20, "learning_rate": 0.05, "batch_size": None}
    pipeline = make_pipeline(StandardScaler(), KerasClassifier(**quick))
    grid = {"kerasclassifier__build_params": [{"units": [1]}, {"units": [16]}]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_["kerasclassifier__build_params"] == {"units": [16]}
    X, y = load_diabetes(return_X_y=True)
    several = MultiOutputRegressor(KerasRegressor(**TINY)).fit(X, np.column_stack([y, -y]))
    assert several.predict(X).shape == (442, 2)


def test_names_of_columns_and_types_of_classes():
    X, y = load_iris(return_X_y=True, as_frame=True)
    fitted = KerasClassifier(**TINY).fit(X, y == 1)
    assert fitted.feature_names_in_.tolist() == list(X.columns)
    assert fitted.classes_.dtype == bool and fitted.predict(X).dtype == bool
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(X[X.columns[::-1]])
    assert KerasRegressor(**TINY).fit(X, X[["sepal length (cm)"]]).predict(X).shape == (150, 1)


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [KerasClassifier, KerasRegressor])
def test_files_and_copies_predict_the_same(cls, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    target = y.map({0: "a", 1: "b", 2: "σ"}) if cls is KerasClassifier else np.c_[y, -y]
    fitted = cls(**TINY).fit(X, target)
    fitted.save(tmp_path / "net")
    dump_models({"1": fitted}, tmp_path / "m.skops", {}, trusted_types=[])
    for read in (cls.load(tmp_path / "net"), load_models(tmp_path / "m.skops")["1"],
                 copy.deepcopy(fitted)):  # fmt: skip
        np.testing.assert_array_equal(read.predict(X), fitted.predict(X))
        assert json.dumps(read.get_params()) == json.dumps(fitted.get_params())
        assert vars(read).keys() == vars(fitted).keys()
        assert read.history_ == fitted.history_
        assert read.feature_names_in_.tolist() == list(X.columns)
    dump_models({"1": load_models(tmp_path / "m.skops")["1"]}, tmp_path / "again.skops", {})
    assert (tmp_path / "again.skops").read_bytes() == (tmp_path / "m.skops").read_bytes()


VALUES = [*KerasClassifier().get_params(), "history_", "n_iter_", "n_features_in_", "_row_shape"]


@pytest.mark.parametrize(
    "damage",
    [
        *[lambda stored, key=key: stored["values"].pop(key) for key in VALUES],
        lambda stored: stored["arrays"].pop("classes_"),
        lambda stored: stored["arrays"]["classes_"].pop("dtype"),
        lambda stored: stored["arrays"]["classes_"]["values"].pop(),
        lambda stored: stored["arrays"]["classes_"]["values"].reverse(),
        lambda stored: stored.pop("values"),
        lambda stored: stored.pop("arrays"),
        lambda stored: stored.update(values=None),
        lambda stored: stored.update(arrays=[1]),
        lambda stored: stored["values"].update(predict=3),
        lambda stored: stored["values"].update(network_=None),
        lambda stored: stored["values"].update(_one_target=True),
        lambda stored: stored["values"].update(n_features_in_=5),
        lambda stored: stored["values"].update(_row_shape=[3]),
        lambda stored: stored["values"].update(_row_shape="4"),
        lambda stored: stored["values"].update(feature_names_in_=["a"]),
    ],
)
def test_a_damaged_estimator_is_refused(damage, stored_classifier, tmp_path):
    shutil.copy(f"{stored_classifier}.keras", tmp_path / "net.keras")
    content = json.loads(Path(f"{stored_classifier}.json").read_text())
    damage(content["provenance"]["estimator"])
    (tmp_path / "net.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"net.json: the estimator in it is damaged") as caught:
        KerasClassifier.load(tmp_path / "net")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def stored_classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "net"
    KerasClassifier(**TINY).fit(*load_iris(return_X_y=True)).save(path)
    return path


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_numbers_of_numpy_as_parameters(schedule, tmp_path):
    X, y = RNG.normal(size=(40, 5)), RNG.normal(size=40)
    plain = {
        "epochs": 2, "batch_size": 8, "learning_rate": 0.5, "beta_1": 0.5, "epsilon": 0.25,
        "validation_fraction": 0.25, "patience": 3, "input_shape": [5], "random_state": 1,
        "jit_compile": False, "build_params": {"units": [3], "dropout": 0.5},
    }  # fmt: skip
    of_numpy = {
        "epochs": np.int64(2), "batch_size": np.int32(8), "learning_rate": np.float32(0.5),
        "beta_1": np.float64(0.5), "epsilon": np.float32(0.25), "patience": np.int8(3),
        "validation_fraction": np.float32(0.25), "input_shape": np.array([5]),
        "random_state": np.int64(1), "jit_compile": np.bool_(False),
        "build_params": {"units": [np.int64(3)], "dropout": np.float32(0.5)},
    }  # fmt: skip
    expected = KerasRegressor(**plain, learning_rate_schedule=schedule).fit(X, y).predict(X)
    fitted = KerasRegressor(**of_numpy, learning_rate_schedule=schedule).fit(X, y)
    fitted.save(tmp_path / "net")
    np.testing.assert_array_equal(fitted.predict(X), expected)
    np.testing.assert_array_equal(KerasRegressor.load(tmp_path / "net").predict(X), expected)


@pytest.mark.parametrize("shape", [[2.5, 2], [-1, -5], [5.0]])
def test_an_input_shape_that_is_none(shape):
    with pytest.raises(InputError, match="input_shape: expected positive integers"):
        KerasRegressor(input_shape=shape).fit(np.ones((8, 5)), np.arange(8.0))


def test_rows_have_the_shape_that_they_had_in_fit(untrained):
    X = RNG.normal(size=(20, 4, 3))
    fitted = KerasRegressor("recurrent", build_params={"units": [2]}).fit(X, X[:, 0, 0])
    assert fitted.predict(X).shape == (20,)
    for other in (X.reshape(20, 12), X.reshape(20, 4, 3, 1), X[:, :, :2], X.reshape(20, 3, 4)):
        with pytest.raises(
            ValueError, match=r"expected rows of shape \(4, 3\)|n_features|features"
        ):
            fitted.predict(other)
    with pytest.raises(InputError, match=r"expected rows of shape \(4, 3\).*got \(4, 3, 1\)"):
        fitted.predict(X[..., None])


def test_groups_of_several_types():
    X = RNG.normal(size=(4, 2))
    with pytest.raises(InputError, match="groups: expected labels of one type") as caught:
        KerasRegressor().fit(X, X[:, 0], groups=["a", "b", "a", None])
    assert "\n" not in str(caught.value)


def test_the_package_exports_by_name():
    namespace = {}
    exec("from starstack.networks import *", namespace)
    assert namespace["KerasClassifier"] is KerasClassifier
    assert "save_network" in namespace and "import_module" not in namespace


def test_files_of_another_class_or_of_what_json_cannot_hold(tmp_path):
    X, y = load_iris(return_X_y=True)
    KerasRegressor(**TINY).fit(X, y).save(tmp_path / "net")
    with pytest.raises(InputError, match="expected a KerasClassifier, got KerasRegressor"):
        KerasClassifier.load(tmp_path / "net")
    fitted = KerasRegressor(**TINY | {"random_state": np.random.RandomState(0)}).fit(X, y)
    with pytest.raises(InputError, match=r"cannot be written as JSON.*give an integer as random"):
        fitted.save(tmp_path / "net")


def test_a_stored_estimator_with_a_lambda_layer_is_refused(tmp_path):
    import keras

    X, y = load_iris(return_X_y=True)
    fitted = KerasClassifier(**TINY).fit(X, y)
    inputs = keras.Input((4,))
    unsafe = keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs))
    object.__setattr__(fitted.network_, "model", unsafe)
    with pytest.raises(InputError, match="holds a Lambda layer"):
        dump_models({"1": fitted}, tmp_path / "m.skops", {})


# --- from the config ----------------------------------------------------------------------------


def spec(**params):
    return {"class": "starstack.networks.estimators.KerasClassifier", "params": params}


def test_the_allowed_packages_of_the_config_reach_the_builder():
    options = {"seed": 4, "allowed_packages": ["starstack", "mine"], "where": "models.net"}
    built = build_estimator(spec(build="cnn_2d"), **options)
    assert built.allowed_packages == ("starstack", "mine")
    assert built.random_state == 4
    options["allowed_packages"] = ["starstack"]
    with pytest.raises(InputError, match=r"models.net: build: class mine.f is not in an allowed"):
        build_estimator(spec(build="mine.f", allowed_packages=["mine"]), **options)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 0}, "'epochs' parameter of KerasClassifier must be an int"),
        ({"learning_rate": "1e-3"}, "YAML reads 1e-3 as text: write 1.0e-3"),
        ({"scaling": "minmax"}, "'scaling' parameter of KerasClassifier"),
        ({"build": "dens"}, "unknown architecture 'dens'"),
        ({"build_params": {"unit": [1]}}, "unknown option of dense 'unit'"),
        ({"build_params": {"units": [-1]}}, "'units' parameter of dense"),
        ({"unit": 3}, "unknown parameter of KerasClassifier 'unit'"),
    ],
)
def test_a_mistake_in_the_config_costs_no_job(params, message):
    with pytest.raises(InputError, match=f"models.net.*{message}"):
        build_estimator(spec(**params), seed=1, allowed_packages=["starstack"], where="models.net")


def test_a_loss_that_explodes_is_an_error():
    X, y = RNG.normal(size=(40, 3)), RNG.normal(size=40)
    with pytest.raises(InputError, match="the loss became NaN or infinite in 5 epochs; lower"):
        KerasRegressor(learning_rate=1e30, epochs=5, validation_fraction=0.0).fit(X, y)
