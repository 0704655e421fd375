"""Base models that are fitted already: taken with stored out-of-fold predictions, or refused."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.stacking.estimators import StackingClassifier, StackingRegressor

X, Y = load_iris(return_X_y=True)
CLASSIFIERS = [("bayes", GaussianNB()), ("ridge", RidgeClassifier())]


def freeze(bases, X, y):
    return [(name, FrozenEstimator(clone(base).fit(X, y))) for name, base in bases]


def out_of_fold(bases, methods, X, y):
    pairs = zip(bases, methods, strict=True)
    return {name: cross_val_predict(base, X, y, method=method) for (name, base), method in pairs}


@pytest.mark.parametrize("final", ["logistic", LogisticRegression(C=10)])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("keep_features", [False, True])
def test_equals_the_refitted_stack_when_fed_its_predictions(load, final, keep_features):
    X, y = load(return_X_y=True)
    X, X_new, y, _ = train_test_split(X[:, :4] / 100, y, random_state=0)
    names = np.array(["u", "w", "v"])[y]
    refitted = StackingClassifier(CLASSIFIERS, final, keep_features=keep_features).fit(X, names)
    stored = out_of_fold(CLASSIFIERS, ["predict_proba", "decision_function"], X, names)
    frozen = StackingClassifier(
        freeze(CLASSIFIERS, X, names), final, refit=False, keep_features=keep_features
    )
    frozen.fit(X, names, oof_predictions=stored)
    np.testing.assert_array_equal(frozen.oof_meta_features_, refitted.oof_meta_features_)
    np.testing.assert_array_equal(frozen.predict_proba(X_new), refitted.predict_proba(X_new))
    np.testing.assert_array_equal(frozen.predict(X_new), refitted.predict(X_new))
    np.testing.assert_array_equal(frozen.transform(X), refitted.transform(X))
    assert frozen.meta_feature_names_ == refitted.meta_feature_names_


@pytest.mark.parametrize("load", [load_diabetes, load_linnerud])
def test_equals_the_refitted_regressor_when_fed_its_predictions(load):
    X, y = load(return_X_y=True)
    bases = [("line", LinearRegression()), ("near", KNeighborsRegressor(4))]
    refitted = StackingRegressor(bases, "convex").fit(X, y)
    stored = out_of_fold(bases, ["predict", "predict"], X, y)
    frozen = StackingRegressor(freeze(bases, X, y), "convex", refit=False)
    frozen.fit(X, y, oof_predictions=stored)
    np.testing.assert_array_equal(frozen.predict(X + 0.1), refitted.predict(X + 0.1))
    np.testing.assert_array_equal(frozen.fit_transform(X, y, oof_predictions=stored),
                                  refitted.oof_meta_features_)  # fmt: skip


def test_frozen_models_are_not_fitted_again_and_survive_clone():
    stored = out_of_fold(CLASSIFIERS[:1], ["predict_proba"], X, Y)
    bases = freeze(CLASSIFIERS[:1], X, Y)
    before = bases[0][1].estimator.theta_.copy()
    stack = StackingClassifier(bases, refit=False).fit(X, Y, oof_predictions=stored)
    assert stack.estimators_[0] is bases[0][1]
    copy = clone(stack).fit(X[::2], Y[::2], oof_predictions={"bayes": stored["bayes"][::2]})
    np.testing.assert_array_equal(copy.estimators_[0].theta_, before)


def test_rows_without_a_stored_prediction_take_no_part():
    stored = out_of_fold(CLASSIFIERS[:1], ["predict_proba"], X, Y)["bayes"]
    missing = np.arange(150) % 7 == 0
    holes = np.where(missing[:, None], np.nan, stored)
    stack = StackingClassifier(freeze(CLASSIFIERS[:1], X, Y), refit=False)
    stack.fit(X, Y, oof_predictions={"bayes": holes})
    by_hand = LogisticRegression().fit(stored[~missing, 1:], Y[~missing])
    np.testing.assert_array_equal(stack.final_estimator_.coef_, by_hand.coef_)
    np.testing.assert_array_equal(stack.has_oof_, ~missing)
    assert np.isnan(holes[missing]).all(), "the caller's array was changed"
    assert np.isnan(stack.transform(X[missing])).all()


def test_stored_predictions_are_copied():
    stored = out_of_fold(CLASSIFIERS[:1], ["predict_proba"], X, Y)
    stack = StackingClassifier(freeze(CLASSIFIERS[:1], X, Y), refit=False, drop_first=False)
    stack.fit(X, Y, oof_predictions=stored)
    before = stack.transform(X[:3]).copy()
    stored["bayes"][:] = 0
    np.testing.assert_array_equal(stack.transform(X[:3]), before)


class OtherOrder(GaussianNB):
    """Knows its classes in the opposite order, as models of other libraries may."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = self.classes_[::-1]
        return self

    def predict_proba(self, X):
        self.classes_ = self.classes_[::-1]
        probabilities = super().predict_proba(X)
        self.classes_ = self.classes_[::-1]
        return probabilities[:, ::-1]


