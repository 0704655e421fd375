"""One base model: what it is asked for, how it is fitted on a fold, how folds are combined."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LassoCV, LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR

from starstack.errors import InputError
from starstack.stacking.members import (
    Member,
    align_classes,
    combine_folds,
    fit_argument,
    fit_arguments,
    fit_member,
    make_member,
    predict_member,
)


class OnlyPredicts(ClassifierMixin, BaseEstimator):
    """Says the class of the sign of the first column."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(np.asarray(X)[:, 0] > 0).astype(int)]


@pytest.mark.parametrize("estimator, method, kind", [
    (LogisticRegression(), "predict_proba", "probability"),
    (make_pipeline(StandardScaler(), LogisticRegression()), "predict_proba", "probability"),
    (SVC(probability=False), "decision_function", "decision"),
    (make_pipeline(StandardScaler(), LinearSVC()), "decision_function", "decision"),
    (RidgeClassifier(), "decision_function", "decision"),
    (OnlyPredicts(), "predict", "label"),
    (LinearRegression(), "predict", "value"),
])  # fmt: skip
def test_best_method_that_a_classifier_offers(estimator, method, kind):
    member = make_member(estimator, task="classification", n_outputs=2)
    assert (member.method, member.kind) == (method, kind)
    assert member.estimator is estimator


def test_an_estimator_of_one_target_is_wrapped_for_several():
    one = make_member(LinearSVR(), task="regression", n_outputs=1)
    several = make_member(LinearSVR(), task="regression", n_outputs=3)
    native = make_member(LinearRegression(), task="regression", n_outputs=3)
    assert isinstance(one.estimator, LinearSVR)
    assert isinstance(several.estimator, MultiOutputRegressor)
    assert isinstance(native.estimator, LinearRegression)
    frozen = FrozenEstimator(LinearSVR())
    assert make_member(frozen, task="regression", n_outputs=3).estimator is frozen


@pytest.mark.parametrize("estimator, argument", [
    (LogisticRegression(), "sample_weight"),
    (KNeighborsClassifier(), None),
    (make_pipeline(StandardScaler(), LogisticRegression()), "logisticregression__sample_weight"),
    (make_pipeline(StandardScaler(), KNeighborsClassifier()), None),
    (
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LinearSVC())),
        "pipeline__linearsvc__sample_weight",
    ),
    (make_pipeline(StandardScaler(), "passthrough"), None),
    (make_pipeline(StandardScaler(), None), None),
    (CalibratedClassifierCV(), "sample_weight"),
    (MultiOutputRegressor(LinearRegression()), "sample_weight"),
    (MultiOutputRegressor(LassoCV()), "sample_weight"),
    (MultiOutputRegressor(KNeighborsRegressor()), None),
    (MultiOutputRegressor(make_pipeline(LinearSVR())), "linearsvr__sample_weight"),
    (TransformedTargetRegressor(LinearRegression()), None),
])  # fmt: skip
def test_where_an_estimator_takes_sample_weights(estimator, argument):
    assert fit_argument(estimator, "sample_weight") == argument


def test_weights_of_the_fit_rows_arrive_and_count():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    y, weight = np.array([0.0, 5.0, 7.0, 1.0]), np.array([1.0, 9.0, 3.0, 2.0])
    rows = np.array([3, 0, 2])
    expected = LinearRegression().fit(X[rows], y[rows], sample_weight=weight[rows])
    for estimator in (LinearRegression(), make_pipeline(StandardScaler(), LinearRegression())):
        member = make_member(estimator, task="regression", n_outputs=1)
        fitted = fit_member(member, X, y, rows, weight)
        np.testing.assert_allclose(fitted.predict(X), expected.predict(X), rtol=1e-12)
        unweighted = fit_member(member, X, y, rows)
        assert np.abs(unweighted.predict(X) - expected.predict(X)).max() > 0.1


