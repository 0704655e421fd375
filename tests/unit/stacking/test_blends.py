"""Blends against direct definitions: greedy selection, the best model, quadratic programmes."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_linnerud
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.stacking.blends import BlendClassifier, BlendRegressor, greedy_weights
from starstack.stacking.blends import squared_error as squared_error_risk
from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.layout import MetaColumn, MetaFeatureLayout

METHODS = ["convex", "nnls", "greedy", "best_single"]


def layout_of(n_members, n_classes):
    classes = [str(c) for c in range(n_classes)]
    columns = [MetaColumn(f"m{i}", c, "probability") for i in range(n_members) for c in classes]
    return MetaFeatureLayout(tuple(columns), tuple(classes))


def made_classification(seed, n=60, n_members=4, n_classes=3):
    """Probabilities of members that know the class more or less well."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    skill = rng.uniform(0.2, 2.5, size=n_members)
    logits = skill[:, None] * np.eye(n_classes)[y][:, None, :]
    logits = logits + rng.normal(size=(n, n_members, n_classes))
    P = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return P, y


def made_regression(seed, n=60, n_members=4):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    return y[:, None] + rng.normal(size=(n, n_members)) * rng.uniform(0.3, 2, n_members), y


def greedy_by_hand(n_members, risk_of_mean, steps):
    """Caruana et al. 2004: every candidate tried at every step, all prefixes remembered."""
    chosen, history = [], []
    for _ in range(steps):
        tries = [(risk_of_mean([*chosen, m]), m) for m in range(n_members)]
        best = min(risk for risk, _ in tries)
        equal = [m for risk, m in tries if risk <= best * (1 + 1e-12)]
        chosen.append(max(equal, key=lambda m: (chosen.count(m), -m)))
        history.append((best, list(chosen)))
    best = min(risk for risk, _ in history)
    prefix = next(chosen for risk, chosen in history if risk <= best * (1 + 1e-12))
    return np.array([prefix.count(m) / len(prefix) for m in range(n_members)])


@pytest.mark.parametrize("seed", range(6))
def test_greedy_selection_of_regressors(seed):
    F, y = made_regression(seed)
    expected = greedy_by_hand(
        4, lambda chosen: mean_squared_error(y, F[:, chosen].mean(axis=1)), 12
    )
    blend = BlendRegressor("greedy", max_selections=12).fit(F, y)
    np.testing.assert_allclose(blend.member_weights_[:, 0], expected, rtol=1e-12)
    assert (expected > 0).sum() > 1


@pytest.mark.parametrize("seed", range(8))
def test_greedy_selection_of_classifiers(seed):
    P, y = made_classification(seed)
    expected = greedy_by_hand(4, lambda chosen: log_loss(y, P[:, chosen].mean(axis=1)), 12)
    blend = BlendClassifier("greedy", max_selections=12)
    blend.fit(P.reshape(60, -1), y, layout=layout_of(4, 3))
    np.testing.assert_allclose(blend.member_weights_[:, 0], expected, rtol=1e-12)


def test_greedy_keeps_the_best_prefix():
    # After two steps the mean is exact; any third model spoils it.
    F, y = np.array([[-1.0, 1.0], [2.0, -2.0]]), np.zeros(2)
    for steps in (2, 3, 10):
        weights = BlendRegressor("greedy", max_selections=steps).fit(F, y).member_weights_
        assert weights[:, 0].tolist() == [0.5, 0.5]
    assert BlendRegressor("greedy", max_selections=1).fit(F, y).weights_["y"].tolist() == [1.0, 0.0]


def test_greedy_ties_go_to_a_model_already_in():
    # After model 1 at step one, models 0 and 1 tie at step two; only (1, 1, 2) is good at three.
    F, y = np.array([[-1.0, 1.0, -3.1], [2.0, 0.0, 0.0]]), np.zeros(2)
    weights = greedy_weights(F, squared_error_risk(y, None), 3)
    np.testing.assert_allclose(weights, [0, 2 / 3, 1 / 3])


