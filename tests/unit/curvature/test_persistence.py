"""Posteriors in files: the same bits again, and refusals."""

import json

import h5py
import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.persistence import FORMAT_VERSION, architecture_digest
from starstack.curvature.structures import laplace, load
from starstack.errors import InputError

LAYERED = ("block", "last_layer", "kfac", "ekfac", "diagonal")
NOISE = np.array([0.4, 2.5])


def rows(n=20):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)), rng.standard_normal((n, 2))


def small(oracle, activation="tanh", seed=0):
    return oracle.network((6,), oracle.dense(5, activation), oracle.dense(2), seed=seed)


def make(oracle, structure="kfac", **options):
    X, y = rows()
    options = {"noise": NOISE, "scaler_digest": "scales of the spectra"} | options
    return laplace(small(oracle), Batches(X, y, batch_size=8), structure=structure, **options)


@pytest.mark.parametrize("structure", LAYERED)
def test_a_loaded_posterior_gives_the_same_bits(oracle, structure, tmp_path):
    posterior = make(oracle, structure)
    names = list(posterior.layers)
    posterior = posterior.with_hyperparameters(2 * NOISE, {names[0]: 0.3, names[1]: 4.0})
    posterior.save(tmp_path / "posterior.h5")
    # The same architecture and weights in another object, whose layers have other names.
    again = load(tmp_path / "posterior.h5", small(oracle), "scales of the spectra")
    X, _ = rows()
    np.testing.assert_array_equal(
        again.predictive_covariance(X), posterior.predictive_covariance(X)
    )
    v = np.random.default_rng(1).standard_normal((posterior.parameters.size, 2))
    np.testing.assert_array_equal(
        again.inverse_hessian_product(v), posterior.inverse_hessian_product(v)
    )
    assert again.log_marginal_likelihood() == posterior.log_marginal_likelihood()
    assert list(again.prior_precision.values()) == [0.3, 4.0]
    assert again.record.n_rows == 20
    # And another choice of σ and δ is still possible.
    other = again.with_hyperparameters(NOISE, 1.0)
    np.testing.assert_allclose(
        other.predictive_covariance(X),
        make(oracle, structure).predictive_covariance(X),
        rtol=1e-9,
        atol=1e-13,
    )


def test_classifiers_come_back_too(oracle, tmp_path):
    X, _ = rows()
    model = oracle.network((6,), oracle.dense(3, "softmax"))
    data = Batches(X, np.arange(20.0) % 3)
    posterior = laplace(model, data, loss="sparse_categorical_crossentropy")
    posterior.save(tmp_path / "posterior.h5")
    again = load(tmp_path / "posterior.h5", model)
    np.testing.assert_array_equal(
        again.predictive_covariance(X), posterior.predictive_covariance(X)
    )
    assert again.noise is None


def test_other_networks_weights_and_scales_are_refused(oracle, tmp_path):
    path = tmp_path / "posterior.h5"
    make(oracle).save(path)
    with pytest.raises(InputError, match="another architecture"):
        load(path, small(oracle, "relu"))
    with pytest.raises(InputError, match="another architecture"):
        load(path, oracle.network((6,), oracle.dense(4, "tanh"), oracle.dense(2)))
    with pytest.raises(InputError, match="other weights"):
        load(path, small(oracle, seed=1))
    with pytest.raises(InputError, match="other scales"):
        load(path, small(oracle), "others")
    nearly = small(oracle)
    nearly.layers[0].bias.assign(np.nextafter(nearly.layers[0].bias.numpy(), np.inf))
    with pytest.raises(InputError, match="other weights"):
        load(path, nearly)
    load(path, small(oracle), "scales of the spectra")


def test_wiring_is_part_of_the_architecture():
    def network(order):
        first, second = keras.Input((3,)), keras.Input((3,))
        pair = [first, second] if order else [second, first]
        outputs = keras.layers.Dense(1)(keras.layers.Concatenate()(pair))
        return keras.Model([first, second], outputs)

    assert architecture_digest(network(True)) == architecture_digest(network(True))
    assert architecture_digest(network(True)) != architecture_digest(network(False))


def test_files_that_are_none_are_refused(oracle, tmp_path):
    model, path = small(oracle), tmp_path / "posterior.h5"
    with pytest.raises(InputError, match="no such file"):
        load(path, model)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match="is not a posterior"):
        load(path, model)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="is not a posterior"):
        load(path, model)
    make(oracle).save(path)
    with h5py.File(path, "a") as file:
        head = file.attrs["posterior"]
        file.attrs["posterior"] = head.replace(
            f'"format_version": {FORMAT_VERSION}', '"format_version": 99'
        )
    with pytest.raises(InputError, match="has format 99"):
        load(path, model)
    with h5py.File(path, "a") as file:
        file.attrs["posterior"] = head
        del file["arrays/0"]
    with pytest.raises(InputError, match="is not a posterior, or is damaged"):
        load(path, model)


