"""The estimator passes scikit-learn's own checks, with no expected failure."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from starstack.projection.projected_logistic import ProjectedLogisticRegression


@parametrize_with_checks([ProjectedLogisticRegression()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
