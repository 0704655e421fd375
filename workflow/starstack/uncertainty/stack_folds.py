"""What a stack says out of fold, and what the stack of each fold says of the test rows.

The stack of fold k has the base models that did not see fold k, and a meta-learner that was fitted
to the out-of-fold predictions of the other folds. Those predictions come from base models of which
each saw fold k, so a trace of it is left in the weights of the meta-learner, and in a scale that is
learnt from the errors of the other folds: the guarantee of CV+ holds for the base models, and for
the stack up to that trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import FoldPredictions
from starstack.stacking.layout import assemble_meta_features
from starstack.stacking.meta_learners import fit_meta_learner
from starstack.stacking.stored_features import OUT_OF_FOLD, StoredFeatures


@dataclass(frozen=True, eq=False)
class StackFolds:
    """Predictions of the stacks of the folds of the first repeat.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Training rows that a fold holds out, as positions in the data.
    fold_of_row : ndarray of int, shape (m,)
        Its number, from 0.
    out_of_fold : ndarray of shape (m, k)
        Prediction of each by the stack of its fold.
    test : ndarray of shape (K, n, k)
        Predictions of the test rows by the stack of each fold.
    """

    rows: np.ndarray
    fold_of_row: np.ndarray
    out_of_fold: np.ndarray
    test: np.ndarray


def predict_by_folds(
    dataset: Dataset,
    split: Split,
    features: StoredFeatures,
    predictions: Mapping[str, Sequence[FoldPredictions]],
    meta_learner: BaseEstimator,
) -> StackFolds:
    """Fit the meta-learner of each fold, and predict the fold's rows and the test rows.

    Parameters
    ----------
    dataset, split : Dataset, Split
        Of a regression.
    features : StoredFeatures
        Its meta-features.
    predictions : mapping of str to sequence of FoldPredictions
        Of each base model by fold.
    meta_learner : estimator
        Unfitted; it sees the predictions alone.
    """
    train, y = split.train_rows(), dataset.y
    blocks = features.blocks[OUT_OF_FOLD]
    names, kinds = dataset.target_names, features.kinds
    Z, layout = assemble_meta_features(blocks, kinds, names, drop_first=False)
    rows, folds, found, tests = [], [], [], []
    by_fold = {model: {part.fold: part for part in parts} for model, parts in predictions.items()}
    pairs = list(zip(split.fold_names, split.cv(), strict=True))[: split.n_folds]
    for number, (fold, (fit, held_out)) in enumerate(pairs):
        fit = fit[features.has_oof[fit]]
        fitted = fit_meta_learner(meta_learner, Z[fit], y[train[fit]], layout=layout)
        parts = {model: by_fold[model][fold].values["test"] for model in blocks}
        for model, (row_id, _) in parts.items():
            if not np.array_equal(row_id, features.test_id):
                raise InputError(
                    f"base model {model!r}, fold {fold}: its predictions are not of the test rows; "
                    "delete its results and run again"
                )
        at_test = {model: values for model, (_, values) in parts.items()}
        Z_test, _ = assemble_meta_features(at_test, kinds, names, drop_first=False)
        held_out = held_out[features.has_oof[held_out]]
        rows.append(train[held_out])
        folds.append(np.full(len(held_out), number))
        found.append(_columns(fitted.predict(Z[held_out])))
        tests.append(_columns(fitted.predict(Z_test)))
    return StackFolds(
        np.concatenate(rows), np.concatenate(folds), np.concatenate(found), np.stack(tests)
    )


def _columns(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=float).reshape(len(values), -1)