@pytest.mark.parametrize("method", ["convex", "greedy", "best_single"])
def test_of_identical_models_only_the_first_gets_weight(method):
    F, y = made_regression(0, n_members=2)
    alone = BlendRegressor(method).fit(F, y).member_weights_[:, 0]
    twice = BlendRegressor(method).fit(F[:, [0, 0, 1, 1]], y).member_weights_[:, 0]
    np.testing.assert_allclose(twice, [alone[0], 0, alone[1], 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_best_single_is_the_model_of_least_risk(seed):
    F, y = made_regression(seed)
    blend = BlendRegressor("best_single").fit(F, y)
    best = np.argmin([mean_squared_error(y, F[:, m]) for m in range(4)])
    np.testing.assert_array_equal(blend.predict(F), F[:, best])
    P, y = made_classification(seed)
    blend = BlendClassifier("best_single").fit(P.reshape(60, -1), y, layout=layout_of(4, 3))
    best = np.argmin([log_loss(y, P[:, m]) for m in range(4)])
    np.testing.assert_array_equal(blend.member_weights_[:, 0], np.eye(4)[best])
    np.testing.assert_allclose(blend.predict_proba(P.reshape(60, -1)), P[:, best], rtol=1e-12)


def test_one_certain_mistake_costs_more_than_many_hesitations():
    # The first model is right on 19 rows and wrong with certainty on the last; the second guesses.
    y = np.arange(20) % 2
    sure = np.where(np.arange(20) < 19, 0.9, 1e-12)
    Z = np.column_stack([np.where(y == 1, sure, 1 - sure), np.full(20, 0.5)])
    assert BlendClassifier("best_single").fit(Z, y).member_weights_[:, 0].tolist() == [0, 1]
    Z[19, 0] = 0.1
    assert BlendClassifier("best_single").fit(Z, y).member_weights_[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_convex_classifier_minimises_the_brier_score(n_classes):
    P, y = made_classification(0, n_classes=n_classes)
    Y = np.eye(n_classes)[y]

    def brier(w):
        return np.mean(((Y - np.einsum("nmc,m->nc", P, w)) ** 2).sum(axis=1))

    found = minimize(
        brier, np.full(4, 0.25), method="SLSQP", bounds=[(0, 1)] * 4, options={"ftol": 1e-14},
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )  # fmt: skip
    Z, layout = P.reshape(60, -1), layout_of(4, n_classes)
    blend = BlendClassifier("convex").fit(Z, y, layout=layout)
    weights = blend.member_weights_[:, 0]
    assert weights.sum() == 1.0
    assert brier(weights) <= found.fun + 1e-12
    np.testing.assert_allclose(weights, found.x, atol=1e-4)
    expected = np.einsum("nmc,m->nc", P, weights)
    np.testing.assert_allclose(blend.predict_proba(Z), expected, rtol=1e-12)
    assert blend.predict(Z).tolist() == expected.argmax(axis=1).tolist()
    assert blend.weights_.index.tolist() == ["m0", "m1", "m2", "m3"]
    assert blend.weights_.columns.tolist() == ["all classes"]


def test_non_negative_classifier_is_normalised():
    P, y = made_classification(1)
    Z, layout = P.reshape(60, -1), layout_of(4, 3)
    blend = BlendClassifier("nnls").fit(Z, y, layout=layout)
    weights = blend.member_weights_[:, 0]
    assert weights.sum() != 1.0
    mixed = np.einsum("nmc,m->nc", P, weights / weights.sum())
    np.testing.assert_allclose(blend.predict_proba(Z), mixed, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_rows_count_them(method):
    times = np.random.default_rng(0).integers(0, 4, size=60)
    F, y = made_regression(3)
    weighted = BlendRegressor(method).fit(F, y, sample_weight=times)
    repeated = BlendRegressor(method).fit(np.repeat(F, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.member_weights_, repeated.member_weights_, atol=1e-10)
    P, y = made_classification(3)
    Z, layout = P.reshape(60, -1), layout_of(4, 3)
    weighted = BlendClassifier(method).fit(Z, y, sample_weight=times, layout=layout)
    repeated = BlendClassifier(method)
    repeated.fit(np.repeat(Z, times, axis=0), np.repeat(y, times), layout=layout)
    np.testing.assert_allclose(weighted.member_weights_, repeated.member_weights_, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_have_weights_of_their_own(method):
    X, Y = load_linnerud(return_X_y=True)
    bases = [("line", LinearRegression()), ("near", KNeighborsRegressor(3))]
    stack = StackingRegressor(bases, method).fit(X, Y)
    Z = stack.oof_meta_features_
    for t in range(3):
        # The columns of one target, one per model.
        alone = BlendRegressor(method).fit(Z[:, [t, 3 + t]], Y[:, t])
        expected = stack.final_estimator_.member_weights_[:, t]
        np.testing.assert_allclose(alone.member_weights_[:, 0], expected, rtol=1e-12)
        np.testing.assert_allclose(
            stack.predict(X)[:, t], alone.predict(stack._meta_features(X)[:, [t, 3 + t]])
        )
    assert stack.weights_.shape == (2, 3)
    assert stack.weights_.index.tolist() == ["line", "near"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_dropped_columns_do_not_change_a_blend(load, method):
    X, y = (part[::3] for part in load(return_X_y=True))
    bases = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(9))]
    dropped, full = (
        StackingClassifier(bases, method, cv=3, drop_first=drop).fit(X, y) for drop in (True, False)
    )
    assert dropped.oof_meta_features_.shape[1] < full.oof_meta_features_.shape[1]
    np.testing.assert_allclose(dropped.weights_, full.weights_, atol=1e-9)
    np.testing.assert_allclose(dropped.predict_proba(X), full.predict_proba(X), atol=1e-9)
    P = [clone(base).fit(X, y).predict_proba(X) for _, base in bases]
    weights = full.final_estimator_.member_weights_[:, 0]
    mixed = (weights[0] * P[0] + weights[1] * P[1]) / weights.sum()
    np.testing.assert_allclose(full.predict_proba(X), mixed, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_are_what_scikit_learn_takes_for_probabilities(method):
    # Naive Bayes is sure to the last bit, where 1 - Σ p of the kept classes may fall below zero.
    X, y = load_iris(return_X_y=True)
    bases = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(9))]
    stack = StackingClassifier(bases, method).fit(X, y)
    P = stack.predict_proba(X)
    assert P.min() >= 0.0
    assert P.max() <= 1.0
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)
    assert log_loss(y, P) < 0.2


def test_labels_can_be_blended(recorded):
    class Constant(recorded.Unweighted):
        predict_proba = property()

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    X, y = load_iris(return_X_y=True)
    bases = [("constant", Constant()), ("bayes", GaussianNB())]
    stack = StackingClassifier(bases, "convex").fit(X, y)
    assert stack.stack_method_ == ["predict", "predict_proba"]
    assert stack.weights_.loc["bayes", "all classes"] > 0.9


@pytest.mark.parametrize("base, drop_first, keep_features, message", [
    (LinearSVC(), True, False, "base model 'other' gives a decision.*CalibratedClassifierCV"),
    (RidgeClassifier(), False, False, "base model 'other' gives a decision"),
    (LinearRegression(), True, False, "base model 'other' gives a value"),
    (LogisticRegression(), True, True, "keep_features=True adds input features"),
])  # fmt: skip
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_what_a_blend_cannot_weigh_is_refused_before_a_fit(
    recorded, load, base, drop_first, keep_features, message
):
    X, y = load(return_X_y=True)
    stack = StackingClassifier(
        [("first", recorded.Weighted()), ("other", base)],
        "convex",
        drop_first=drop_first,
        keep_features=keep_features,
    )
    with pytest.raises(InputError, match=message):
        stack.fit(X, y)
    assert recorded.log == []


def test_no_positive_relation_warns_and_predicts_zero():
    y = np.array([1.0, 2.0, 3.0])
    with pytest.warns(UserWarning, match="all weights are zero"):
        blend = BlendRegressor("nnls").fit(-y[:, None], y)
    assert blend.predict(-y[:, None]).tolist() == [0.0, 0.0, 0.0]


def test_classifiers_that_are_always_wrong_warn_and_give_equal_probabilities():
    y = np.array([0, 1, 0, 1])
    with pytest.warns(UserWarning, match="all weights are zero"):
        blend = BlendClassifier("nnls").fit(1.0 - y[:, None], y)
    np.testing.assert_array_equal(blend.predict_proba(1.0 - y[:, None]), np.full((4, 2), 0.5))


def test_alone_a_blend_takes_one_column_per_model():
    P, y = made_classification(0, n_classes=2)
    names = np.array(["no", "yes"])[y]
    blend = BlendClassifier("convex").fit(P[:, :, 1], names)
    full = BlendClassifier("convex").fit(P.reshape(60, -1), y, layout=layout_of(4, 2))
    np.testing.assert_allclose(blend.member_weights_, full.member_weights_, atol=1e-10)
    assert blend.classes_.tolist() == ["no", "yes"]
    assert set(blend.predict(P[:, :, 1])) <= {"no", "yes"}


def test_what_needs_a_layout_is_refused_without_one():
    with pytest.raises(InputError, match="3 classes need the layout"):
        BlendClassifier().fit(np.zeros((3, 2)), [0, 1, 2])
    with pytest.raises(InputError, match="2 targets need the layout"):
        BlendRegressor().fit(np.zeros((3, 2)), np.zeros((3, 2)))
    blend = BlendRegressor().fit(np.eye(3), np.arange(3.0))
    with pytest.raises(InputError, match=r"expected meta-features of shape \(rows, 3\)"):
        blend.predict(np.eye(4))


def test_unknown_method_and_no_selections_are_refused():
    for wrong in (BlendRegressor("mean"), BlendRegressor("greedy", max_selections=0)):
        with pytest.raises(ValueError, match="parameter of BlendRegressor must be"):
            wrong.fit(np.eye(3), np.arange(3.0))


def test_convex_weights_of_an_overfitting_tree_are_small():
    # Out of fold, a tree that memorises pure noise is worse than the class shares.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, size=200)
    bases = [
        ("tree", DecisionTreeClassifier(random_state=0)),
        ("shares", LogisticRegression(C=1e-6)),
    ]
    weights = StackingClassifier(bases, "convex").fit(X, y).weights_["all classes"]
    assert weights["tree"] < 0.2
