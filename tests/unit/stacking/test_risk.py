"""Risk tables against scikit-learn's metrics on predictions made by hand."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.stacking.blends import BlendClassifier
from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.folds import check_folds
from starstack.stacking.risk import member_codes

CLASSIFIERS = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(9))]
LABEL_METRICS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
}
PROBABILITY_METRICS = {
    "log_loss": metrics.log_loss,
    "brier": lambda y, p: metrics.brier_score_loss(y, p[:, 1]),
    "roc_auc": lambda y, p: metrics.roc_auc_score(y, p[:, 1]),
}
VALUE_METRICS = {
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}
COLUMNS = ["estimator", "role", "figure", "metric", "output", "value", "standard_error", "n"]


@pytest.mark.parametrize("drop_first", [True, False])
@pytest.mark.parametrize("metric", [*LABEL_METRICS, *PROBABILITY_METRICS])
def test_classifiers_and_their_meta_learner(metric, drop_first):
    X, y = (part[:200] for part in load_breast_cancer(return_X_y=True))
    names = np.array(["malignant", "benign"])[y]
    codes = (names == "malignant").astype(int)
    stack = StackingClassifier(CLASSIFIERS, GaussianNB(), drop_first=drop_first).fit(X, names)
    table = stack.risk_table(metric).set_index("estimator")

    def expected(probabilities):
        if metric in LABEL_METRICS:
            return LABEL_METRICS[metric](codes, probabilities.argmax(axis=1))
        return PROBABILITY_METRICS[metric](codes, probabilities)

    P = {name: cross_val_predict(b, X, names, method="predict_proba") for name, b in CLASSIFIERS}
    # A probability below 1e-12 that is restored from the others has lost its last digits.
    rtol = 1e-3 if drop_first and metric == "log_loss" else 1e-12
    for name, probabilities in P.items():
        np.testing.assert_allclose(table.value[name], expected(probabilities), rtol=rtol)
    first = int(drop_first)
    Z = np.hstack([block[:, first:] for block in P.values()])
    crossed = cross_val_predict(GaussianNB(), Z, names, method="predict_proba")
    np.testing.assert_allclose(table.value["final_estimator"], expected(crossed), rtol=1e-12)

    assert table.reset_index().columns.tolist() == COLUMNS
    assert table.role.tolist() == ["base", "base", "meta"]
    assert table.figure.tolist() == ["out-of-fold", "out-of-fold", "cross-validated"]
    assert table.metric.unique().tolist() == [metric]
    assert table.output.tolist() == [""] * 3
    assert table.n.tolist() == [200] * 3
    assert (table.standard_error > 0).all()


def test_three_classes_by_accuracy_and_log_loss():
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS).fit(X, y)
    P = cross_val_predict(KNeighborsClassifier(9), X, y, method="predict_proba")
    value = stack.risk_table("log_loss").set_index("estimator").value
    np.testing.assert_allclose(value["near"], metrics.log_loss(y, P), rtol=1e-10)
    value = stack.risk_table("accuracy").set_index("estimator").value
    assert value["near"] == np.mean(P.argmax(axis=1) == y)
    # The area under the curve is of two classes.
    table = stack.risk_table("roc_auc")
    assert table.value.isna().all()
    assert table.columns.tolist() == COLUMNS


def test_standard_error_of_an_accuracy_is_that_of_a_share():
    X, y = load_iris(return_X_y=True)
    row = StackingClassifier(CLASSIFIERS).fit(X, y).risk_table("accuracy").iloc[0]
    np.testing.assert_allclose(row.standard_error, np.sqrt(row.value * (1 - row.value) / 150))


@pytest.mark.parametrize("metric", VALUE_METRICS)
def test_regressors_and_their_meta_learner(metric):
    X, y = load_diabetes(return_X_y=True)
    bases = [("ridge", Ridge(0.1)), ("near", KNeighborsRegressor(9))]
    cv = KFold(4, shuffle=True, random_state=0)
    table = StackingRegressor(bases, Ridge(), cv=cv).fit(X, y).risk_table(metric)
    columns = [cross_val_predict(base, X, y, cv=cv) for _, base in bases]
    columns.append(cross_val_predict(Ridge(), np.column_stack(columns), y, cv=cv))
    expected = [VALUE_METRICS[metric](y, column) for column in columns]
    np.testing.assert_allclose(table.value, expected, rtol=1e-12)


def test_default_metrics_are_proper_for_the_task():
    X, y = load_iris(return_X_y=True)
    assert set(StackingClassifier(CLASSIFIERS).fit(X, y).risk_table().metric) == {"log_loss"}
    assert set(StackingRegressor([("r", Ridge())]).fit(X, y).risk_table().metric) == {"rmse"}


def test_repeated_folds_average_the_meta_learner_too():
    X, y = load_diabetes(return_X_y=True)
    cv = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    stack = StackingRegressor([("near", KNeighborsRegressor(9))], Ridge(), cv=cv).fit(X, y)
    Z, total = stack.oof_meta_features_, np.zeros(len(y))
    for fit, held_out in cv.split(X):
        total[held_out] += Ridge().fit(Z[fit], y[fit]).predict(Z[held_out])
    value = stack.risk_table("mae").set_index("estimator").value["final_estimator"]
    np.testing.assert_allclose(value, np.abs(y - total / 2).mean(), rtol=1e-12)


def test_models_without_probabilities_have_an_accuracy_and_no_log_loss():
    X, y = load_breast_cancer(return_X_y=True)
    bases = [("svc", LinearSVC(random_state=0)), ("bayes", GaussianNB())]
    stack = StackingClassifier(bases, RidgeClassifier(), cv=3).fit(X, y)
    decision = cross_val_predict(bases[0][1], X, y, cv=3, method="decision_function")
    table = stack.risk_table("accuracy").set_index("estimator")
    assert table.value["svc"] == np.mean((decision > 0) == y)
    Z = stack.oof_meta_features_
    crossed = cross_val_predict(RidgeClassifier(), Z, y, cv=3)
    assert table.value["final_estimator"] == np.mean(crossed == y)
    # Nobody is left out in silence: what gives no probability has a row without a value.
    table = stack.risk_table("log_loss").set_index("estimator")
    assert table.index.tolist() == ["svc", "bayes", "final_estimator"]
    assert table.value.notna().tolist() == [False, True, False]


def test_every_base_model_of_three_classes_has_a_risk():
    X, y = load_iris(return_X_y=True)
    bases = [("svc", LinearSVC(random_state=0)), ("bayes", GaussianNB())]
    table = StackingClassifier(bases, cv=3).fit(X, y).risk_table("accuracy").set_index("estimator")
    expected = cross_val_predict(bases[0][1], X, y, cv=3)
    assert table.value["svc"] == np.mean(expected == y)


@pytest.mark.parametrize("method", ["convex", "nnls", "greedy", "best_single"])
def test_blends_are_cross_validated_over_the_stored_predictions(method):
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS, method).fit(X, y)
    crossed = np.zeros((150, 3))
    for fit, held_out in stack._training.folds:
        blend = BlendClassifier(method)
        blend.fit(stack.oof_meta_features_[fit], y[fit], layout=stack.layout_)
        crossed[held_out] = blend.predict_proba(stack.oof_meta_features_[held_out])
    value = stack.risk_table("log_loss").set_index("estimator").value["final_estimator"]
    np.testing.assert_allclose(value, metrics.log_loss(y, crossed), rtol=1e-10)


def test_rows_of_a_group_are_counted_together():
    X, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y)) // 4
    stack = StackingRegressor([("near", KNeighborsRegressor(9))], Ridge()).fit(X, y, groups)
    row = stack.risk_table("mae").iloc[0]
    error = np.abs(
        y - cross_val_predict(KNeighborsRegressor(9), X, y, groups=groups, cv=GroupKFold())
    )
    sums = np.bincount(groups, error - error.mean())
    np.testing.assert_allclose(row.standard_error, np.sqrt((sums**2).sum()) / len(y), rtol=1e-10)


def test_out_of_fold_risk_is_not_the_risk_in_sample():
    X, y = load_breast_cancer(return_X_y=True)
    stack = StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))]).fit(X, y)
    assert clone(stack.estimators[0][1]).fit(X, y).score(X, y) == 1.0
    assert stack.risk_table("accuracy").value[0] < 0.96


@pytest.mark.parametrize("metric", ["rmse", "r2", "mean"])
def test_a_metric_of_another_task_is_refused(metric):
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier(CLASSIFIERS).fit(X, y)
    with pytest.raises(InputError, match=r"metric must be one of accuracy.* for classification"):
        stack.risk_table(metric)
    with pytest.raises(
        InputError, match=r"metric must be one of r2.* for regression; got 'log_loss'"
    ):
        StackingRegressor([("r", Ridge())]).fit(X, y).risk_table("log_loss")


def test_folds_of_regression_may_hold_out_anything():
    everything = np.arange(6)
    check_folds([(everything[:3], everything[3:])], np.zeros(6))
    with pytest.raises(InputError, match="fold 1: row 2 is both"):
        check_folds([(everything[:3], everything[2:])], np.zeros(6))


def test_codes_of_columns():
    assert member_codes(np.array([[0.2, 0.5, 0.3]]), "probability").tolist() == [1]
    assert member_codes(np.array([[-0.1], [0.1]]), "decision").tolist() == [0, 1]
    assert member_codes(np.array([[0.0], [9.0]]), "value") is None
