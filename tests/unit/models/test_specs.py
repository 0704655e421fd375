import sys
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.gaussian_process.kernels import Matern
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.models.specs import PREPROCESSING, build_estimator, check_columns, iter_specs

LOGISTIC = {"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier"}


def build(spec, seed=None, allowed=("sklearn",)):
    return build_estimator(spec, seed=seed, allowed_packages=allowed, where="models.m")


def refusal(spec, **kwargs):
    with pytest.raises(InputError) as caught:
        build(spec, **kwargs)
    message = str(caught.value)
    assert message.startswith("models.m")
    assert "\n" not in message
    return message


def test_a_plain_entry_is_the_bare_estimator():
    built = build({"class": "sklearn.ensemble.RandomForestClassifier", "params": {"max_depth": 3}})
    assert type(built) is RandomForestClassifier
    assert built.max_depth == 3


def test_other_keys_of_the_entry_are_not_looked_at():
    assert build({**LOGISTIC, "job": "per_fold"}).get_params() == build(LOGISTIC).get_params()


def test_preprocessing_predicts_as_the_pipeline_written_by_hand():
    X, y = load_iris(return_X_y=True)
    spec = {"class": "sklearn.svm.SVC", "preprocess": ["drop_constant", "standardize"]}
    built = build(spec)
    by_hand = make_pipeline(VarianceThreshold(), StandardScaler(), SVC())
    assert list(built.named_steps) == ["drop_constant", "standardize", "model"]
    np.testing.assert_array_equal(
        built.fit(X, y).decision_function(X), by_hand.fit(X, y).decision_function(X)
    )


@pytest.mark.parametrize("name", PREPROCESSING)
def test_our_names_of_preprocessing_need_no_place_on_the_allowed_list(name, tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "class Neighbours(KNeighborsClassifier):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    X, y = load_iris(return_X_y=True)
    spec = {"class": "own_models.Neighbours", "preprocess": [name]}
    assert build(spec, allowed=("own_models",)).fit(X, y).score(X, y) > 0.9


def test_a_preprocessing_of_ones_own_and_steps_of_the_same_name():
    own = {
        "class": "sklearn.preprocessing.QuantileTransformer",
        "params": {"n_quantiles": 7, "output_distribution": "normal"},
    }
    built = build({**LOGISTIC, "preprocess": ["robust", own, "robust"]})
    assert [name for name, _ in built.steps] == [
        "robust",
        "quantiletransformer",
        "robust-2",
        "model",
    ]
    assert isinstance(built.steps[0][1], RobustScaler)
    assert isinstance(built.steps[1][1], QuantileTransformer)
    assert built.steps[1][1].n_quantiles == 7


def test_columns_are_chosen_by_name_wherever_they_stand():
    frame = load_iris(as_frame=True).data
    y = load_iris().target
    names = ["petal width (cm)", "sepal length (cm)"]
    built = build({**LOGISTIC, "columns": names, "preprocess": ["standardize"]})
    assert isinstance(built.steps[0][1], ColumnTransformer)
    built.fit(frame, y)
    alone = build({**LOGISTIC, "preprocess": ["standardize"]}).fit(frame[names].to_numpy(), y)
    expected = alone.predict_proba(frame[names].to_numpy())
    np.testing.assert_array_equal(built.predict_proba(frame), expected)
    np.testing.assert_array_equal(built.predict_proba(frame[frame.columns[::-1]]), expected)
    other = frame.assign(**{"petal length (cm)": -1.0})
    np.testing.assert_array_equal(built.predict_proba(other), expected)


def test_missing_columns_are_refused_before_the_fit():
    check_columns({"columns": ["a"]}, ["a", "b"], where="models.m")
    check_columns({"columns": None}, ["a", "b"], where="models.m")
    with pytest.raises(InputError, match=r"models\.m\.columns: .*no column 'tef'; did you mean"):
        check_columns({"columns": ["tef"]}, ["teff", "logg"], where="models.m")
    with pytest.raises(InputError, match=r"the columns are x0, .*x7 and 92 more"):
        check_columns({"columns": ["zz"]}, [f"x{i}" for i in range(100)], where="models.m")


# --- nesting ------------------------------------------------------------------------------------


def test_estimators_nest_by_parameter():
    built = build(
        {
            "class": "sklearn.ensemble.AdaBoostClassifier",
            "params": {"estimator": {**TREE, "params": {"max_depth": 2}, "preprocess": ["robust"]}},
        },
        seed=5,
    )
    assert isinstance(built.estimator, Pipeline)
    tree = built.estimator.named_steps["model"]
    assert (tree.max_depth, tree.random_state) == (2, 5)


@pytest.mark.parametrize(
    "members", [{"tree": TREE, "line": LOGISTIC}, [["tree", TREE], ["line", LOGISTIC]]]
)
def test_named_members_are_a_mapping_or_a_list_of_pairs(members):
    built = build({"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": members}})
    assert isinstance(built, VotingClassifier)
    assert [name for name, _ in built.estimators] == ["tree", "line"]
    assert isinstance(built.estimators[0][1], DecisionTreeClassifier)
    X, y = load_iris(return_X_y=True)
    assert clone(built).fit(X, y).score(X, y) > 0.9


