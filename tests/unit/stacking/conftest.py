"""Estimators that write down what they are given, and small studies."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import datasets
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone

from starstack.data.dataset import Dataset
from starstack.splits.splitters import make_split
from starstack.stacking.fold_predictions import REFIT, fit_folds
from starstack.stacking.stored_features import assemble


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


@pytest.fixture
def study():
    """Make the data set and the split of a study, rows shuffled and named."""

    def make(loader, *, n_rows=None, columns=None, group=None, sample_weight=None, **options):
        bunch = getattr(datasets, f"load_{loader}")()
        order = np.random.default_rng(0).permutation(len(bunch.data))[:n_rows]
        X, y = bunch.data[order][:, :columns], bunch.target[order]
        classification = y.dtype.kind == "i"
        n, width = len(order), 1 if y.ndim == 1 else y.shape[1]
        dataset = Dataset(
            name="study",
            task="classification" if classification else "regression",
            X=X.astype(float),
            y=y.astype(np.int64 if classification else float),
            row_id=np.array([f"row-{i}" for i in order]),
            feature_names=tuple(f"f{i}" for i in range(X.shape[1])),
            target_names=("y",) if width == 1 else tuple(f"y{i}" for i in range(width)),
            classes=tuple(str(i) for i in range(y.max() + 1)) if classification else (),
            group=None if group is None else (np.arange(n) // group).astype(str),
            time=np.arange(n)[::-1].astype(float),
            sample_weight=np.random.default_rng(1).uniform(0.5, 2, n) if sample_weight else None,
        )
        method = "stratified" if classification else "k-fold"
        split = make_split(
            row_id=dataset.row_id, y=dataset.y, task=dataset.task, seed=1, group=dataset.group,
            **{"method": method, "n_folds": 4, "time": dataset.time, **options},
        )  # fmt: skip
        return dataset, split

    return make


@pytest.fixture
def stored():
    """Fit every base model on every fold and assemble what they predict, as the jobs do."""

    def make(dataset, split, bases, **options):
        predictions = {}
        for name, base in bases:
            _, predictions[name] = fit_folds(
                dataset, split, [REFIT, *split.fold_names], lambda fold, b=base: clone(b), **options
            )
        return assemble(split, predictions)

    return make
