"""Meta-learners by name, and what they are given when they are fitted."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge, RidgeClassifierCV, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline

from starstack.errors import InputError
from starstack.networks.estimators import KerasClassifier, KerasRegressor
from starstack.stacking.blends import BlendClassifier, BlendRegressor
from starstack.stacking.estimators import StackingRegressor
from starstack.stacking.layout import MetaColumn, MetaFeatureLayout
from starstack.stacking.meta_learners import (
    META_LEARNERS,
    build_meta_learner,
    cross_validated_predictions,
    fit_meta_learner,
)

TWO_CLASSES = MetaFeatureLayout(
    tuple(MetaColumn(m, "b", "probability") for m in ("m", "n")), ("a", "b")
)
ONE_TARGET = MetaFeatureLayout(tuple(MetaColumn(m, "y", "value") for m in ("m", "n")), ("y",))
RNG = np.random.default_rng(0)
Z = RNG.uniform(size=(30, 2))
Y = np.arange(30) % 2


@pytest.mark.parametrize("task, name, expected", [
    ("classification", "logistic", LogisticRegression),
    ("classification", "ridge", RidgeClassifierCV),
    ("regression", "ridge", RidgeCV),
    ("regression", "lasso", LassoCV),
    ("classification", "dense", KerasClassifier),
    ("regression", "dense", KerasRegressor),
    *(("classification", m, BlendClassifier) for m in ("convex", "nnls", "greedy", "best_single")),
    *(("regression", m, BlendRegressor) for m in ("convex", "nnls", "greedy", "best_single")),
    ("regression", "sklearn.ensemble.GradientBoostingRegressor", GradientBoostingRegressor),
    ("regression", "starstack.stacking.blends.BlendRegressor", BlendRegressor),
])  # fmt: skip
def test_names_and_paths(task, name, expected):
    built = build_meta_learner({"class": name}, task=task, seed=3)
    assert type(built) is expected
    if expected in (BlendClassifier, BlendRegressor) and "." not in name:
        assert built.method == name


def test_every_name_is_tried_above():
    assert {task: len(known) for task, known in META_LEARNERS.items()} == {
        "classification": 7, "regression": 7
    }  # fmt: skip


def test_parameters_seed_and_preprocessing_are_taken():
    built = build_meta_learner(
        {"class": "logistic", "params": {"C": 0.5}, "preprocess": ["standardize"]},
        task="classification",
        seed=11,
    )
    assert isinstance(built, Pipeline)
    assert (built[-1].C, built[-1].random_state) == (0.5, 11)
    greedy = build_meta_learner(
        {"class": "greedy", "params": {"max_selections": 4}}, task="regression"
    )
    assert (greedy.method, greedy.max_selections) == ("greedy", 4)


def test_a_name_works_whatever_packages_are_allowed():
    built = build_meta_learner(
        {"class": "logistic"}, task="classification", allowed_packages=["mine"]
    )
    assert isinstance(built, LogisticRegression)
    with pytest.raises(InputError):
        build_meta_learner(
            {"class": "sklearn.linear_model.Ridge"}, task="regression", allowed_packages=["mine"]
        )


@pytest.mark.parametrize("task, name, message", [
    ("regression", "logistic", "meta_learners.m: expected one of ridge, lasso.*got 'logistic'"),
    ("classification", "lasso", "expected one of logistic, ridge"),
    ("classification", "sklearn.linear_model.Ridge", "classification needs a classifier"),
    ("regression", "sklearn.linear_model.LogisticRegression", "regression needs a regressor"),
])  # fmt: skip
def test_a_meta_learner_of_another_task_is_refused(task, name, message):
    with pytest.raises(InputError, match=message) as refusal:
        build_meta_learner({"class": name}, task=task, where="meta_learners.m")
    assert "\n" not in str(refusal.value)


def test_a_fit_gets_the_arguments_that_it_has(recorded):
    weight, groups = np.arange(1.0, 31.0), np.arange(30) // 3
    for final in (recorded.Weighted(), recorded.Unweighted(), recorded.Grouped()):
        fit_meta_learner(final, Z, Y, layout=TWO_CLASSES, sample_weight=weight, groups=groups)
        assert not hasattr(final, "classes_")
    weighted, plain, grouped = recorded.log
    np.testing.assert_array_equal(weighted.sample_weight, weight)
    assert (weighted.groups, plain.sample_weight, plain.groups) == (None, None, None)
    np.testing.assert_array_equal(grouped.groups, groups)


def test_a_meta_learner_of_one_target_is_fitted_once_per_target():
    targets = np.column_stack([Z @ [1, 2], Z @ [0, 1]])
    layout = MetaFeatureLayout(ONE_TARGET.columns, ("u", "v"))
    fitted = fit_meta_learner(LassoCV(), Z, targets, layout=layout)
    assert isinstance(fitted, MultiOutputRegressor)
    assert isinstance(fit_meta_learner(Ridge(), Z, targets, layout=layout), Ridge)
    stack = StackingRegressor([("r", Ridge())], cv=3)
    assert isinstance(fit_meta_learner(stack, Z, targets, layout=layout), StackingRegressor)


@pytest.mark.parametrize("final", [LogisticRegression(), BlendClassifier()])
def test_a_class_without_rows_is_refused(final):
    layout = MetaFeatureLayout(TWO_CLASSES.columns, ("a", "b", "c"))
    with pytest.raises(InputError, match="class 'c' has no row with an out-of-fold prediction"):
        fit_meta_learner(final, Z, Y, layout=layout)


def test_cross_validation_leaves_out_the_row_itself():
    folds = [(np.arange(10, 30), np.arange(10)), (np.arange(10), np.arange(10, 20))]
    y = Z @ [1, 2] + RNG.normal(size=30)
    found, predicted = cross_validated_predictions(
        Ridge(), Z, y, folds, method="predict", layout=ONE_TARGET
    )
    expected = np.concatenate([
        Ridge().fit(Z[10:], y[10:]).predict(Z[:10]),
        Ridge().fit(Z[:10], y[:10]).predict(Z[10:20]),
        np.full(10, np.nan),
    ])  # fmt: skip
    np.testing.assert_array_equal(found, expected)
    assert predicted.tolist() == [True] * 20 + [False] * 10


def test_each_fold_gets_the_weights_and_groups_of_its_rows(recorded):
    weight, groups = np.arange(1.0, 31.0), np.arange(30) // 3
    folds = [(np.arange(10, 30), np.arange(10)), (np.arange(10), np.arange(10, 30))]
    for final in (recorded.Weighted(), recorded.Grouped()):
        cross_validated_predictions(
            final, Z, Y, folds, method="predict_proba", layout=TWO_CLASSES, sample_weight=weight,
            groups=groups,
        )  # fmt: skip
    for (fit, _), weighted, grouped in zip(folds, recorded.log[:2], recorded.log[2:], strict=True):
        np.testing.assert_array_equal(weighted.sample_weight, weight[fit])
        np.testing.assert_array_equal(grouped.groups, groups[fit])


def test_rows_without_meta_features_are_neither_fitted_nor_predicted():
    holes = Z.copy()
    holes[[0, 12, 13]] = np.nan
    y = Z @ [1, 2]
    folds = [(np.arange(10, 30), np.arange(10)), (np.arange(10), np.arange(10, 30))]
    found, predicted = cross_validated_predictions(
        Ridge(), holes, y, folds, method="predict", layout=ONE_TARGET
    )
    assert np.flatnonzero(~predicted).tolist() == [0, 12, 13]
    kept = np.setdiff1d(np.arange(10, 30), [12, 13])
    np.testing.assert_array_equal(found[1:10], Ridge().fit(Z[kept], y[kept]).predict(Z[1:10]))


def test_a_kept_feature_may_be_missing():
    layout = MetaFeatureLayout((*TWO_CLASSES.columns, MetaColumn("", "x0", "feature")), ("a", "b"))
    wide = np.column_stack([Z, np.where(np.arange(30) == 4, np.nan, 1.0)])
    folds = [(np.arange(15, 30), np.arange(15)), (np.arange(15), np.arange(15, 30))]
    found, predicted = cross_validated_predictions(
        HistGradientBoostingClassifier(max_iter=2), wide, Y, folds, method="predict_proba",
        layout=layout,
    )  # fmt: skip
    assert predicted.all()
    assert np.isfinite(found).all()


def test_folds_that_lack_a_class_or_rows_are_left_out():
    folds = [(np.arange(1, 30, 2), np.arange(0, 10, 2)), (np.arange(10, 30), np.arange(0, 10, 2)),
             (np.arange(0), np.arange(10, 20))]  # fmt: skip
    found, predicted = cross_validated_predictions(
        LogisticRegression(), Z, Y, folds, method="predict_proba", layout=TWO_CLASSES
    )
    expected = LogisticRegression().fit(Z[10:], Y[10:]).predict_proba(Z[0:10:2])
    np.testing.assert_array_equal(found[0:10:2], expected)
    assert predicted.sum() == 5


@pytest.mark.parametrize("final, shape", [(LogisticRegression(), (30, 2)), (Ridge(), (30,))])
def test_nothing_predicted_is_nan_of_the_right_shape(final, shape):
    layout = TWO_CLASSES if shape == (30, 2) else ONE_TARGET
    method = "predict_proba" if shape == (30, 2) else "predict"
    found, predicted = cross_validated_predictions(
        final, np.full((30, 2), np.nan), Y, [(np.arange(15), np.arange(15, 30))], method=method,
        layout=layout,
    )  # fmt: skip
    assert found.shape == shape
    assert np.isnan(found).all()
    assert not predicted.any()


def test_a_target_of_small_unit_is_not_ruined_by_one_of_large_unit():
    """Temperatures in K and metallicities in dex: one penalty for both would shrink the latter."""
    rng = np.random.default_rng(1)
    n = 400
    truth = np.column_stack([rng.normal(5000, 500, n), rng.normal(0, 0.3, n)])
    noise = np.array([60.0, 0.05])
    bases = [truth + noise * rng.standard_normal((n, 2)) for _ in range(2)]
    Z = np.hstack(bases)
    model = build_meta_learner({"class": "ridge"}, task="regression").fit(Z[:200], truth[:200])
    error = np.sqrt(np.mean((model.predict(Z[200:]) - truth[200:]) ** 2, axis=0))
    best = np.sqrt(np.mean((bases[0][200:] - truth[200:]) ** 2, axis=0))
    # The mean of two is better by 1/sqrt(2).
    assert (error < 0.85 * best).all()