class OtherSign(ClassifierMixin, BaseEstimator):
    """Its second class is the first one of the data."""

    def fit(self, X, y):
        self.ridge_ = RidgeClassifier().fit(X, y)
        self.classes_ = self.ridge_.classes_[::-1]
        return self

    def decision_function(self, X):
        return -self.ridge_.decision_function(X)

    def predict(self, X):
        return self.ridge_.predict(X)


def test_classes_in_another_order_are_aligned():
    new = X[::3] + 0.01
    straight = [("bayes", FrozenEstimator(GaussianNB().fit(X, Y)))]
    reverse = [("bayes", FrozenEstimator(OtherOrder().fit(X, Y)))]
    stored = out_of_fold(CLASSIFIERS[:1], ["predict_proba"], X, Y)["bayes"]
    expected = StackingClassifier(straight, refit=False).fit(
        X, Y, oof_predictions={"bayes": stored}
    )
    found = StackingClassifier(reverse, refit=False)
    found.fit(X, Y, oof_predictions={"bayes": stored[:, ::-1]})
    np.testing.assert_allclose(found.predict_proba(new), expected.predict_proba(new), rtol=1e-12)
    assert found.meta_feature_names_ == expected.meta_feature_names_


def test_a_binary_decision_for_the_other_class_is_aligned():
    rows = Y < 2
    y = np.array(["a", "b"])[Y[rows]]
    stored = cross_val_predict(RidgeClassifier(), X[rows], y, method="decision_function")
    plain = [("ridge", FrozenEstimator(RidgeClassifier().fit(X[rows], y)))]
    expected = StackingClassifier(plain, refit=False).fit(
        X[rows], y, oof_predictions={"ridge": stored}
    )
    other = [("ridge", FrozenEstimator(OtherSign().fit(X[rows], y)))]
    found = StackingClassifier(other, refit=False)
    found.fit(X[rows], y, oof_predictions={"ridge": -stored})
    np.testing.assert_array_equal(found.predict_proba(X[rows]), expected.predict_proba(X[rows]))


FITTED = GaussianNB().fit(X, Y)
PROBABILITY = {"bayes": np.full((150, 3), 1 / 3)}


class OnlyPredicts(DecisionTreeClassifier):
    predict_proba = property()


