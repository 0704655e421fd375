"""The estimators as scikit-learn's users know estimators: labels, frames, parameters, refusals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.models.persistence import dump_models, load_models
from starstack.stacking.estimators import StackingClassifier, StackingRegressor

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
BASES = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=0))]


class OnlyPredicts(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest, without a probability."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.array([np.asarray(X)[y == c].mean(axis=0) for c in self.classes_])
        return self

    def predict(self, X):
        distance = ((np.asarray(X)[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distance.argmin(axis=1)]


@pytest.mark.parametrize("labels", [
    NAMES, NAMES.astype(object), pd.Series(NAMES), pd.Categorical(NAMES), Y * 10 - 3,
    NAMES.tolist(),
])  # fmt: skip
def test_labels_of_any_kind_come_back(labels):
    stack = StackingClassifier(BASES).fit(X, labels)
    plain = StackingClassifier(BASES).fit(X, Y)
    expected = np.unique(np.asarray(labels))
    np.testing.assert_array_equal(stack.classes_, expected)
    np.testing.assert_array_equal(stack.predict(X), expected[plain.predict(X)])
    np.testing.assert_array_equal(stack.predict_proba(X), plain.predict_proba(X))
    assert stack.score(X, labels) == plain.score(X, Y)
    assert stack.meta_feature_names_[0] == f"bayes__{expected[1]}"


def test_two_labels_of_truth():
    X, y = load_breast_cancer(return_X_y=True)
    stack = StackingClassifier(BASES).fit(X, y == 1)
    assert stack.meta_feature_names_ == ["bayes__True", "tree__True"]
    assert stack.predict(X[:3]).dtype == bool
    np.testing.assert_array_equal(stack.decision_function(X) > 0, stack.predict(X))


def test_bases_without_probabilities():
    bases = [
        ("svc", make_pipeline(StandardScaler(), LinearSVC(random_state=0))),
        ("ridge", RidgeClassifier()),
        ("nearest", OnlyPredicts()),
    ]
    stack = StackingClassifier(bases, drop_first=False).fit(X, NAMES)
    assert stack.stack_method_ == ["decision_function", "decision_function", "predict"]
    svc = cross_val_predict(bases[0][1], X, NAMES, method="decision_function")
    ridge = cross_val_predict(bases[1][1], X, NAMES, method="decision_function")
    nearest = cross_val_predict(OnlyPredicts(), X, NAMES)
    one_hot = (nearest[:, None] == np.unique(NAMES)).astype(float)
    np.testing.assert_array_equal(stack.oof_meta_features_, np.hstack([svc, ridge, one_hot]))
    assert stack.score(X, NAMES) > 0.95


def test_a_regressor_as_base_of_a_classifier_fits_the_codes():
    stack = StackingClassifier([("line", LinearRegression())]).fit(X, NAMES)
    expected = cross_val_predict(LinearRegression(), X, Y, cv=stack._training.folds)
    np.testing.assert_array_equal(stack.oof_meta_features_[:, 0], expected)
    assert stack.meta_feature_names_ == ["line__value"]


def test_a_frame_goes_in_and_its_names_come_out():
    frame = pd.DataFrame(X, columns=["sepal_l", "sepal_w", "petal_l", "petal_w"])
    final = LinearDiscriminantAnalysis()
    stack = StackingClassifier(BASES, final, keep_features=True).fit(frame, NAMES)
    assert stack.feature_names_in_.tolist() == frame.columns.tolist()
    assert stack.n_features_in_ == 4
    assert stack.meta_feature_names_[-4:] == frame.columns.tolist()
    assert stack.estimators_[0].feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(
        stack.predict_proba(frame),
        StackingClassifier(BASES, final, keep_features=True).fit(X, NAMES).predict_proba(X),
    )
    with pytest.raises(ValueError, match="feature names should match"):
        stack.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        stack.predict(frame.iloc[:, :2])


def test_a_base_model_sees_a_subset_of_the_columns_by_name():
    frame = pd.DataFrame(X, columns=["sepal_l", "sepal_w", "petal_l", "petal_w"])
    sepal = make_pipeline(make_column_transformer(("passthrough", ["sepal_l", "sepal_w"])),
                          GaussianNB())  # fmt: skip
    stack = StackingClassifier([("sepal", sepal), ("all", GaussianNB())]).fit(frame, Y)
    expected = cross_val_predict(GaussianNB(), X[:, :2], Y, method="predict_proba")[:, 1:]
    np.testing.assert_array_equal(stack.oof_meta_features_[:, :2], expected)
    np.testing.assert_array_equal(
        stack.estimators_[0][-1].theta_, GaussianNB().fit(X[:, :2], Y).theta_
    )
    assert np.abs(stack.oof_meta_features_[:, :2] - stack.oof_meta_features_[:, 2:]).max() > 0.1


@pytest.mark.parametrize("inner_final", ["convex", LogisticRegression()])
def test_two_levels(inner_final):
    inner = StackingClassifier(
        [("near", KNeighborsClassifier(5)), ("bayes", GaussianNB())], inner_final, cv=3
    )
    stack = StackingClassifier(BASES, inner).fit(X, NAMES)
    by_hand = clone(inner).fit(stack.oof_meta_features_, Y)
    Z = stack.transform(X + 0.001)
    np.testing.assert_array_equal(stack.predict_proba(X + 0.001), by_hand.predict_proba(Z))
    assert stack.score(X, NAMES) > 0.9
    assert stack.risk_table("accuracy").estimator.tolist() == ["bayes", "tree", "final_estimator"]


def test_estimators_given_are_left_unfitted():
    base, final = GaussianNB(), LogisticRegression()
    StackingClassifier([("a", base), ("b", base)], final).fit(X, Y)
    assert not hasattr(base, "theta_")
    assert not hasattr(final, "coef_")


def test_parameters_reach_into_base_models_and_meta_learner():
    stack = clone(StackingClassifier(BASES, LogisticRegression()))
    assert stack.get_params()["tree__max_depth"] == 2
    assert stack.get_params(deep=False)["cv"] == 5
    stack.set_params(tree__max_depth=1, final_estimator__C=7, drop_first=False)
    assert (stack.named_estimators["tree"].max_depth, stack.final_estimator.C) == (1, 7)
    stack.set_params(tree=KNeighborsClassifier(3))
    assert isinstance(stack.estimators[1][1], KNeighborsClassifier)
    copy = clone(stack.fit(X, Y))
    assert not hasattr(copy, "estimators_")
    assert copy.get_params()["final_estimator__C"] == 7


def test_grid_search_and_cross_validation_of_the_whole_stack():
    stack = StackingClassifier(BASES, LogisticRegression(), cv=3)
    search = GridSearchCV(stack, {"final_estimator__C": [1e-4, 10.0], "tree__max_depth": [1]}, cv=3)
    assert search.fit(X, NAMES).best_params_["final_estimator__C"] == 10.0
    assert cross_val_score(stack, X, NAMES, cv=3).min() > 0.85


def test_fitting_twice_gives_the_same_and_forgets_the_first():
    stack = StackingClassifier(BASES)
    first = stack.fit(X, Y).predict_proba(X)
    stack.fit(X[:100], Y[:100])
    assert stack.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(stack.fit(X, Y).predict_proba(X), first)


def test_fitted_models_are_known_by_name():
    stack = StackingClassifier(BASES).fit(X, Y)
    assert stack.named_estimators_["bayes"] is stack.estimators_[0]
    means = stack.set_params(member_predictions="fold_mean").fit(X, Y)
    assert len(means.estimators_[0]) == len(means.named_estimators_["bayes"]) == 5


def test_methods_are_those_of_the_meta_learner():
    ridge = StackingClassifier(BASES, "ridge")
    assert not hasattr(ridge, "predict_proba")
    assert hasattr(ridge, "decision_function")
    assert not hasattr(ridge.fit(X, Y), "predict_proba")
    convex = StackingClassifier(BASES, "convex")
    assert hasattr(convex, "predict_proba")
    assert not hasattr(convex, "decision_function")
    assert is_classifier(convex)
    assert is_regressor(StackingRegressor([("r", Ridge())]))


def test_before_fit_nothing_can_be_asked():
    stack = StackingClassifier(BASES)
    for ask in (
        lambda: stack.predict(X),
        lambda: stack.transform(X),
        lambda: stack.get_feature_names_out(),
        lambda: stack.risk_table(),
        lambda: stack.describe(),
    ):
        with pytest.raises(NotFittedError):
            ask()


@pytest.mark.parametrize("options", [
    {}, {"final_estimator": "convex"}, {"final_estimator": LogisticRegression(C=3)},
    {"member_predictions": "fold_mean"},
    {"keep_features": True, "final_estimator": LinearDiscriminantAnalysis()},
])  # fmt: skip
def test_a_classifier_survives_its_file(tmp_path, options):
    stack = StackingClassifier(BASES, **options).fit(X, NAMES, sample_weight=np.ones(150))
    dump_models({"stack": stack}, tmp_path / "stack.skops", {})
    loaded = load_models(tmp_path / "stack.skops")["stack"]
    new = np.vstack([X[:5], X[:5] + 0.01])
    np.testing.assert_array_equal(loaded.predict_proba(new), stack.predict_proba(new))
    np.testing.assert_array_equal(loaded.transform(new), stack.transform(new))
    pd.testing.assert_frame_equal(loaded.weights_, stack.weights_)
    pd.testing.assert_frame_equal(loaded.risk_table(), stack.risk_table())


def test_a_regressor_survives_its_file(tmp_path):
    stack = StackingRegressor([("ridge", Ridge())], "convex").fit(X[:, :2], X[:, 2:])
    dump_models({"stack": stack}, tmp_path / "stack.skops", {})
    loaded = load_models(tmp_path / "stack.skops")["stack"]
    np.testing.assert_array_equal(loaded.predict(X[:, :2]), stack.predict(X[:, :2]))
    assert loaded.describe() == stack.describe()


def test_page_for_notebooks_names_every_model():
    page = StackingClassifier(BASES, "convex")._repr_html_()
    assert all(word in page for word in ("bayes", "GaussianNB", "DecisionTreeClassifier", "convex"))


REFUSED = {
    "no estimators": (dict(estimators=[]), Y, "expected a list of .* got an empty list"),
    "no pairs": (dict(estimators=[GaussianNB()]), Y, "got a GaussianNB in it"),
    "the word drop": (
        dict(estimators=[("a", "drop"), BASES[0]]), Y, "base model 'a': expected an estimator"
    ),
    "a transformer": (
        dict(estimators=[("a", StandardScaler())]), Y, "base model 'a': expected an estimator"
    ),
    "two of one name": (
        dict(estimators=[("a", GaussianNB()), ("a", GaussianNB())]), Y, "not unique"
    ),
    "a name with __": (dict(estimators=[("a__b", GaussianNB())]), Y, "must not contain __"),
    "the name of an option": (dict(estimators=[("cv", GaussianNB())]), Y, "conflict with"),
    "an unknown meta-learner": (
        dict(final_estimator="mean"), Y, "expected one of logistic, ridge, dense.*got 'mean'"
    ),
    "a regressor as meta-learner": (
        dict(final_estimator=Ridge()), Y, "'final_estimator' parameter should be a classifier"
    ),
    "a wrong option": (dict(member_predictions="mean"), Y, "'member_predictions' parameter"),
    "a wrong cv": (dict(cv="prefit"), Y, "'cv' parameter"),
    "one class only": (dict(), np.array(["a"] * 150), "one class only \\('a'\\).*at least two"),
    "several labels per row": (dict(), np.ones((150, 2), int), "several labels per row"),
    "values as labels": (dict(), X[:, 0], "Unknown label type: continuous"),
    "too few labels": (dict(), Y[:100], "X has 150 rows, y has 100"),
    "no labels": (dict(), None, "requires y to be passed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_come_before_any_fit(recorded, name):
    options, y, message = REFUSED[name]
    options = {"estimators": [("first", recorded.Weighted())], **options}
    with pytest.raises(ValueError, match=message) as refusal:
        StackingClassifier(**options).fit(X, y)
    assert recorded.log == []
    assert "\n" not in str(refusal.value)


def test_a_regression_stack_refuses_classifiers(recorded):
    y = X[:, 0].round()
    bases = [("first", recorded.WeightedRegressor()), ("tree", DecisionTreeClassifier())]
    with pytest.raises(InputError, match="base model 'tree': expected a regressor"):
        StackingRegressor(bases).fit(X, y)
    with pytest.raises(InputError, match=r"should be a regressor. Got LogisticRegression"):
        StackingRegressor(bases[:1], LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        StackingRegressor(bases[:1]).fit(X, np.where(Y == 0, np.nan, 1.0))
    assert recorded.log == []


def test_kept_features_must_be_finite_where_the_meta_learner_needs_it(recorded):
    holes = X.copy()
    holes[3, 1] = np.nan
    tree = [("tree", DecisionTreeClassifier(random_state=0))]
    assert StackingClassifier(tree).fit(holes, Y).score(holes, Y) > 0.9
    stack = StackingClassifier(tree, keep_features=True).fit(X, Y)
    for ask in (lambda: clone(stack).fit(holes, Y), lambda: stack.predict(holes)):
        with pytest.raises(ValueError, match="contains NaN"):
            ask()
    unfit = StackingClassifier([("first", recorded.Weighted())], keep_features=True)
    with pytest.raises(ValueError, match="contains NaN"):
        unfit.fit(holes, Y)
    assert recorded.log == []
    both = StackingClassifier(tree, DecisionTreeClassifier(random_state=0), keep_features=True)
    assert both.fit(holes, Y).score(holes, Y) > 0.9


class PredictsNan(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), np.nan)


@pytest.mark.parametrize("final", ["best_single", "greedy", "ridge"])
def test_a_base_model_that_predicts_nan_is_named(final):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(InputError, match="base model 'bad', fold 1: predicts NaN"):
        StackingRegressor([("good", Ridge()), ("bad", PredictsNan())], final).fit(X, y)


@pytest.mark.parametrize("name", ["", "  ", 3, "a\nb"])
def test_a_name_that_cannot_be_a_column_is_refused(name):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(InputError, match="printable text as name"):
        StackingRegressor([(name, Ridge())]).fit(X, y)


def test_a_kept_feature_named_like_a_meta_feature_is_refused():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X = X.rename(columns={"age": "a__y"})
    with pytest.raises(InputError, match="'a__y' is named like a meta-feature"):
        StackingRegressor([("a", Ridge())], keep_features=True).fit(X, y)


def test_missing_groups_are_refused():
    X, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y), dtype=float)
    groups[7] = np.nan
    with pytest.raises(InputError, match="row 7 has none"):
        StackingRegressor([("a", Ridge())], cv=3).fit(X, y, groups=groups)
