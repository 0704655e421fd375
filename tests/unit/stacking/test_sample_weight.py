"""Weights of the rows reach every model that takes them, and no other."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.meta_learners import fit_meta_learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] + RNG.normal(size=60) > 0).astype(int)
WEIGHT = RNG.uniform(0.1, 3, size=60)


def test_each_fit_gets_the_weights_of_its_rows(recorded):
    folds = list(StratifiedKFold(3).split(X, Y))
    stack = StackingClassifier(
        [
            ("plain", recorded.Weighted("plain")),
            ("piped", make_pipeline(StandardScaler(), recorded.Weighted("piped"))),
            ("without", recorded.Unweighted("without")),
            (
                "piped_without",
                make_pipeline(StandardScaler(), recorded.Unweighted("piped_without")),
            ),
        ],
        recorded.Weighted("meta"),
        cv=folds,
    )
    stack.fit(X, Y, sample_weight=WEIGHT)
    every = [WEIGHT, *(WEIGHT[fit] for fit, _ in folds)]
    for tag in ("plain", "piped"):
        given = [entry.sample_weight for entry in recorded.log if entry.tag == tag]
        for found, expected in zip(given, every, strict=True):
            np.testing.assert_array_equal(found, expected)
    for tag in ("without", "piped_without"):
        given = [entry.sample_weight for entry in recorded.log if entry.tag == tag]
        assert given == [None] * 4
    assert recorded.log[-1].tag == "meta"
    np.testing.assert_array_equal(recorded.log[-1].sample_weight, WEIGHT)


def test_no_weights_are_made_up(recorded):
    StackingClassifier([("base", recorded.Weighted())], recorded.Weighted("meta")).fit(X, Y)
    assert [entry.sample_weight for entry in recorded.log] == [None] * 7


@pytest.mark.parametrize("wrap", [make_pipeline, lambda estimator: estimator])
def test_weights_reach_a_regressor_of_one_target_that_is_fitted_once_per_target(recorded, wrap):
    targets = np.column_stack([X[:, 0], X[:, 1] * 2])
    folds = list(KFold(2).split(X))
    stack = StackingRegressor(
        [
            ("a", wrap(recorded.WeightedRegressor("a"))),
            ("b", wrap(recorded.UnweightedRegressor("b"))),
        ],
        wrap(recorded.WeightedRegressor("meta")),
        cv=folds,
    )
    stack.fit(X, targets, sample_weight=WEIGHT)
    given = {
        tag: [e.sample_weight for e in recorded.log if e.tag == tag] for tag in ("a", "b", "meta")
    }
    expected = [WEIGHT] * 2 + [WEIGHT[fit] for fit, _ in folds for _ in range(2)]
    for found, wanted in zip(given["a"], expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert given["b"] == [None] * 6
    assert len(given["meta"]) == 2
    np.testing.assert_array_equal(given["meta"], [WEIGHT] * 2)


@pytest.mark.parametrize("final", [
    LogisticRegression(tol=1e-10), RidgeClassifier(), "convex", "nnls", "greedy", "best_single",
])  # fmt: skip
def test_for_a_meta_learner_a_row_of_weight_two_is_two_rows(final):
    # Base models that ignore weights, so that the meta-learner alone is looked at.
    bases = [("near", KNeighborsClassifier(5)), ("next", KNeighborsClassifier(9))]
    times = np.random.default_rng(1).integers(1, 4, size=60)
    weighted = StackingClassifier(bases, final).fit(X, Y, sample_weight=times)
    Z = weighted.oof_meta_features_
    repeated = fit_meta_learner(
        weighted._unfitted_final_estimator(),
        np.repeat(Z, times, axis=0),
        np.repeat(Y, times),
        layout=weighted.layout_,
    )
    scores = "predict_proba" if hasattr(repeated, "predict_proba") else "decision_function"
    np.testing.assert_allclose(
        getattr(weighted.final_estimator_, scores)(Z), getattr(repeated, scores)(Z), rtol=1e-6
    )


def test_weights_are_checked():
    stack = StackingClassifier([("tree", DecisionTreeClassifier())])
    for wrong, message in (
        (WEIGHT[:5], "sample_weight.shape == "),
        (-WEIGHT, "Negative values in data passed to `sample_weight`"),
        (np.full(60, np.nan), "sample_weight contains NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            stack.fit(X, Y, sample_weight=wrong)


def test_weights_count_in_the_risk_table():
    stack = StackingRegressor([("ridge", Ridge())], Ridge())
    stack.fit(X, X[:, 0] + RNG.normal(size=60), sample_weight=WEIGHT)
    error = stack._training.y - stack.oof_meta_features_[:, 0]
    table = stack.risk_table("rmse").set_index("estimator")
    expected = np.sqrt(np.average(error**2, weights=WEIGHT))
    np.testing.assert_allclose(table.value["ridge"], expected, rtol=1e-12)
    assert abs(expected - np.sqrt(np.mean(error**2))) > 1e-3


def test_weights_change_the_stack():
    base = [("logistic", LogisticRegression())]
    plain, weighted = StackingClassifier(base).fit(X, Y), StackingClassifier(base)
    weighted.fit(X, Y, sample_weight=np.where(Y == 1, 5.0, 1.0))
    assert weighted.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1
