"""Small data sets of the tests: the toy that was first asked about, and classes that overlap."""

import numpy as np
import pytest

from starstack.projection.objective import JointObjective

TOY_X = np.array(
    [[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]]
)
TOY_Y = np.array([1, 1, 0, 1])


@pytest.fixture
def toy():
    """Four rows of three features that no intercept is needed to separate."""
    return TOY_X.copy(), TOY_Y.copy()


@pytest.fixture(scope="session")
def make_classes():
    """Make normal features and classes that no plane separates."""

    def make(n_classes, n=120, n_features=5, seed=0):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, n_features)) * np.linspace(1.0, 2.0, n_features)
        logits = X @ rng.normal(size=(n_features, n_classes)) * 0.7
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        assert len(np.unique(y)) == n_classes
        return X, y

    return make


@pytest.fixture(scope="session")
def make_objective():
    """Build the joint loss of classes 0, 1, …"""

    def make(X, y, *, rank, alpha=0.3, fit_intercept=True, sample_weight=None):
        one_hot = np.eye(max(y) + 1)[y]
        return JointObjective(
            X,
            one_hot[:, 1:] if one_hot.shape[1] == 2 else one_hot,
            np.ones(len(y)) if sample_weight is None else sample_weight,
            rank=rank,
            alpha=alpha,
            fit_intercept=fit_intercept,
        )

    return make
