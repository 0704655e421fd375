"""Named weights are what the meta-learner computes with: they give its predictions back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LassoCV,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDRegressor,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.weights import describe_weights, linear_weights

CLASSIFIERS = [("near", KNeighborsClassifier(9)), ("tree", DecisionTreeClassifier(max_depth=3))]
REGRESSORS = [("near", KNeighborsRegressor(9)), ("tree", DecisionTreeRegressor(max_depth=3))]

SCALED = [
    lambda final: final,
    lambda final: make_pipeline(StandardScaler(), final),
    lambda final: make_pipeline(StandardScaler(with_mean=False), final),
    lambda final: make_pipeline(StandardScaler(with_std=False), final),
    lambda final: make_pipeline(StandardScaler(with_mean=False, with_std=False), final),
    lambda final: make_pipeline(StandardScaler(with_mean=False), StandardScaler(), final),
]


@pytest.mark.parametrize("scale", SCALED)
@pytest.mark.parametrize("keep_features", [False, True])
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_weights_and_bias_give_the_decision_function(load, keep_features, scale):
    X, y = load(return_X_y=True)
    X = X[:, :4] + 5
    final = scale(RidgeClassifier())
    stack = StackingClassifier(CLASSIFIERS, final, cv=3, keep_features=keep_features).fit(X, y)
    Z = stack._meta_features(X)
    decision = stack.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(Z @ stack.weights_ + stack.bias_.to_numpy(), decision, atol=1e-9)
    assert stack.weights_.index.tolist() == stack.meta_feature_names_
    classes = ["1"] if load is load_breast_cancer else ["0", "1", "2"]
    assert stack.weights_.columns.tolist() == stack.bias_.index.tolist() == classes


@pytest.mark.parametrize("final", [
    LogisticRegression(), LinearSVC(random_state=0), LinearDiscriminantAnalysis(),
    LogisticRegression(fit_intercept=False), LinearSVC(random_state=0, fit_intercept=False),
])  # fmt: skip
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_every_linear_classifier(load, final):
    X, y = load(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS, final, cv=3).fit(X, y)
    Z = stack._meta_features(X)
    decision = stack.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(Z @ stack.weights_ + stack.bias_.to_numpy(), decision, atol=1e-9)


@pytest.mark.parametrize("scale", SCALED)
@pytest.mark.parametrize("final", [
    LassoCV(), LinearRegression(), Ridge(fit_intercept=False), LinearSVR(random_state=0),
    SGDRegressor(random_state=0),
])  # fmt: skip
@pytest.mark.parametrize("load", [load_diabetes, load_linnerud])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_and_bias_give_the_values(load, final, scale):
    X, y = load(return_X_y=True)
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    stack = StackingRegressor(REGRESSORS, scale(final), cv=3).fit(X, y)
    Z, predicted = stack._meta_features(X), stack.predict(X).reshape(len(X), -1)
    np.testing.assert_allclose(Z @ stack.weights_ + stack.bias_.to_numpy(), predicted, atol=1e-9)
    targets = ["y"] if load is load_diabetes else ["y0", "y1", "y2"]
    assert stack.weights_.columns.tolist() == targets


def test_scaling_inside_each_target():
    X, Y = load_linnerud(return_X_y=True)
    final = MultiOutputRegressor(make_pipeline(StandardScaler(), LinearSVR(random_state=0)))
    stack = StackingRegressor(REGRESSORS, final, cv=3).fit(X, Y)
    found = stack._meta_features(X) @ stack.weights_ + stack.bias_.to_numpy()
    np.testing.assert_allclose(found, stack.predict(X), rtol=1e-9)


@pytest.mark.parametrize("final", ["convex", "nnls", "greedy", "best_single"])
def test_weights_of_a_blend_are_those_of_models(final):
    X, Y = load_linnerud(return_X_y=True)
    stack = StackingRegressor(REGRESSORS, final, cv=3).fit(X, Y)
    blocks = np.stack([model.predict(X) for model in stack.estimators_])
    expected = np.einsum("mnt,mt->nt", blocks, stack.weights_.to_numpy())
    np.testing.assert_allclose(stack.predict(X), expected, rtol=1e-12)
    assert stack.weights_.index.tolist() == ["near", "tree"]
    assert stack.bias_.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("final", [
    GaussianNB(),
    RandomForestClassifier(2),
    make_pipeline(PolynomialFeatures(), LogisticRegression()),
    make_pipeline(RobustScaler(), LogisticRegression()),
    SVC(),
    # One weight vector per pair of classes: three pairs of three classes.
    SVC(kernel="linear"),
    StackingClassifier(CLASSIFIERS),
])  # fmt: skip
def test_a_meta_learner_without_linear_weights_says_so(final):
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS, final, cv=3).fit(X, y)
    for ask in (lambda: stack.weights_, lambda: stack.bias_, stack.describe):
        with pytest.raises(AttributeError, match="has no linear weights; use a linear or blending"):
            ask()
    assert not hasattr(stack, "weights_")


def test_a_linear_machine_of_two_classes_has_weights():
    X, y = load_breast_cancer(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS, SVC(kernel="linear"), cv=3).fit(X, y)
    found = (stack._meta_features(X) @ stack.weights_ + stack.bias_.to_numpy())["1"]
    np.testing.assert_allclose(found, stack.decision_function(X), atol=1e-9)


def test_a_model_on_other_columns_is_not_read():
    fitted = LinearRegression().fit(np.eye(3), np.arange(3.0))
    assert linear_weights(fitted, ["a", "b"], ["y"]) is None
    weights, bias = linear_weights(fitted, ["a", "b", "c"], ["y"])
    np.testing.assert_allclose(weights["y"] + bias["y"], [0, 1, 2], atol=1e-12)


def test_description_of_one_output_and_of_several():
    weights = pd.DataFrame({"u": [0.25, -1.5], "v": [1e-6, 3]}, index=["a__u", "b__u"])
    bias = pd.Series({"u": 0.5, "v": 0.0})
    assert describe_weights(weights[["u"]], bias) == "Weights: a__u 0.25, b__u -1.5  Bias: 0.5"
    assert describe_weights(weights, bias).splitlines() == [
        "u: Weights: a__u 0.25, b__u -1.5  Bias: 0.5",
        "v: Weights: a__u 1e-06, b__u 3  Bias: 0",
    ]


def test_description_of_a_stack_holds_its_numbers():
    X, y = load_breast_cancer(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS, cv=3).fit(X, y)
    coef, intercept = stack.final_estimator_.coef_[0], stack.final_estimator_.intercept_[0]
    assert stack.describe() == (
        f"Weights: near__1 {coef[0]:.4g}, tree__1 {coef[1]:.4g}  Bias: {intercept:.4g}"
    )


@pytest.mark.parametrize("targets", [1, 2])
def test_partial_least_squares_centres_its_inputs(targets):
    rng = np.random.default_rng(8)
    Z = rng.normal(3.0, 1.0, size=(60, 3))
    y = Z @ rng.normal(size=(3, targets)) + 5.0 + 0.1 * rng.normal(size=(60, targets))
    model = PLSRegression(n_components=2).fit(Z, y)
    outputs = [f"y{i}" for i in range(targets)]
    weights, bias = linear_weights(model, ["a", "b", "c"], outputs)
    predicted = Z @ weights.to_numpy() + bias.to_numpy()
    np.testing.assert_allclose(predicted, model.predict(Z).reshape(60, targets), rtol=1e-10)


def test_two_scalers_in_a_row():
    X, y = load_diabetes(return_X_y=True)
    Z = 1000 * X[:, :3] + 7
    model = make_pipeline(StandardScaler(with_mean=False), StandardScaler(), Ridge()).fit(Z, y)
    weights, bias = linear_weights(model, ["a", "b", "c"], ["y"])
    predicted = Z @ weights["y"].to_numpy() + bias["y"]
    np.testing.assert_allclose(predicted, model.predict(Z), rtol=1e-9)


def test_a_logarithmic_link_has_no_linear_weights():
    X, y = load_diabetes(return_X_y=True)
    assert linear_weights(PoissonRegressor().fit(X[:, :2], y), ["a", "b"], ["y"]) is None
