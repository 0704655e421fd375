"""Folds of the estimators: grouped, time-ordered, repeated, drawn once, and refused."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from starstack.errors import InputError
from starstack.stacking.estimators import StackingClassifier, StackingRegressor

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_DIABETES, Y_DIABETES = (part[:120] for part in load_diabetes(return_X_y=True))
GROUPS = np.random.default_rng(0).integers(0, 12, size=150).astype(str)
REGRESSORS = [("ridge", Ridge(0.1)), ("near", KNeighborsRegressor(3))]


@pytest.mark.parametrize("cv, expected", [
    (4, StratifiedGroupKFold(4)),
    (np.int64(4), StratifiedGroupKFold(4)),
    (None, StratifiedGroupKFold(5)),
    (GroupKFold(3), GroupKFold(3)),
    (LeaveOneGroupOut(), LeaveOneGroupOut()),
])  # fmt: skip
def test_groups_bind_the_folds_of_a_classifier(cv, expected):
    stack = StackingClassifier([("bayes", GaussianNB())], cv=cv).fit(X_IRIS, Y_IRIS, groups=GROUPS)
    for fit, held_out in stack._training.folds:
        assert not set(GROUPS[fit]) & set(GROUPS[held_out])
    block = cross_val_predict(
        GaussianNB(), X_IRIS, Y_IRIS, groups=GROUPS, cv=expected, method="predict_proba"
    )
    np.testing.assert_array_equal(stack.oof_meta_features_, block[:, 1:])


def test_groups_bind_the_folds_of_a_regressor():
    groups = GROUPS[:120]
    stack = StackingRegressor(REGRESSORS, cv=4).fit(X_DIABETES, Y_DIABETES, groups)
    column = cross_val_predict(Ridge(0.1), X_DIABETES, Y_DIABETES, groups=groups, cv=GroupKFold(4))
    np.testing.assert_array_equal(stack.oof_meta_features_[:, 0], column)


def test_copies_of_a_row_in_one_group_are_no_help():
    # Each row stands five times with the same random label: row-wise folds find the copies.
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 4)), 5, axis=0) + 1e-6 * rng.normal(size=(300, 4))
    y, groups = np.repeat(rng.permutation(np.arange(60) % 2), 5), np.repeat(np.arange(60), 5)
    near = [("near", KNeighborsClassifier(1))]
    shuffled = StackingClassifier(near, cv=KFold(5, shuffle=True, random_state=0)).fit(X, y)
    grouped = StackingClassifier(near).fit(X, y, groups=groups)
    assert np.mean(shuffled.oof_meta_features_[:, 0] == y) > 0.98
    assert abs(np.mean(grouped.oof_meta_features_[:, 0] == y) - 0.5) < 3 * 0.5 / np.sqrt(60)


@pytest.mark.parametrize("as_base", [True, False])
def test_groups_bind_the_folds_of_an_inner_stack_too(as_base):
    inner = StackingClassifier([("bayes", GaussianNB())], cv=3)
    if as_base:
        stack = StackingClassifier([("inner", inner)], cv=3).fit(X_IRIS, Y_IRIS, groups=GROUPS)
        found = stack.estimators_[0]
    else:
        stack = StackingClassifier([("bayes", GaussianNB())], inner, cv=3)
        found = stack.fit(X_IRIS, Y_IRIS, groups=GROUPS).final_estimator_
    for fit, held_out in found._training.folds:
        assert not set(GROUPS[fit]) & set(GROUPS[held_out])


def test_groups_pass_through_an_outer_cross_validation():
    scores = cross_val_score(
        StackingClassifier([("bayes", GaussianNB())], cv=3),
        X_IRIS, Y_IRIS, groups=GROUPS, cv=GroupKFold(3),
        params={"groups": GROUPS},
    )  # fmt: skip
    assert scores.min() > 0.8


def test_time_ordered_rows_without_a_prediction_are_not_used():
    cv = TimeSeriesSplit(4)
    stack = StackingRegressor(REGRESSORS, Ridge(), cv=cv).fit(X_DIABETES, Y_DIABETES)
    Z = np.full((120, 2), np.nan)
    for fit, held_out in cv.split(X_DIABETES):
        for column, (_, base) in enumerate(REGRESSORS):
            fitted = clone(base).fit(X_DIABETES[fit], Y_DIABETES[fit])
            Z[held_out, column] = fitted.predict(X_DIABETES[held_out])
    burn_in = next(cv.split(X_DIABETES))[0]
    assert len(burn_in) == 24
    np.testing.assert_array_equal(stack.oof_meta_features_, Z)
    np.testing.assert_array_equal(stack.has_oof_, ~np.isin(np.arange(120), burn_in))

    by_hand = Ridge().fit(Z[24:], Y_DIABETES[24:])
    np.testing.assert_array_equal(stack.final_estimator_.coef_, by_hand.coef_)
    # Other values in the burn-in rows reach the base models, never the meta-learner's rows.
    filled = Ridge().fit(np.nan_to_num(Z), Y_DIABETES)
    assert np.abs(filled.coef_ - by_hand.coef_).max() > 1e-3


def test_time_ordered_weights_belong_to_the_rows_that_are_used(recorded):
    weight = np.arange(1.0, 61.0)
    y = np.tile([0, 1], 30)
    stack = StackingClassifier(
        [("base", recorded.Weighted("base"))], recorded.Weighted("meta"), cv=TimeSeriesSplit(3)
    ).fit(np.arange(60.0)[:, None], y, sample_weight=weight)
    meta = recorded.log[-1]
    assert meta.tag == "meta"
    np.testing.assert_array_equal(meta.sample_weight, weight[15:])
    np.testing.assert_array_equal(meta.y, y[15:])
    assert meta.X.shape == (45, 1)
    assert stack.has_oof_.sum() == 45


@pytest.mark.parametrize("cv", [
    RepeatedKFold(n_splits=4, n_repeats=3, random_state=7),
    ShuffleSplit(6, test_size=0.3, random_state=7),
])  # fmt: skip
def test_repeated_predictions_are_averaged_per_row(cv):
    stack = StackingRegressor(REGRESSORS, cv=cv).fit(X_DIABETES, Y_DIABETES)
    found = [[] for _ in Y_DIABETES]
    for fit, held_out in cv.split(X_DIABETES):
        fitted = KNeighborsRegressor(3).fit(X_DIABETES[fit], Y_DIABETES[fit])
        for row, value in zip(held_out, fitted.predict(X_DIABETES[held_out]), strict=True):
            found[row].append(value)
    expected = [np.mean(values) if values else np.nan for values in found]
    np.testing.assert_allclose(stack.oof_meta_features_[:, 1], expected, rtol=1e-12)
    np.testing.assert_array_equal(stack.has_oof_, [bool(values) for values in found])
    assert len({len(values) for values in found}) == (1 if isinstance(cv, RepeatedKFold) else 7)


def test_unseeded_folds_are_the_same_for_every_base_model():
    tree = DecisionTreeRegressor(random_state=0)
    stack = StackingRegressor(
        [("a", tree), ("b", clone(tree)), ("c", clone(tree))], cv=KFold(3, shuffle=True)
    )
    first = stack.fit(X_DIABETES, Y_DIABETES).oof_meta_features_
    np.testing.assert_array_equal(first[:, 0], first[:, 1])
    np.testing.assert_array_equal(first[:, 0], first[:, 2])
    # The folds do differ from fit to fit, so that the equality above says something.
    second = stack.fit(X_DIABETES, Y_DIABETES).oof_meta_features_
    assert (first[:, 0] != second[:, 0]).any()


def test_a_list_of_folds_and_a_predefined_split():
    fold = np.arange(150) % 3
    expected = StackingClassifier([("bayes", GaussianNB())], cv=PredefinedSplit(fold))
    expected.fit(X_IRIS, Y_IRIS)
    folds = [(np.flatnonzero(fold != k).tolist(), np.flatnonzero(fold == k)) for k in range(3)]
    stack = StackingClassifier([("bayes", GaussianNB())], cv=folds).fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(stack.oof_meta_features_, expected.oof_meta_features_)


def test_fold_mean_is_the_mean_of_the_models_of_the_folds():
    bases = [("bayes", GaussianNB()), ("ridge", RidgeClassifier())]
    cv = StratifiedKFold(4, shuffle=True, random_state=1)
    stack = StackingClassifier(bases, cv=cv, member_predictions="fold_mean", drop_first=False)
    stack.fit(X_IRIS, Y_IRIS)
    new = X_IRIS[:9] + 0.01
    fits = [fit for fit, _ in cv.split(X_IRIS, Y_IRIS)]
    bayes = [GaussianNB().fit(X_IRIS[f], Y_IRIS[f]).predict_proba(new) for f in fits]
    ridge = [RidgeClassifier().fit(X_IRIS[f], Y_IRIS[f]).decision_function(new) for f in fits]
    expected = np.hstack([np.mean(bayes, axis=0), np.mean(ridge, axis=0)])
    np.testing.assert_array_equal(stack.transform(new), expected)
    np.testing.assert_array_equal(
        stack.predict_proba(new), stack.final_estimator_.predict_proba(expected)
    )
    # The meta-learner is the same as with refitted models; only new rows are predicted otherwise.
    refit = clone(stack).set_params(member_predictions="refit").fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(refit.oof_meta_features_, stack.oof_meta_features_)
    assert (refit.transform(new) != stack.transform(new)).any()


def test_fold_mean_fits_no_model_on_all_rows(recorded):
    base = [("base", recorded.Weighted())]
    StackingClassifier(base, cv=3, member_predictions="fold_mean").fit(X_IRIS, Y_IRIS)
    assert [len(entry.y) for entry in recorded.log] == [100, 100, 100]
    recorded.log.clear()
    StackingClassifier(base, cv=3).fit(X_IRIS, Y_IRIS)
    assert sorted(len(entry.y) for entry in recorded.log) == [100, 100, 100, 150]


EVERY = np.arange(150)
BAD_FOLDS = {
    "a class is missing": ([(EVERY[:100], EVERY[100:])], "no training row of class '2'"),
    "both sides share a row": (
        [(EVERY[1:], EVERY[:1]), (EVERY[:101], EVERY[100:])],
        "fold 2: row 100 is both fitted on and held out",
    ),
    "no folds": ([], "cv gives no folds"),
    "nothing held out": ([(EVERY, EVERY[:0])], "rows held out .* got none"),
    "nothing to fit": ([(EVERY[:0], EVERY)], "rows to fit on .* got none"),
    "rows from the end": ([(EVERY[:149], np.array([-1]))], "got -1 to -1"),
    "rows behind the end": ([(EVERY[:149], np.array([150]))], "got 150 to 150"),
    "a class never held out": (
        [(EVERY[::2], EVERY[1:100:2]), (EVERY[1::2], EVERY[0:100:2])],
        "no fold holds out a row of class '2'",
    ),
}


@pytest.mark.parametrize("name", BAD_FOLDS)
def test_bad_folds_are_refused_before_anything_is_fitted(recorded, name):
    folds, message = BAD_FOLDS[name]
    stack = StackingClassifier([("base", recorded.Weighted())], cv=folds)
    with pytest.raises(InputError, match=message) as refusal:
        stack.fit(X_IRIS, Y_IRIS)
    assert recorded.log == []
    assert "\n" not in str(refusal.value)


def test_a_generator_serves_one_fit_only():
    stack = StackingClassifier([("b", GaussianNB())], cv=KFold(3, shuffle=True).split(X_IRIS))
    stack.fit(X_IRIS, Y_IRIS)
    with pytest.raises(InputError, match="a generator is empty after one use"):
        stack.fit(X_IRIS, Y_IRIS)


def test_a_single_row_of_a_class_is_refused_by_name(recorded):
    y = np.array(["common", "other"] * 20 + ["rare"])
    stack = StackingClassifier([("base", recorded.Weighted())], cv=3)
    with (
        pytest.warns(UserWarning, match="least populated class"),
        pytest.raises(InputError, match=r"no training row of class 'rare'.*stratified"),
    ):
        stack.fit(np.arange(41.0)[:, None], y)
    assert recorded.log == []


def test_a_group_on_both_sides_of_a_fold_is_refused(recorded):
    folds = list(StratifiedKFold(3).split(X_IRIS, Y_IRIS))
    stack = StackingClassifier([("base", recorded.Weighted())], cv=folds)
    with pytest.raises(InputError, match=r"group '\d+' is on both sides.*GroupKFold"):
        stack.fit(X_IRIS, Y_IRIS, groups=GROUPS)
    assert recorded.log == []


@pytest.mark.parametrize("cv", [3, list(KFold(3, shuffle=True, random_state=0).split(X_IRIS))])
@pytest.mark.parametrize("length", [10, 151])
def test_groups_of_another_length_are_refused(recorded, cv, length):
    stack = StackingClassifier([("base", recorded.Weighted())], cv=cv)
    with pytest.raises(InputError, match=f"X has 150 rows, groups has {length}"):
        stack.fit(X_IRIS, Y_IRIS, groups=np.arange(length))
    assert recorded.log == []


def test_repeated_labels_of_a_meta_learner_are_votes():
    # Votes for class 0 and class 2 must not become a vote for class 1.
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=3, random_state=0)
    stack = StackingClassifier([("near", KNeighborsClassifier(3))], "ridge", cv=cv)
    stack.fit(X_IRIS, Y_IRIS)
    votes = np.zeros((150, 3))
    Z = stack.oof_meta_features_
    for fit, held_out in cv.split(X_IRIS, Y_IRIS):
        fitted = clone(stack.final_estimator_).fit(Z[fit], Y_IRIS[fit])
        votes[held_out, fitted.predict(Z[held_out])] += 1
    table = stack.risk_table("accuracy").set_index("estimator")
    assert table.value["final_estimator"] == np.mean(votes.argmax(axis=1) == Y_IRIS)


def test_one_holdout_gives_no_cross_validated_figure():
    # The meta-learner needs rows with and rows without it; one fold has no other rows.
    cv = [(EVERY[::2], EVERY[1::2])]
    table = StackingClassifier([("b", GaussianNB())], cv=cv).fit(X_IRIS, Y_IRIS).risk_table()
    assert table.estimator.tolist() == ["b"]
    assert table.n.tolist() == [75]
    logistic = StackingClassifier([("b", GaussianNB())], LogisticRegression(), cv=cv)
    assert logistic.fit(X_IRIS, Y_IRIS).score(X_IRIS[1::2], Y_IRIS[1::2]) > 0.9
