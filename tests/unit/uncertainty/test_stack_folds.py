import numpy as np
from sklearn.linear_model import LinearRegression

from starstack.data.dataset import Dataset
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import REFIT, FoldPredictions
from starstack.stacking.stored_features import assemble
from starstack.uncertainty.stack_folds import predict_by_folds


def test_the_stack_of_a_fold_has_not_seen_it():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 3))
    y = X @ np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]]) + rng.normal(size=(40, 2))
    names = np.array([f"r{i}" for i in range(40)])
    dataset = Dataset("d", "regression", X, y, names, ("a", "b", "c"), ("y", "z"))
    is_test = np.arange(40) >= 30
    folds = np.where(is_test, 0, np.arange(40) % 3 + 1)[:, None]
    split = Split(names, is_test, folds, "partition")
    parts = {}
    for model, columns in (("first", [0, 1]), ("second", [1, 2])):
        found = []
        for fold in (*split.fold_names, REFIT):
            fit, held_out = split.fold(fold) if fold != REFIT else (split.train_rows(), None)
            line = LinearRegression().fit(X[fit][:, columns], y[fit])
            values = {"test": (names[30:], line.predict(X[30:][:, columns]))}
            if held_out is not None:
                values["held_out"] = (names[held_out], line.predict(X[held_out][:, columns]))
            found.append(FoldPredictions(fold, "value", values))
        parts[model] = found
    features = assemble(split, parts)
    found = predict_by_folds(dataset, split, features, parts, LinearRegression())

    # By hand, for the second fold.
    fit, held_out = split.cv()[1]
    Z = np.hstack([features.blocks["out-of-fold"][model] for model in parts])
    stack = LinearRegression().fit(Z[fit], y[:30][fit])
    own = found.fold_of_row == 1
    assert found.rows[own].tolist() == held_out.tolist()
    np.testing.assert_allclose(found.out_of_fold[own], stack.predict(Z[held_out]))
    Z_test = np.hstack([parts[model][1].values["test"][1] for model in parts])
    np.testing.assert_allclose(found.test[1], stack.predict(Z_test))
    assert sorted(found.rows.tolist()) == list(range(30))
    assert found.test.shape == (3, 10, 2)