def test_stacks_pipelines_and_column_transformers_can_be_written_out():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    scaler = {"class": "sklearn.preprocessing.StandardScaler"}
    spec = {
        "class": "sklearn.pipeline.Pipeline",
        "params": {
            "steps": [
                [
                    "scale",
                    {
                        "class": "sklearn.compose.ColumnTransformer",
                        "params": {
                            "transformers": {
                                "two": {**scaler, "columns": ["petal width (cm)"]},
                            },
                            "remainder": "passthrough",
                        },
                    },
                ],
                ["nothing", "passthrough"],
                ["model", {"class": "sklearn.ensemble.StackingClassifier",
                           "params": {"estimators": {"tree": TREE}, "cv": 2}}],
            ]
        },
    }  # fmt: skip
    built = build(spec)
    assert built.steps[1] == ("nothing", "passthrough")
    assert built.steps[0][1].transformers[0][2] == ["petal width (cm)"]
    assert isinstance(built.steps[2][1], StackingClassifier)
    assert built.fit(frame, y).score(frame, y) > 0.9
    as_list = {
        "class": "sklearn.compose.ColumnTransformer",
        "params": {"transformers": [["two", scaler, ["petal width (cm)"]], ["no", "drop", [0]]]},
    }
    rows = build({**LOGISTIC, "preprocess": [as_list]}).steps[0][1].transformers
    assert rows[0][0] == "two" and isinstance(rows[0][1], StandardScaler)
    assert rows[1] == ("no", "drop", [0])


def test_kernels_and_splitters_are_built_too():
    kernel = {"class": "sklearn.gaussian_process.kernels.Matern", "params": {"nu": 2.5}}
    gp = {
        "class": "sklearn.gaussian_process.GaussianProcessRegressor",
        "params": {"kernel": kernel},
    }
    assert build(gp).kernel == Matern(nu=2.5)
    shuffled = {"class": "sklearn.model_selection.KFold", "params": {"shuffle": True}}
    ordered = {"class": "sklearn.model_selection.KFold"}
    for cv, expected in ((shuffled, 7), (ordered, None)):
        lasso = build({"class": "sklearn.linear_model.LassoCV", "params": {"cv": cv}}, seed=7)
        assert isinstance(lasso.cv, KFold)
        assert lasso.cv.random_state is expected
        lasso.fit(np.random.default_rng(0).normal(size=(30, 3)), np.arange(30.0))


def test_lists_become_tuples_only_where_the_class_asks_for_them():
    scaler = {"class": "sklearn.preprocessing.RobustScaler", "params": {"quantile_range": [10, 90]}}
    built = build({**LOGISTIC, "preprocess": [scaler]})
    assert built.steps[0][1].quantile_range == (10, 90)
    params = {"hidden_layer_sizes": [4, 2]}
    net = build({"class": "sklearn.neural_network.MLPClassifier", "params": params})
    assert net.hidden_layer_sizes == [4, 2]


def test_the_walk_meets_every_nested_entry():
    spec = {
        "class": "a.A",
        "preprocess": ["robust", {"class": "b.B", "params": {"x": {"class": "c.C"}}}],
        "params": {"estimators": [["one", {"class": "d.D"}]], "deep": {"er": {"class": "e.E"}}},
    }
    found = {where: entry["class"] for where, entry in iter_specs(spec, "m")}
    assert found == {
        "m": "a.A",
        "m.preprocess[1]": "b.B",
        "m.preprocess[1].params.x": "c.C",
        "m.params.estimators[0][1]": "d.D",
        "m.params.deep.er": "e.E",
    }


# --- seeds --------------------------------------------------------------------------------------


def test_seeds_reach_what_is_unset_and_nothing_else():
    members = {
        "a": {**TREE, "params": {"random_state": 3}},
        "b": {**TREE, "params": {"random_state": None}},
    }
    vote = {"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": members}}
    spec = {
        "class": "sklearn.ensemble.BaggingClassifier",
        "params": {"estimator": vote},
        "preprocess": [{"class": "sklearn.preprocessing.QuantileTransformer"}],
    }
    seeds = {
        name: value
        for name, value in build(spec, seed=11).get_params().items()
        if name.endswith("random_state")
    }
    assert seeds == {
        "quantiletransformer__random_state": 11,
        "model__random_state": 11,
        "model__estimator__a__random_state": 3,
        "model__estimator__b__random_state": 11,
    }
    assert build(spec).named_steps["model"].random_state is None
    assert build(LOGISTIC, seed=0).random_state == 0


