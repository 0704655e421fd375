import hashlib
import importlib
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import DotProduct, Matern, RationalQuadratic, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from starstack.errors import InputError
from starstack.models.persistence import TRUSTED_TYPES, dump_models, load_models, read_attributes
from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.meta_learners import META_LEARNERS, build_meta_learner

# Estimators that need special data or other estimators to be constructed.
NOT_TRIED = {
    "ClassifierChain": "needs several targets",
    "IsotonicRegression": "takes one column",
    "MultiOutputClassifier": "needs several targets",
    "MultiOutputRegressor": "needs several targets",
    "MultiTaskElasticNet": "needs several targets",
    "MultiTaskElasticNetCV": "needs several targets",
    "MultiTaskLasso": "needs several targets",
    "MultiTaskLassoCV": "needs several targets",
    "RegressorChain": "needs several targets",
    "SelfTrainingClassifier": "has no default for the estimator that it needs",
    "TunedThresholdClassifierCV": "holds scorers with a threshold curve, which are not trusted",
}
NEEDS = {
    "estimators": lambda kind: [("a", LogisticRegression() if kind == "classifier" else Ridge())],
    "estimator": lambda kind: LogisticRegression() if kind == "classifier" else Ridge(),
    "base_estimator": lambda kind: LogisticRegression() if kind == "classifier" else Ridge(),
}


def data(kind):
    if kind == "classifier":
        X, y = make_classification(60, 5, n_informative=3, random_state=0)
        return np.abs(X), y
    X, y = make_regression(60, 5, noise=1.0, random_state=0)
    return np.abs(X), np.abs(y) + 1.0


EVERY_ESTIMATOR = [
    pytest.param(kind, cls, id=name)
    for kind in ("classifier", "regressor")
    for name, cls in all_estimators(type_filter=kind)
    if name not in NOT_TRIED
]


def construct(kind, cls):
    required = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    params = {name: NEEDS[name](kind) for name in required}
    if "random_state" in inspect.signature(cls).parameters:
        params["random_state"] = 0
    if "n_estimators" in inspect.signature(cls).parameters:
        params["n_estimators"] = 5
    if cls.__name__.startswith("HistGradientBoosting"):
        params["max_iter"] = 5
    if cls.__name__ in ("CCA", "PLSCanonical"):
        params["n_components"] = 1
    return cls(**params)


@pytest.fixture
def no_pickle(monkeypatch):
    """Make every way to unpickle an error."""
    # TensorFlow derives classes from the unpickler when it is imported.
    import tensorflow  # noqa: F401

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "cls"), EVERY_ESTIMATOR)
def test_every_estimator_of_scikit_learn_survives_with_what_we_trust(
    kind, cls, tmp_path, no_pickle
):
    X, y = data(kind)
    model = construct(kind, cls).fit(X, y)
    if cls.__name__ == "DummyClassifier":
        model.random_state = 0
    dump_models({"1": model}, tmp_path / "m.skops", {})
    loaded = load_models(tmp_path / "m.skops")["1"]
    assert type(loaded) is cls
    if kind == "regressor":
        # Not to the last digit: sums depend on how an array lies in memory (KernelRidge, 2e-15).
        np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        # Not to the last digit: label propagation answers twice differently by itself, since the
        # sums of its matrix product depend on where in memory the arrays lie.
        np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), rtol=1e-11)


VARIATIONS = [
    ("classifier", CalibratedClassifierCV(SVC(), ensemble=False)),
    ("classifier", CalibratedClassifierCV(LinearSVC(), method="isotonic")),
    ("classifier", CalibratedClassifierCV(LinearSVC(), method="temperature")),
    ("classifier", GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]})),
    ("classifier", GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, scoring="neg_log_loss")),
    ("classifier", KNeighborsClassifier(algorithm="ball_tree", metric="manhattan")),
    ("classifier", KNeighborsClassifier(algorithm="kd_tree", metric="chebyshev")),
    ("classifier", MLPClassifier((5,), solver="sgd", max_iter=5)),
    (
        "classifier",
        GaussianProcessClassifier(1.0 * Matern() + WhiteKernel() + DotProduct() ** 2),
    ),
    ("classifier", GaussianProcessClassifier(RationalQuadratic())),
    ("classifier", make_pipeline(QuantileTransformer(n_quantiles=10), SplineTransformer(), SVC())),
    ("classifier", make_pipeline(PowerTransformer(), KBinsDiscretizer(3), GaussianNB())),
    ("classifier", make_pipeline(SelectKBest(k=2), GaussianNB())),
    ("regressor", TweedieRegressor(power=1.5)),
    ("regressor", KNeighborsRegressor(p=3, algorithm="kd_tree")),
    ("regressor", GradientBoostingRegressor(n_estimators=3, loss="huber")),
    ("regressor", HistGradientBoostingRegressor(max_iter=3, loss="quantile", quantile=0.5)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "model"), VARIATIONS, ids=[type(model).__name__ for _, model in VARIATIONS]
)
def test_common_options_survive_too(kind, model, tmp_path, no_pickle):
    X, y = data(kind)
    if "Bins" in repr(model):
        model.named_steps["kbinsdiscretizer"].set_params(encode="ordinal")
    model.fit(X, y)
    dump_models({"a": model, "b": model}, tmp_path / "m.skops", {})
    loaded = load_models(tmp_path / "m.skops")
    np.testing.assert_array_equal(loaded["a"].predict(X), model.predict(X))
    assert loaded["a"] is loaded["b"], "one object stays one object"