def test_fitting_leaves_the_given_estimator_unfitted():
    member = make_member(LinearRegression(), task="regression", n_outputs=1)
    fitted = fit_member(member, np.eye(3), np.arange(3.0))
    assert fitted is not member.estimator
    assert not hasattr(member.estimator, "coef_")


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_rows_of_a_fold_are_selected_from_any_container(container):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, size=20)
    fit_rows, held_out = np.arange(5, 20), np.array([4, 1, 0])
    member = make_member(LogisticRegression(), task="classification", n_outputs=2)
    fitted = fit_member(member, container(X), y, fit_rows)
    expected = LogisticRegression().fit(X[fit_rows], y[fit_rows]).predict_proba(X[held_out])
    found = predict_member(member, fitted, container(X), held_out)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_labels_become_one_hot_columns():
    member = make_member(OnlyPredicts(), task="classification", n_outputs=2)
    X, y = np.array([[-1.0], [2.0], [3.0]]), np.array([0, 1, 1])
    block = predict_member(member, fit_member(member, X, y), X)
    assert block.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_one_value_per_row_is_one_column():
    member = make_member(LinearRegression(), task="regression", n_outputs=1)
    X, y = np.arange(4.0)[:, None], np.arange(4.0)
    assert predict_member(member, fit_member(member, X, y), X).shape == (4, 1)


def test_classes_in_another_order_are_put_right():
    P = np.array([[0.1, 0.2, 0.7]])
    aligned = align_classes(P, ["c", "a", "b"], np.array(["a", "b", "c"]), "m")
    assert aligned.tolist() == [[0.2, 0.7, 0.1]]


def test_a_binary_decision_for_the_other_class_changes_its_sign():
    decision = np.array([[1.5], [-2.0]])
    assert align_classes(decision, ["b", "a"], ["a", "b"], "m").tolist() == [[-1.5], [2.0]]
    assert align_classes(decision, ["a", "b"], ["a", "b"], "m").tolist() == [[1.5], [-2.0]]


@pytest.mark.parametrize("own", [["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"]])
def test_a_model_of_other_classes_is_refused(own):
    with pytest.raises(InputError, match="base model 'm' was fitted on the classes"):
        align_classes(np.zeros((1, len(own))), own, ["a", "b", "c"], "m")


def test_folds_are_put_in_their_rows_and_repeats_averaged():
    folds = [
        (np.array([3, 0]), np.array([[1.0], [2.0]])),
        (np.array([0, 4]), np.array([[5.0], [6.0]])),
        (np.array([0]), np.array([[8.0]])),
    ]
    values, predicted = combine_folds(5, folds)
    np.testing.assert_array_equal(values, [[5.0], [np.nan], [np.nan], [1.0], [6.0]])
    assert predicted.tolist() == [True, False, False, True, True]


def test_a_single_prediction_is_kept_to_the_last_bit():
    # Whole numbers of a base model must not make the averages whole.
    values, _ = combine_folds(2, [(np.array([0]), np.array([[1]])), (np.array([0]), [[2]])])
    assert values[0, 0] == 1.5
    for dtype in (np.float32, np.float64):
        block = np.random.default_rng(0).normal(size=(4, 2)).astype(dtype)
        values, _ = combine_folds(4, [(np.arange(4), block)])
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, block)


def test_groups_reach_a_base_model_that_takes_them(recorded):
    groups = np.array(["u", "v", "v", "w"])
    X, y = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    for estimator in (recorded.Grouped(), recorded.Unweighted()):
        member = make_member(clone(estimator), task="classification", n_outputs=2)
        fit_member(member, X, y, np.array([0, 2, 3]), None, groups)
    assert recorded.log[0].groups.tolist() == ["u", "v", "w"]
    assert recorded.log[1].groups is None


class TakesGroups(ClassifierMixin, BaseEstimator):
    """Remembers what its fit was given."""

    def fit(self, X, y, sample_weight=None, groups=None):
        self.given_ = {"sample_weight": sample_weight, "groups": groups}
        return self


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_groups_and_weights_reach_a_model_in_pipelines(depth):
    estimator = TakesGroups()
    for _ in range(depth):
        estimator = make_pipeline(StandardScaler(), estimator)
    X, y, rows = np.arange(8.0)[:, None], np.arange(8) % 2, np.array([6, 1, 3])
    member = Member(estimator, "predict", "label", 2, 2)
    fitted = fit_member(member, X, y, rows, np.arange(8) + 0.5, np.arange(8) // 2)
    for _ in range(depth):
        fitted = fitted[-1]
    assert fitted.given_["sample_weight"].tolist() == [6.5, 1.5, 3.5]
    assert fitted.given_["groups"].tolist() == [3, 0, 1]
    assert fit_arguments(KNeighborsClassifier(), sample_weight=[1.0], groups=[1]) == {}