REFUSED = {
    "unfrozen": (
        [("bayes", FITTED)], {"refit": False}, PROBABILITY,
        "refit=False takes already-fitted base models: wrap bayes in sklearn.frozen",
    ),
    "frozen but never fitted": (
        [("bayes", FrozenEstimator(GaussianNB()))], {"refit": False}, PROBABILITY,
        "base model 'bayes': expected a fitted model .* got an unfitted GaussianNB; fit it first",
    ),
    "no stored predictions": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False}, None,
        r"may have seen these rows.*pass oof_predictions.* for bayes \(got none\)",
    ),
    "stored predictions of another model": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False}, {"tree": PROBABILITY["bayes"]},
        r"for bayes \(got tree\)",
    ),
    "fold models": (
        [("bayes", FrozenEstimator(FITTED))],
        {"refit": False, "member_predictions": "fold_mean"}, PROBABILITY,
        "member_predictions='fold_mean' needs the models of the folds",
    ),
    "too few rows": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False}, {"bayes": np.ones((9, 3)) / 3},
        r"oof_predictions\['bayes'\] has 9 rows, X has 150",
    ),
    "too few columns": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False}, {"bayes": np.ones(150)},
        r"oof_predictions\['bayes'\] has 1 column\(s\), expected 3; give what predict_proba gives",
    ),
    "nothing but NaN": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False},
        {"bayes": np.full((150, 3), np.nan)}, "hold no row without NaN",
    ),
    "a class without predictions": (
        [("bayes", FrozenEstimator(FITTED))], {"refit": False},
        {"bayes": np.where(Y[:, None] == 1, np.nan, 1 / 3 * np.ones((150, 3)))},
        "class '1' has no row with an out-of-fold prediction",
    ),
    "other classes": (
        [("bayes", FrozenEstimator(GaussianNB().fit(X, Y + 1)))], {"refit": False}, PROBABILITY,
        r"base model 'bayes' was fitted on the classes \[1, 2, 3\], the data have \[0, 1, 2\]",
    ),
    "labels only": (
        [("tree", FrozenEstimator(OnlyPredicts().fit(X, Y)))], {"refit": False}, {"tree": Y},
        "base model 'tree' gives labels only",
    ),
    "frozen but refitted": (
        [("bayes", FrozenEstimator(FITTED))], {}, None, r"bayes are or hold a frozen",
    ),
    "frozen at the end of a pipeline": (
        [("piped", make_pipeline(StandardScaler(), FrozenEstimator(FITTED)))], {}, None,
        r"piped are or hold a frozen",
    ),
    "frozen inside a calibration": (
        [("calibrated", CalibratedClassifierCV(FrozenEstimator(FITTED)))], {}, None,
        "calibrated are or hold a frozen",
    ),
    "stored predictions without use": (
        [("bayes", GaussianNB())], {}, PROBABILITY,
        "oof_predictions are used with refit=False only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_clear_line(name):
    bases, options, stored, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as refusal:
        StackingClassifier(bases, **options).fit(X, Y, oof_predictions=stored)
    assert "\n" not in str(refusal.value)


def test_a_frozen_preprocessing_step_is_no_fitted_model():
    # It may have been fitted on other rows; it predicts nothing.
    steps = make_pipeline(FrozenEstimator(PCA(2).fit(X)), GaussianNB())
    assert StackingClassifier([("piped", steps)]).fit(X, Y).score(X, Y) > 0.8


def test_infinite_stored_predictions_are_refused():
    stack = StackingRegressor([("r", FrozenEstimator(Ridge().fit(X, Y)))], refit=False)
    stored = np.where(np.arange(150) == 3, np.inf, 1.0)
    with pytest.raises(ValueError, match="infinity"):
        stack.fit(X, Y.astype(float), oof_predictions={"r": stored})


def test_no_cross_validated_figure_without_folds():
    stored = out_of_fold(CLASSIFIERS[:1], ["predict_proba"], X, Y)
    stack = StackingClassifier(freeze(CLASSIFIERS[:1], X, Y), refit=False)
    table = stack.fit(X, Y, oof_predictions=stored).risk_table()
    assert table[["estimator", "figure"]].values.tolist() == [["bayes", "out-of-fold"]]


@pytest.mark.parametrize(("model", "stored", "text"), [
    (LinearSVC(), lambda n: np.full((n, 2), 0.5), "2 column"),
    (GaussianNB(), lambda n: np.full((n, 2), 0.7), "sum 1"),
    (GaussianNB(), lambda n: np.tile([1.5, -0.5], (n, 1)), "from 0 to 1"),
])  # fmt: skip
def test_stored_predictions_of_another_kind_are_refused(model, stored, text):
    X, y = load_breast_cancer(return_X_y=True)
    frozen = [("model", FrozenEstimator(model.fit(X, y)))]
    with pytest.raises(InputError, match=text):
        StackingClassifier(frozen, refit=False).fit(X, y, oof_predictions={"model": stored(len(y))})


def test_a_row_with_any_missing_prediction_takes_no_part():
    X, y = load_breast_cancer(return_X_y=True)
    P = cross_val_predict(GaussianNB(), X, y, method="predict_proba")
    P[3, 0] = np.nan
    frozen = [("model", FrozenEstimator(GaussianNB().fit(X, y)))]
    stack = StackingClassifier(frozen, refit=False).fit(X, y, oof_predictions={"model": P})
    assert np.flatnonzero(~stack.has_oof_).tolist() == [3]