@pytest.mark.parametrize(
    ("task", "learner"), [(task, name) for task, names in META_LEARNERS.items() for name in names]
)
def test_our_own_stacks_survive(task, learner, tmp_path, no_pickle):
    X, y = data("classifier" if task == "classification" else "regressor")
    stack, tree = (
        (StackingClassifier, DecisionTreeClassifier)
        if task == "classification"
        else (StackingRegressor, DecisionTreeRegressor)
    )
    bases = [("one", tree(max_depth=1)), ("two", tree(max_depth=2, random_state=0))]
    model = stack(bases, build_meta_learner({"class": learner}, task=task, seed=0), cv=3).fit(X, y)
    dump_models({"1": model}, tmp_path / "m.skops", {})
    loaded = load_models(tmp_path / "m.skops")["1"]
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    if learner != "dense":
        assert loaded.weights_.equals(model.weights_)


def test_nothing_on_the_trusted_list_is_trusted_by_skops_itself_or_absent():
    from skops.io._trusted_types import SKLEARN_ESTIMATOR_TYPE_NAMES, SKLEARN_INTERNAL_TYPE_NAMES

    assert len(set(TRUSTED_TYPES)) == len(TRUSTED_TYPES)
    assert not set(TRUSTED_TYPES) & {*SKLEARN_ESTIMATOR_TYPE_NAMES, *SKLEARN_INTERNAL_TYPE_NAMES}
    for dotted in TRUSTED_TYPES:
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name), dotted


# --- stable bytes -------------------------------------------------------------------------------

WRITE = """
import sys
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from starstack.models.persistence import dump_models

padding = [object() for _ in range(int(sys.argv[2]))]  # other addresses in memory
X, y = make_classification(80, 6, random_state=0)
names = np.array(["".join(["be", "nign"]), "malignant"])[y]
forest = RandomForestClassifier(5, random_state=0)
models = {
    "forest": forest.fit(X, names),
    "extra": ExtraTreesClassifier(5, random_state=0).fit(X, names),
    "boost": HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, names),
    "near": KNeighborsClassifier().fit(X, y),
    "net": MLPClassifier((4,), max_iter=20, random_state=0).fit(X, y),
    "pipe": make_pipeline(StandardScaler(), SVC()).fit(X, names),
    "vote": VotingClassifier([("l", LogisticRegression()), ("f", forest)]).fit(X, names),
}
# A set of strings, whose order follows Python's hash seed.
models["pipe"].kept_ = {"teff", "logg", "fe_h", "mg_fe", "al_fe", "si_fe"}
dump_models(models, sys.argv[1], {"study": "wine", "seed": "1"})
"""


def test_two_processes_write_the_same_bytes(tmp_path):
    digests = set()
    for run, (hash_seed, objects) in enumerate([("0", "10"), ("77", "100000")]):
        path = tmp_path / f"{run}.skops"
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", WRITE, str(path), objects],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
            check=True,
        )
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    loaded = load_models(tmp_path / "0.skops")
    assert loaded["pipe"].kept_ == {"teff", "logg", "fe_h", "mg_fe", "al_fe", "si_fe"}


def test_other_models_give_other_bytes(tmp_path):
    X, y = data("classifier")
    for seed in (0, 1):
        forest = RandomForestClassifier(3, random_state=seed).fit(X, y)
        dump_models({"1": forest}, tmp_path / f"{seed}.skops", {})
    assert (tmp_path / "0.skops").read_bytes() != (tmp_path / "1.skops").read_bytes()