def test_a_file_is_whole_or_not_there(oracle, tmp_path, monkeypatch):
    posterior = make(oracle)
    posterior.save(tmp_path / "posterior.h5")
    before = (tmp_path / "posterior.h5").read_bytes()

    def broken():
        raise MemoryError

    monkeypatch.setattr(posterior, "arrays", broken)
    with pytest.raises(MemoryError):
        posterior.save(tmp_path / "posterior.h5")
    assert (tmp_path / "posterior.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["posterior.h5"]


def test_a_layer_may_bear_the_name_of_an_activation():
    def network(activation):
        layer = keras.layers.Dense(5, activation=activation, name=activation)
        return keras.Sequential([keras.Input((6,)), layer, keras.layers.Dense(2)])

    assert architecture_digest(network("relu")) == architecture_digest(network("relu"))
    assert architecture_digest(network("relu")) != architecture_digest(network("tanh"))


@pytest.mark.parametrize("structure", ("kfac", "exact", "cg"))
def test_training_on_makes_a_posterior_useless(oracle, structure, tmp_path):
    posterior, (X, _) = make(oracle, structure), rows()
    weights = posterior.model.get_weights()
    posterior.model.set_weights([2 * w for w in weights])
    for use in (
        lambda: posterior.predictive_covariance(X),
        lambda: posterior.layer_covariances(X),
        lambda: posterior.log_marginal_likelihood(),
        lambda: posterior.with_hyperparameters(NOISE).predictive_covariance(X),
        lambda: posterior.save(tmp_path / "posterior.h5"),
    ):
        with pytest.raises(InputError, match="weights of the fit, got others"):
            use()
    assert not list(tmp_path.iterdir())
    posterior.model.set_weights(weights)
    posterior.save(tmp_path / "posterior.h5")
    load(tmp_path / "posterior.h5", small(oracle)).predictive_covariance(X)


DAMAGES = {
    "no JSON": lambda head: "{" + head,
    "a list": lambda head: "[1, 2]",
    "likelihood": lambda head: _without(head, "likelihood", "family"),
    "no likelihood": lambda head: json.dumps(json.loads(head) | {"likelihood": None}),
    "record": lambda head: json.dumps(json.loads(head) | {"record": {"shape": 1}}),
    "noise": lambda head: json.dumps(json.loads(head) | {"noise": "loud"}),
    "covered": lambda head: json.dumps(json.loads(head) | {"covered": [7]}),
}


def _without(head, part, key):
    tree = json.loads(head)
    del tree[part][key]
    return json.dumps(tree)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_head_is_refused_in_one_line(oracle, damage, tmp_path):
    path = tmp_path / "posterior.h5"
    make(oracle).save(path)
    with h5py.File(path, "a") as file:
        file.attrs["posterior"] = DAMAGES[damage](file.attrs["posterior"])
    with pytest.raises(InputError, match="make it again") as caught:
        load(path, small(oracle))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda a: np.eye(3), lambda a: a * np.nan, lambda a: a + 1e-9])
def test_arrays_that_were_not_saved_are_refused(oracle, change, tmp_path):
    path = tmp_path / "posterior.h5"
    make(oracle).save(path)
    with h5py.File(path, "a") as file:
        array = file["arrays/0/input_vectors"][()]
        del file["arrays/0/input_vectors"]
        file["arrays/0/input_vectors"] = change(array)
    with pytest.raises(InputError, match="arrays are not those that were saved"):
        load(path, small(oracle))


class Subclassed(keras.Model):
    """A network that does not describe its layers."""

    def __init__(self, activation):
        super().__init__(dtype="float64")
        self.activation = activation
        self.first = keras.layers.Dense(5, activation, dtype="float64")
        self.last = keras.layers.Dense(2, dtype="float64")

    def call(self, x):
        return self.last(self.first(x))

    def get_config(self):
        return {}


@pytest.mark.parametrize("structure", ("kfac", "last_layer", "exact"))
def test_a_subclassed_network_is_told_by_what_it_gives(structure, tmp_path):
    X, y = rows()
    model, other, same = Subclassed("tanh"), Subclassed("relu"), Subclassed("tanh")
    for one in (model, other, same):
        one(X[:3])
        one.set_weights(model.get_weights())
    posterior = laplace(model, Batches(X, y), structure=structure, noise=NOISE)
    posterior.save(tmp_path / "posterior.h5")
    with pytest.raises(InputError, match="another architecture"):
        load(tmp_path / "posterior.h5", other)
    again = load(tmp_path / "posterior.h5", same)
    np.testing.assert_array_equal(
        again.predictive_covariance(X), posterior.predictive_covariance(X)
    )


@pytest.mark.parametrize(
    "change", [{"noise": [5.0, 5.0]}, {"prior_precision": 7.0}, {"covered": [0]}]
)
def test_a_head_that_was_not_saved_is_refused(oracle, change, tmp_path):
    path = tmp_path / "posterior.h5"
    make(oracle).save(path)
    with h5py.File(path, "a") as file:
        file.attrs["posterior"] = json.dumps(json.loads(file.attrs["posterior"]) | change)
    with pytest.raises(InputError, match="head is not the one that was saved"):
        load(path, small(oracle))


def test_a_folder_that_is_not_there_is_named(oracle, tmp_path):
    with pytest.raises(InputError, match=r"expected a folder that is there, got .*nowhere"):
        make(oracle).save(tmp_path / "nowhere" / "posterior.h5")
