"""Estimators that write down what they are given."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin


@pytest.fixture
def recorded():
    """Estimators that log every fit, and the log.

    ``Weighted`` and ``Unweighted`` predict the share of each class (or the mean), with and
    without a ``sample_weight`` argument of ``fit``.
    """
    log = []

    class Base(BaseEstimator):
        def __init__(self, tag=""):
            self.tag = tag

        def _learn(self, X, y, sample_weight, groups=None):
            log.append(
                SimpleNamespace(tag=self.tag, X=X, y=y, sample_weight=sample_weight, groups=groups)
            )
            self.mean_ = np.average(y, axis=0, weights=sample_weight)
            return self

    class Classifier(ClassifierMixin, Base):
        def predict(self, X):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]

        def predict_proba(self, X):
            return np.tile(self.share_, (len(X), 1))

        def _learn(self, X, y, sample_weight, groups=None):
            self.classes_, codes = np.unique(y, return_inverse=True)
            super()._learn(X, codes, sample_weight, groups)
            self.share_ = (
                np.bincount(codes, sample_weight) / np.bincount(codes, sample_weight).sum()
            )
            return self

    class Regressor(RegressorMixin, Base):
        def predict(self, X):
            return np.broadcast_to(self.mean_, (len(X), *np.shape(self.mean_))).copy()

    class Weighted(Classifier):
        def fit(self, X, y, sample_weight=None):
            return self._learn(X, y, sample_weight)

    class Unweighted(Classifier):
        def fit(self, X, y):
            return self._learn(X, y, None)

    class Grouped(Classifier):
        def fit(self, X, y, groups=None):
            return self._learn(X, y, None, groups)

    class WeightedRegressor(Regressor):
        def fit(self, X, y, sample_weight=None):
            return self._learn(X, y, sample_weight)

    class UnweightedRegressor(Regressor):
        def fit(self, X, y):
            return self._learn(X, y, None)

    return SimpleNamespace(
        log=log,
        Weighted=Weighted,
        Unweighted=Unweighted,
        Grouped=Grouped,
        WeightedRegressor=WeightedRegressor,
        UnweightedRegressor=UnweightedRegressor,
    )
