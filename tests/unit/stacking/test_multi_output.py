"""Several targets at once: known answers, wrapped estimators, names of the columns."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_linnerud
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LassoCV, LinearRegression, MultiTaskLasso, Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from starstack.stacking.estimators import StackingRegressor

X, Y = load_linnerud(return_X_y=True)
BASES = [
    ("line", LinearRegression()),
    ("near", KNeighborsRegressor(3)),
    ("svr", make_pipeline(StandardScaler(), LinearSVR(random_state=0))),
]


class Column(RegressorMixin, BaseEstimator):
    """Predicts fixed columns of X, whatever it is fitted on."""

    def __init__(self, columns=(0,)):
        self.columns = columns

    def fit(self, X, y):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X):
        found = np.asarray(X)[:, list(self.columns)]
        return found if len(self.columns) > 1 else found[:, 0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def test_linnerud_by_hand():
    stack = StackingRegressor(BASES, Ridge(2.0), cv=4).fit(X, Y)
    folds = KFold(4)
    wrapped = MultiOutputRegressor(BASES[2][1])
    blocks = [
        cross_val_predict(base, X, Y, cv=folds) for base in (BASES[0][1], BASES[1][1], wrapped)
    ]
    np.testing.assert_array_equal(stack.oof_meta_features_, np.hstack(blocks))
    refitted = [base.fit(X, Y).predict(X + 1) for base in (BASES[0][1], BASES[1][1], wrapped)]
    expected = Ridge(2.0).fit(np.hstack(blocks), Y).predict(np.hstack(refitted))
    np.testing.assert_array_equal(stack.predict(X + 1), expected)
    assert stack.predict(X).shape == (20, 3)
    assert np.isfinite(stack.score(X, Y))


def test_an_estimator_of_one_target_equals_one_fit_per_target():
    booster = GradientBoostingRegressor(n_estimators=5, random_state=0)
    stack = StackingRegressor([("boost", booster)], booster, cv=4).fit(X, Y)
    Z = np.column_stack([cross_val_predict(booster, X, Y[:, t], cv=KFold(4)) for t in range(3)])
    np.testing.assert_array_equal(stack.oof_meta_features_, Z)
    Z_new = np.column_stack([booster.fit(X, Y[:, t]).predict(X + 1) for t in range(3)])
    expected = np.column_stack([booster.fit(Z, Y[:, t]).predict(Z_new) for t in range(3)])
    np.testing.assert_array_equal(stack.predict(X + 1), expected)


@pytest.mark.parametrize(
    "final", [None, "ridge", "lasso", "nnls", "convex", "greedy", "best_single"]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_meta_learner_takes_several_targets(final):
    stack = StackingRegressor(BASES, final, member_predictions="fold_mean").fit(X, Y)
    assert stack.predict(X[:4]).shape == (4, 3)
    assert stack.weights_.shape[1] == 3
    assert stack.bias_.index.tolist() == ["y0", "y1", "y2"]


@pytest.mark.parametrize("final", ["convex", "nnls", "best_single", "greedy"])
def test_each_target_is_recovered_by_the_base_that_knows_it(final):
    # Model a knows the first target, model b the second; each is noise for the other.
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4))
    targets = features[:, [0, 3]]
    bases = [("a", Column((0, 1))), ("b", Column((2, 3)))]
    stack = StackingRegressor(bases, final).fit(features, targets)
    expected = pd.DataFrame({"y0": [1.0, 0.0], "y1": [0.0, 1.0]}, index=["a", "b"])
    np.testing.assert_allclose(stack.weights_, expected, atol=1e-12)
    new = rng.normal(size=(50, 4))
    np.testing.assert_allclose(stack.predict(new), new[:, [0, 3]], atol=1e-12)


def test_ridge_recovers_mixed_targets():
    # Targets are known combinations of what both bases say of both targets.
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 4))
    mixing = np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0], [0.25, 0.0]])
    bases = [("a", Column((0, 1))), ("b", Column((2, 3)))]
    stack = StackingRegressor(bases, LinearRegression()).fit(features, features @ mixing + [3, -4])
    assert stack.weights_.index.tolist() == ["a__y0", "a__y1", "b__y0", "b__y1"]
    np.testing.assert_allclose(stack.weights_, mixing, atol=1e-10)
    np.testing.assert_allclose(stack.bias_, [3, -4], atol=1e-10)


def test_convex_weights_in_closed_form():
    # Two independent errors of variances v and u: the best weight of the first is u / (v + u).
    rng = np.random.default_rng(2)
    n, deviations = 100_000, np.array([[1.0, 3.0], [2.0, 1.0]])
    truth = rng.normal(size=(n, 2))
    a = truth + rng.normal(size=(n, 2)) * deviations[0]
    b = truth + rng.normal(size=(n, 2)) * deviations[1]
    stack = StackingRegressor([("a", Column((0, 1))), ("b", Column((2, 3)))], "convex", cv=2)
    weights = stack.fit(np.hstack([a, b]), truth).weights_
    v, u = deviations**2
    np.testing.assert_allclose(weights.loc["a"], u / (v + u), atol=0.01)
    assert (weights.to_numpy().sum(axis=0) == 1.0).all()


def test_a_frame_names_the_columns():
    frame = pd.DataFrame(Y, columns=["weight", "waist", "pulse"])
    stack = StackingRegressor(BASES[:2], Ridge()).fit(X, frame)
    assert stack.meta_feature_names_ == [
        f"{base}__{target}" for base in ("line", "near") for target in frame
    ]
    assert stack.weights_.columns.tolist() == ["weight", "waist", "pulse"]
    np.testing.assert_array_equal(
        stack.predict(X), StackingRegressor(BASES[:2], Ridge()).fit(X, Y).predict(X)
    )


def test_names_of_a_single_target():
    bases = BASES[:1]
    series = StackingRegressor(bases, Ridge()).fit(X, pd.Series(Y[:, 0], name="weight"))
    plain = StackingRegressor(bases, Ridge()).fit(X, Y[:, 0])
    assert series.meta_feature_names_ == ["line__weight"]
    assert plain.meta_feature_names_ == ["line__y"]
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        frame = StackingRegressor(bases, Ridge()).fit(X, pd.DataFrame({"waist": Y[:, 0]}))
    assert frame.meta_feature_names_ == ["line__waist"]
    assert frame.predict(X).shape == (20,)


def test_two_levels_of_several_targets():
    inner = StackingRegressor([("line", LinearRegression()), ("near", KNeighborsRegressor(3))])
    stack = StackingRegressor(BASES, inner, cv=4).fit(X, Y)
    expected = inner.fit(stack.oof_meta_features_, Y).predict(stack._meta_features(X))
    np.testing.assert_array_equal(stack.predict(X), expected)


def test_natively_multi_target_models_are_not_wrapped():
    bases = [("lasso", MultiTaskLasso()), ("forest", RandomForestRegressor(5, random_state=0))]
    stack = StackingRegressor(bases, cv=3).fit(X, Y)
    assert isinstance(stack.estimators_[0], MultiTaskLasso)
    assert isinstance(stack.estimators_[1], RandomForestRegressor)
    wrapped = StackingRegressor([("lasso", LassoCV())], cv=3).fit(X, Y)
    assert isinstance(wrapped.estimators_[0], MultiOutputRegressor)


def test_risk_of_each_target():
    stack = StackingRegressor(BASES[:2], Ridge(), cv=4).fit(X, Y)
    table = stack.risk_table("mae").set_index(["estimator", "output"])
    for t in range(3):
        error = Y[:, t] - cross_val_predict(KNeighborsRegressor(3), X, Y, cv=KFold(4))[:, t]
        np.testing.assert_allclose(table.value["near", f"y{t}"], np.abs(error).mean(), rtol=1e-12)
    assert len(table) == 9
