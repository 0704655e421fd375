"""On labels of pure noise nothing can be learned: whatever looks better than chance has leaked."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from starstack.stacking import cross_fit as cross_fit_module
from starstack.stacking.estimators import StackingClassifier, StackingRegressor

SEEDS = range(20)
# Unpruned: they know every row that they were fitted on by heart.
TREES = [
    ("tree", DecisionTreeClassifier(random_state=0)),
    ("extra", ExtraTreeClassifier(random_state=1)),
]


def noise(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(150, 5)), rng.permutation(np.arange(150) % 2)


def assert_at_chance(accuracies):
    mean = np.mean(accuracies)
    standard_error = np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))
    assert 0 < standard_error < 0.03
    assert abs(mean - 0.5) < 3 * standard_error


def promises(seeds=SEEDS):
    """What a stack says of itself: the accuracy of its cross-validated meta-learner."""
    tables = [StackingClassifier(TREES).fit(*noise(s)).risk_table("accuracy") for s in seeds]
    return [table.set_index("estimator").value["final_estimator"] for table in tables]


def test_out_of_fold_stack_stays_at_chance():
    assert_at_chance(promises())


def test_in_sample_stack_does_not():
    accuracies = []
    for seed in SEEDS:
        X, y = noise(seed)
        Z = np.hstack([tree.fit(X, y).predict_proba(X)[:, 1:] for _, tree in TREES])
        accuracies.append(accuracy_score(y, cross_val_predict(LogisticRegression(), Z, y)))
    assert np.mean(accuracies) > 0.99
    with pytest.raises(AssertionError):
        assert_at_chance(accuracies)


def test_a_stack_that_leaks_would_be_found(monkeypatch):
    fit_member = cross_fit_module.fit_member

    def fit_on_every_row(member, X, y, rows=None, *rest):
        return fit_member(member, X, y, None, *rest)

    monkeypatch.setattr(cross_fit_module, "fit_member", fit_on_every_row)
    accuracies = promises()
    assert np.mean(accuracies) > 0.99
    with pytest.raises(AssertionError):
        assert_at_chance(accuracies)


@pytest.mark.parametrize("base", [
    KNeighborsClassifier(1),
    DecisionTreeClassifier(random_state=0),
    make_pipeline(StandardScaler(), KNeighborsClassifier(1)),
])  # fmt: skip
@pytest.mark.parametrize("member_predictions", ["refit", "fold_mean"])
def test_out_of_fold_column_of_a_base_that_memorises_is_at_chance(base, member_predictions):
    accuracies = []
    for seed in SEEDS:
        X, y = noise(seed)
        assert base.fit(X, y).score(X, y) == 1.0
        stack = StackingClassifier([("base", base)], member_predictions=member_predictions)
        column = stack.fit(X, y).oof_meta_features_[:, 0]
        assert set(column) == {0.0, 1.0}
        accuracies.append(accuracy_score(y, column))
    assert_at_chance(accuracies)


@pytest.mark.parametrize("base", [KNeighborsRegressor(1), DecisionTreeRegressor(random_state=0)])
def test_a_regressor_that_memorises_explains_nothing(base):
    shares = []
    for seed in SEEDS:
        X = noise(seed)[0]
        y = np.random.default_rng(100 + seed).normal(size=150)
        assert base.fit(X, y).score(X, y) == 1.0
        stack = StackingRegressor([("base", base)], Ridge(1e-6)).fit(X, y)
        shares.append(r2_score(y, stack.oof_meta_features_[:, 0]))
        # The meta-learner has found out: it hardly listens.
        assert abs(stack.weights_.loc["base__y", "y"]) < 0.35
    # Two independent draws of variance one differ with variance two: R² = 1 - 2.
    assert abs(np.mean(shares) + 1) < 3 * np.std(shares, ddof=1) / np.sqrt(20)


def test_scaling_is_fitted_inside_the_fold():
    # Held-out rows far away must not move the scaler of the models that predict them.
    X = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0], [1001.0]])
    y = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    stack = StackingRegressor(
        [("scaled", make_pipeline(StandardScaler(), KNeighborsRegressor(1)))],
        member_predictions="fold_mean",
        cv=[(np.arange(4), np.array([4, 5])), (np.arange(2, 6), np.array([0, 1]))],
    ).fit(X, y)
    assert stack.estimators_[0][0][0].mean_[0] == 1.5
