"""Both estimators pass scikit-learn's own checks, with no expected failure."""

from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from starstack.stacking.estimators import StackingClassifier, StackingRegressor

# As scikit-learn sets up its own stacks for these checks.
CLASSIFIERS = [
    ("est1", DecisionTreeClassifier(max_depth=3, random_state=0)),
    ("est2", DecisionTreeClassifier(max_depth=3, random_state=1)),
]
REGRESSORS = [
    ("est1", DecisionTreeRegressor(max_depth=3, random_state=0)),
    ("est2", DecisionTreeRegressor(max_depth=3, random_state=1)),
]


@parametrize_with_checks(
    [
        StackingClassifier(CLASSIFIERS, cv=3),
        StackingClassifier(CLASSIFIERS, LogisticRegression(), cv=3, drop_first=False),
        StackingClassifier(CLASSIFIERS, "convex", cv=3, member_predictions="fold_mean"),
        StackingClassifier(CLASSIFIERS, cv=3, keep_features=True),
        StackingRegressor(REGRESSORS, cv=3),
        StackingRegressor(REGRESSORS, "convex", cv=3, member_predictions="fold_mean"),
        StackingRegressor(REGRESSORS, Ridge(), cv=3, keep_features=True),
        # Bases that heed weights in another way than shallow trees do.
        StackingRegressor([("ridge", Ridge()), ("line", LinearRegression())], "convex", cv=3),
        StackingClassifier([("bayes", GaussianNB()), ("line", LogisticRegression())], cv=3),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
