"""The estimator: shapes, weights, seeds, files without pickle, the config."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from starstack.errors import InputError
from starstack.models.persistence import dump_models, load_models
from starstack.models.specs import build_estimator
from starstack.projection.projected_logistic import ProjectedLogisticRegression
from starstack.projection.solvers import SOLVERS
from starstack.projection.starts import STARTS


@pytest.mark.parametrize(("n_classes", "n_outputs"), [(2, 1), (4, 4)])
def test_shapes_and_their_agreement(make_classes, n_classes, n_outputs):
    X, y = make_classes(n_classes)
    names = np.array(["b", "a", "d", "c"])[:n_classes]
    model = ProjectedLogisticRegression(3, random_state=0).fit(X, names[y])
    assert model.projection_.shape == (5, 3)
    assert model.weights_.shape == (3, n_outputs)
    assert model.coef_.shape == (n_outputs, 5)
    assert model.intercept_.shape == (n_outputs,)
    assert model.transform(X).shape == (len(X), 3)
    assert list(model.get_feature_names_out()) == [
        f"projectedlogisticregression{i}" for i in range(3)
    ]
    probabilities = model.predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert_array_equal(model.predict(X), np.sort(names)[probabilities.argmax(axis=1)])
    logits = model.decision_function(X)
    assert_allclose(logits.reshape(len(X), -1), X @ model.coef_.T + model.intercept_, atol=1e-12)
    lengths = np.linalg.norm(model.projection_, axis=0)
    assert_array_equal(lengths, np.sort(lengths)[::-1])
    assert len(model.history_["loss"]) == model.n_iter_ + 1


def test_a_weight_of_two_is_a_row_twice(make_classes):
    X, y = make_classes(3)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    options = {"rank": 2, "random_state": 0, "tol": 1e-9}
    weighted = ProjectedLogisticRegression(**options).fit(X, y, weight)
    rows = np.repeat(np.arange(len(y)), weight.astype(int))
    repeated = ProjectedLogisticRegression(**options).fit(X[rows], y[rows])
    assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("init", STARTS)
def test_solvers_and_starts_agree_where_the_minimum_is_global(make_classes, solver, init):
    X, y = make_classes(2)
    model = ProjectedLogisticRegression(
        2, alpha=2.0, solver=solver, init=init, random_state=3, max_iter=5000
    ).fit(X, y)
    reference = ProjectedLogisticRegression(1, alpha=2.0, random_state=0, tol=1e-10).fit(X, y)
    assert model.certificates_["status"] == "minimum"
    assert_allclose(model.coef_, reference.coef_, atol=1e-4)


def test_the_projection_finds_the_directions_of_the_classes(make_classes):
    """Two of 20 features matter and vary least: PCA does not find them, the projection does."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 200)
    X = rng.normal(size=(600, 20)) * 5
    X[:, :2] = np.array([[0, 2], [1.7, -1], [-1.7, -1]])[y] + rng.normal(size=(600, 2)) * 0.7
    model = ProjectedLogisticRegression(2, alpha=1.0, random_state=0).fit(X, y)
    inside = np.linalg.norm(model.projection_[:2]) / np.linalg.norm(model.projection_)
    assert inside > 0.98
    assert np.linalg.norm(PCA(2).fit(X).components_[:, :2]) < 0.2


def test_a_seed_gives_the_same_numbers(make_classes):
    X, y = make_classes(3)
    first, second = (ProjectedLogisticRegression(2, random_state=5).fit(X, y) for _ in range(2))
    assert_array_equal(first.coef_, second.coef_)
    assert_array_equal(first.history_["loss"], second.history_["loss"])


def test_the_model_survives_a_file_without_pickle(make_classes, tmp_path):
    X, y = make_classes(3)
    model = ProjectedLogisticRegression(2, init="zeros", random_state=0).fit(X, y)
    assert model.saddle_
    dump_models({"refit": model}, tmp_path / "a.skops", {}, trusted_types=())
    read = load_models(tmp_path / "a.skops")["refit"]
    assert_array_equal(read.predict_proba(X), model.predict_proba(X))
    assert read.certificates_ == model.certificates_ or np.isnan(model.certificates_["matching_c"])
    assert read.saddle_ == model.saddle_
    assert_array_equal(read.history_["loss"], model.history_["loss"])
    dump_models({"refit": model}, tmp_path / "b.skops", {})
    assert (tmp_path / "a.skops").read_bytes() == (tmp_path / "b.skops").read_bytes()


def test_the_config_builds_it():
    spec = {
        "class": "starstack.projection.ProjectedLogisticRegression",
        "params": {"rank": 3},
        "preprocess": ["standardize"],
    }
    built = build_estimator(spec, seed=4, allowed_packages=["sklearn", "starstack"], where="m")
    assert built.named_steps["model"].get_params()["random_state"] == 4
    with pytest.raises(InputError, match="rank"):
        build_estimator(
            spec | {"params": {"rank": 0}}, seed=4, allowed_packages=["starstack"], where="m"
        )


def test_one_class_is_refused(make_classes):
    X, y = make_classes(2)
    with pytest.raises(InputError, match=r"at least two classes, got one class: 0$"):
        ProjectedLogisticRegression().fit(X, np.zeros(len(y), dtype=int))
    with pytest.raises(InputError, match=r"got one class: 'a'$"):
        ProjectedLogisticRegression().fit(X, np.full(len(y), "a"))


def test_a_class_without_weight_is_left_out(make_classes):
    X, y = make_classes(3)
    weight = (y != 1).astype(float)
    model = ProjectedLogisticRegression(2, random_state=0).fit(X, y, weight)
    without = ProjectedLogisticRegression(2, random_state=0).fit(X[y != 1], y[y != 1])
    assert_array_equal(model.classes_, [0, 2])
    assert_array_equal(model.coef_, without.coef_)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_data_frames_as_output_change_no_prediction(make_classes, n_classes):
    X, y = make_classes(n_classes)
    model = ProjectedLogisticRegression(2, random_state=0).fit(X, y)
    expected = model.decision_function(X), model.predict_proba(X), model.predict(X)
    model.set_output(transform="pandas")
    assert list(model.transform(X).columns) == list(model.get_feature_names_out())
    found = model.decision_function(X), model.predict_proba(X), model.predict(X)
    for one, other in zip(found, expected, strict=True):
        assert type(one) is np.ndarray
        assert_array_equal(one, other)


def test_a_penalty_that_overflows_is_refused(make_classes):
    X, y = make_classes(2)
    with pytest.raises(ValueError, match=r"'alpha' parameter.*range \[0.0, 1e\+100\]"):
        ProjectedLogisticRegression(alpha=1e300).fit(X, y)


def test_predicting_does_not_import_tensorflow():
    """A job that draws or checks the config must not wait seconds for it."""
    code = (
        "import sys; from starstack.projection import ProjectedLogisticRegression as P; "
        "P(); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