def test_the_seed_decides_the_predictions():
    X, y = load_iris(return_X_y=True)
    params = {"n_estimators": 3, "max_depth": 2}
    forest = {"class": "sklearn.ensemble.ExtraTreesClassifier", "params": params}
    fits = [build(forest, seed=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "fragments"),
    [
        (
            {"class": "sklearn.linear_model.Ridge", "params": {"alfa": 1}},
            ["models.m.params", "unknown parameter of Ridge 'alfa'", "fit_intercept", "'alpha'?"],
        ),
        (
            {"class": "sklearn.ensemble.BaggingClassifier", "params": {"n_estimators": "many"}},
            ["'n_estimators' parameter of BaggingClassifier must be an int", "Got 'many'"],
        ),
        (
            {"class": "sklearn.linear_model.Ridge", "params": {"alpha": "1e-3"}},
            ["'alpha' parameter of Ridge", "YAML reads 1e-3 as text: write 1.0e-3"],
        ),
        (
            {"class": "sklearn.linear_model.Ridge", "params": {"alpha": -1}},
            ["'alpha' parameter of Ridge", "[0.0, inf)", "Got -1"],
        ),
        (
            {"class": "sklearn.preprocessing.StandardScaler"},
            ["expected an estimator with fit, predict", "has no predict, list it under preprocess"],
        ),
        ({"class": "sklearn.model_selection.KFold"}, ["has no fit and no predict", "name a model"]),
        (
            {"class": "sklearn.preprocessing.StandardScaler", "preprocess": ["robust"]},
            ["expected an estimator with fit, predict"],
        ),
        (
            {**LOGISTIC, "preprocess": ["standardise"]},
            ["models.m.preprocess[0]", "unknown preprocessing 'standardise'", "'standardize'?"],
        ),
        (
            {**LOGISTIC, "preprocess": [{"class": "sklearn.svm.SVC"}]},
            ["models.m.preprocess[0]", "expected a transformer", "svm.SVC has no transform"],
        ),
        (
            {**LOGISTIC, "preprocess": [{"class": "joblib.Parallel"}]},
            ["models.m.preprocess[0]", "not in an allowed package"],
        ),
        ({"class": "sklearn.ensemble.VotingClassifier"}, ["estimators"]),
        (
            {"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": [TREE]}},
            ["models.m.params.estimators", "expected a list of [name, entry]"],
        ),
        (
            {"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": "tree"}},
            ["expected a list of [name, entry]", "'tree'"],
        ),
        (
            {
                "class": "sklearn.ensemble.VotingClassifier",
                "params": {"estimators": {"t": {**TREE, "params": {"depth": 1}}}},
            },
            ["models.m.params.estimators.t.params", "'depth'", "'max_depth'?"],
        ),
        (
            {
                "class": "sklearn.ensemble.BaggingClassifier",
                "params": {"estimator": {"class": "subprocess.Popen"}},
            },
            ["models.m.params.estimator", "subprocess.Popen is not in an allowed package"],
        ),
        (
            {
                "class": "sklearn.linear_model.LassoCV",
                "params": {
                    "cv": {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 1}}
                },
            },
            ["models.m.params.cv", "n_splits=2"],
        ),
    ],
)
def test_what_cannot_be_built_is_one_line(spec, fragments):
    message = refusal(spec)
    for fragment in fragments:
        assert fragment in message


def test_a_class_that_cannot_be_cloned_is_refused(tmp_path, monkeypatch):
    (tmp_path / "half_model.py").write_text(
        "class Model:\n    def fit(self, X, y): ...\n    def predict(self, X): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "has no get_params" in refusal({"class": "half_model.Model"}, allowed=("half_model",))


def test_values_are_checked_without_fitting(monkeypatch):
    def fit(self, X, y):
        raise AssertionError("fitted")

    monkeypatch.setattr(RandomForestClassifier, "fit", fit)
    spec = {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"max_depth": 0}}
    assert "max_depth" in refusal(spec)


def test_pandas_stays_pandas_on_the_way_to_a_model_without_preprocessing():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    built = build(LOGISTIC).fit(frame, y)
    assert list(built.feature_names_in_) == list(pd.DataFrame(frame).columns)


def test_an_estimator_of_another_package_states_no_constraints(monkeypatch):
    """BaseEstimator has _validate_params; only scikit-learn's classes state what it checks."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class MeanModel(RegressorMixin, BaseEstimator):
        def __init__(self, shift=0.0):
            self.shift = shift

        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.full(len(X), self.shift)

    module = types.ModuleType("elsewhere")
    module.MeanModel = MeanModel
    MeanModel.__module__ = "elsewhere"
    MeanModel.__qualname__ = "MeanModel"
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    spec = {"class": "elsewhere.MeanModel", "params": {"shift": 2.0}}
    model = build_estimator(spec, seed=1, allowed_packages=["elsewhere"], where="here")
    assert model.shift == 2.0
