"""Where scikit-learn's stacks mean the same, the numbers are the same, bit for bit."""

from functools import cache

import numpy as np
import pytest
from sklearn import datasets, ensemble
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    RidgeCV,
)
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from starstack.stacking.estimators import StackingClassifier, StackingRegressor

# Probabilities, decision functions and random trees; the forest is shuffled by its seed.
CLASSIFIERS = [
    ("bayes", GaussianNB()),
    ("ridge", RidgeClassifier()),
    ("forest", RandomForestClassifier(8, random_state=3)),
]
REGRESSORS = [
    ("ridge", RidgeCV()),
    ("neighbours", KNeighborsRegressor(7)),
    ("forest", RandomForestRegressor(8, random_state=3)),
]


@cache
def halves(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    stratify = None if name == "diabetes" else y
    return train_test_split(X, y, stratify=stratify, random_state=42)


def assert_same(ours, theirs, X, y, X_new):
    ours.fit(X, y)
    theirs.fit(X, y)
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(theirs, method):
            expected = getattr(theirs, method)(X_new)
            np.testing.assert_array_equal(getattr(ours, method)(X_new), expected)
    np.testing.assert_array_equal(ours.stack_method_, theirs.stack_method_)


@pytest.mark.parametrize("keep_features", [False, True])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_classifier(name, keep_features):
    X, X_new, y, _ = halves(name)
    final = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    if name == "digits":
        final = GaussianNB()
    assert_same(
        # scikit-learn drops one of two probabilities, and none of more.
        StackingClassifier(
            CLASSIFIERS, final, drop_first=len(np.unique(y)) == 2, keep_features=keep_features
        ),
        ensemble.StackingClassifier(CLASSIFIERS, final, passthrough=keep_features),
        X, y, X_new,
    )  # fmt: skip


@pytest.mark.parametrize("keep_features", [False, True])
def test_regressor(keep_features):
    X, X_new, y, _ = halves("diabetes")
    assert_same(
        StackingRegressor(REGRESSORS, RidgeCV(), keep_features=keep_features),
        ensemble.StackingRegressor(REGRESSORS, RidgeCV(), passthrough=keep_features),
        X, y, X_new,
    )  # fmt: skip


@pytest.mark.parametrize("ours, theirs, bases, name, final", [
    (
        StackingClassifier, ensemble.StackingClassifier, CLASSIFIERS, "breast_cancer",
        RandomForestClassifier(8, random_state=1),
    ),
    (
        StackingRegressor, ensemble.StackingRegressor, REGRESSORS, "diabetes",
        RandomForestRegressor(8, random_state=1),
    ),
])  # fmt: skip
def test_several_jobs_and_shuffled_folds_and_a_random_meta_learner(
    ours, theirs, bases, name, final
):
    X, X_new, y, _ = halves(name)
    folds = (KFold if name == "diabetes" else StratifiedKFold)(4, shuffle=True, random_state=5)
    assert_same(
        ours(bases, final, cv=folds, n_jobs=2),
        theirs(bases, final, cv=folds),
        X, y, X_new,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "digits"])
def test_out_of_fold_predictions_are_those_of_cross_val_predict(name):
    X, _, y, _ = halves(name)
    bases = [*CLASSIFIERS, ("svm", make_pipeline(StandardScaler(), LinearSVC(random_state=0)))]
    if name == "digits":
        X, y, bases = X[:400], y[:400], bases[:3]
    stack = StackingClassifier(bases, RidgeClassifier(), drop_first=False).fit(X, y)
    blocks = []
    for (_, base), method in zip(bases, stack.stack_method_, strict=True):
        block = cross_val_predict(clone(base), X, y, cv=5, method=method)
        blocks.append(block.reshape(len(y), -1))
    np.testing.assert_array_equal(stack.oof_meta_features_, np.hstack(blocks))
    assert stack.has_oof_.all()


def test_out_of_fold_values_are_those_of_cross_val_predict():
    X, _, y, _ = halves("diabetes")
    stack = StackingRegressor(REGRESSORS, "convex").fit(X, y)
    columns = [cross_val_predict(clone(base), X, y, cv=5) for _, base in REGRESSORS]
    np.testing.assert_array_equal(stack.oof_meta_features_, np.column_stack(columns))


def test_a_meta_learner_fitted_by_hand_on_cross_val_predict_is_the_same():
    X, X_new, y, _ = halves("wine")
    base = GaussianNB()
    stack = StackingClassifier([("bayes", base)], LogisticRegression()).fit(X, y)
    Z = cross_val_predict(base, X, y, cv=5, method="predict_proba")[:, 1:]
    Z_new = GaussianNB().fit(X, y).predict_proba(X_new)[:, 1:]
    expected = LogisticRegression().fit(Z, y).predict_proba(Z_new)
    np.testing.assert_array_equal(stack.predict_proba(X_new), expected)


def test_regressors_among_classifiers_fit_the_codes():
    X, X_new, y, _ = halves("iris")
    names = np.array(["c", "a", "b"])
    bases = [("bayes", GaussianNB()), ("line", LinearRegression())]
    ours = StackingClassifier(bases, LogisticRegression(), drop_first=False)
    theirs = ensemble.StackingClassifier(bases, LogisticRegression())
    assert_same(ours, theirs, X, names[y], X_new)
    assert ours.meta_feature_names_[-1] == "line__value"


def test_default_meta_learner_of_the_regressor_is_a_ridge_with_a_wide_grid():
    X, X_new, y, _ = halves("diabetes")
    bases = [("ridge", Ridge()), ("neighbours", KNeighborsRegressor(7))]
    grid = 10.0 ** np.arange(-6, 7)
    theirs = ensemble.StackingRegressor(bases, RidgeCV(alphas=grid)).fit(X, y)
    ours = StackingRegressor(bases).fit(X, y)
    np.testing.assert_allclose(ours.predict(X_new), theirs.predict(X_new), rtol=1e-12)
