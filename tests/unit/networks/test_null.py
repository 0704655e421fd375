"""Labels drawn by lot: nothing can be learnt, and a stack of networks must say so."""

import numpy as np
import pytest

from starstack.networks.estimators import KerasClassifier
from starstack.stacking.estimators import StackingClassifier
from starstack.stacking.meta_learners import fit_meta_learner

N_ROWS, SEEDS = 300, range(4)


def network(seed, **changes):
    options = {
        "build_params": {"units": [48]}, "epochs": 40, "batch_size": None, "learning_rate": 0.05,
        "validation_fraction": 0.0, "random_state": seed,
    }  # fmt: skip
    return KerasClassifier(**options | changes)


@pytest.fixture(scope="module")
def scores():
    """Accuracies of the stack, as it is and with a meta-learner on in-sample predictions."""
    found = {"out-of-fold": [], "test": [], "in-sample": []}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(2 * N_ROWS, 6)), rng.integers(0, 2, size=2 * N_ROWS)
        X_test, y_test, X, y = X[:N_ROWS], y[:N_ROWS], X[N_ROWS:], y[N_ROWS:]
        bases = [("one", network(seed)), ("two", network(seed + 100, epochs=15))]
        meta = network(seed, build_params={"units": [4]}, epochs=20)
        stack = StackingClassifier(bases, meta, cv=2).fit(X, y)
        for member in stack.oof_meta_features_.T:
            found["out-of-fold"].append(((member > 0.5) == y).mean())
        found["test"].append(stack.score(X_test, y_test))
        leaky = stack._meta_features(X)
        wrong = fit_meta_learner(meta, leaky, y, layout=stack.layout_)
        found["in-sample"].append((wrong.predict(leaky) == y).mean())
    return found


def distance_from_chance(accuracies):
    """Distance from one half, in standard errors of a mean of so many fair coins."""
    return (np.mean(accuracies) - 0.5) / (0.5 / np.sqrt(N_ROWS * len(SEEDS)))


def test_base_models_and_stack_are_at_chance(scores):
    assert abs(distance_from_chance(scores["out-of-fold"])) < 3
    assert abs(distance_from_chance(scores["test"])) < 3


def test_the_same_check_sees_a_leak(scores):
    assert distance_from_chance(scores["in-sample"]) > 10