def test_writing_what_was_read_changes_nothing(tmp_path):
    X, y = data("classifier")
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    dump_models({"1": forest, "2": KNeighborsClassifier().fit(X, y)}, tmp_path / "a", {"s": "t"})
    dump_models(load_models(tmp_path / "a"), tmp_path / "b", {"s": "t"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_a_plain_skops_file_that_says_what_made_it(tmp_path):
    X, y = data("regressor")
    model = Ridge().fit(X, y)
    dump_models({"1": model}, tmp_path / "m.skops", {"study": "diabetes", "seed": "1"})
    assert read_attributes(tmp_path / "m.skops") == {"seed": "1", "study": "diabetes"}
    loaded = skops.io.load(tmp_path / "m.skops")
    np.testing.assert_array_equal(loaded["1"].predict(X), model.predict(X))
    with zipfile.ZipFile(tmp_path / "m.skops") as file:
        assert file.testzip() is None
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.namelist()[:3] == ["schema.json", "attributes.json", "1.npy"]


# --- what is refused ----------------------------------------------------------------------------


def test_an_unknown_type_is_named_with_the_key_of_the_config(tmp_path, monkeypatch):
    (tmp_path / "own_package.py").write_text(
        "from sklearn.linear_model import Ridge\nclass OwnRidge(Ridge):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from own_package import OwnRidge

    X, y = data("regressor")
    dump_models({"1": OwnRidge().fit(X, y)}, tmp_path / "m.skops", {})
    with pytest.raises(InputError) as caught:
        load_models(tmp_path / "m.skops")
    assert "own_package.OwnRidge; " in str(caught.value)
    assert "trusted_types" in str(caught.value)
    assert "\n" not in str(caught.value)
    loaded = load_models(tmp_path / "m.skops", ["own_package.OwnRidge"])["1"]
    np.testing.assert_array_equal(loaded.predict(X), OwnRidge().fit(X, y).predict(X))


def test_functions_are_not_trusted_either(tmp_path):
    X, y = data("regressor")
    for function, name in ((json.dumps, "json.dumps"), (np.save, "numpy.save")):
        model = make_pipeline(FunctionTransformer(), Ridge()).fit(X, y)
        model.steps[0][1].func = function
        dump_models({"1": model}, tmp_path / "m.skops", {})
        with pytest.raises(InputError, match=name):
            load_models(tmp_path / "m.skops")


def test_an_array_of_pickles_is_refused(tmp_path):
    X, y = data("regressor")
    dump_models({"1": Ridge().fit(X, y)}, tmp_path / "m.skops", {})

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "broken-in"), "w")

    evil = io.BytesIO()
    np.save(evil, np.array([Evil()], dtype=object), allow_pickle=True)
    with (
        zipfile.ZipFile(tmp_path / "m.skops") as source,
        zipfile.ZipFile(tmp_path / "evil.skops", "w") as target,
    ):
        for name in source.namelist():
            content = evil.getvalue() if name.endswith(".npy") else source.read(name)
            target.writestr(name, content)
    with pytest.raises(InputError, match=r"evil\.skops: is not a whole file of models"):
        load_models(tmp_path / "evil.skops")
    assert not (tmp_path / "broken-in").exists()


@pytest.mark.parametrize("content", [b"", b"PK not a zip", "half"])
def test_a_broken_file_is_one_line(content, tmp_path):
    X, y = data("regressor")
    path = tmp_path / "m.skops"
    dump_models({"1": Ridge().fit(X, y)}, path, {})
    path.write_bytes(path.read_bytes()[:-100] if content == "half" else content)
    with pytest.raises(InputError) as caught:
        load_models(path)
    assert "m.skops: is not a whole file of models" in str(caught.value)
    assert "delete it and run again" in str(caught.value)


def test_a_file_without_models_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as target:
        target.writestr("readme", "nothing")
    with pytest.raises(InputError, match="is not a whole file of models"):
        load_models(tmp_path / "m.skops")


def test_a_model_that_skops_cannot_store_leaves_no_file(tmp_path):
    X, _ = data("regressor")
    with pytest.raises(InputError, match=r"cannot store these models without pickle: .*Birch"):
        dump_models({"1": Birch(n_clusters=2).fit(X)}, tmp_path / "m.skops", {})
    assert not (tmp_path / "m.skops").exists()
