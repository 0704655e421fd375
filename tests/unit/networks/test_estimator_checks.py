"""The checks that scikit-learn holds every estimator to, without an expected failure."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from starstack.networks.estimators import KerasClassifier, KerasRegressor

# Weights equal repetitions only where a step sees all rows, and only to rounding: double
# precision holds it to the checks' 1e-7.
EXACT = {
    "build_params": {"units": [8]},
    "batch_size": None,
    "epochs": 40,
    "learning_rate": 0.1,
    "validation_fraction": 0.0,
    "dtype": "float64",
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([KerasClassifier(**EXACT), KerasRegressor(**EXACT)])
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)
