"""The stack that a study left in its results folder, put together again to predict new rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.data.new_rows import check_values, names_of, values_of
from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.models.persistence import load_models, read_attributes
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import REFIT
from starstack.stacking.layout import assemble_meta_features
from starstack.stacking.members import make_member, predict_member
from starstack.stacking.meta_fit import MetaOptions, read_meta_predictions
from starstack.stacking.stored_features import read_features

ALL_FOLDS = "all"
# Test rows that are predicted once more as a stack is read, and the difference from what the study
# has, relative to the largest number, that rounding explains.
PROOF_ROWS = 20
ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class StudyStack:
    """Base models and a meta-learner, fitted.

    Attributes
    ----------
    task : str
        ``regression`` or ``classification``.
    feature_names : tuple of str
        Columns of a row, in the order of training.
    dtype : dtype
        Type of the training rows.
    outputs : tuple of str
        Classes in the order of their codes, or targets.
    members : dict of str to tuple of estimator
        Base models in the order of the meta-features. Where there are several, they are those of
        the folds, and their mean counts.
    kinds : dict of str to str
        What the columns of each hold, see `starstack.stacking.layout.MetaColumn`.
    meta_learner : estimator
    options : MetaOptions
        How the meta-learner takes its meta-features.
    """

    task: str
    feature_names: tuple[str, ...]
    dtype: np.dtype
    outputs: tuple[str, ...]
    members: Mapping[str, tuple[BaseEstimator, ...]]
    kinds: Mapping[str, str]
    meta_learner: BaseEstimator
    options: MetaOptions

    def predict(self, X: Any) -> pd.DataFrame:
        """Predict new rows, as the test rows of the study were.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            A data frame has the columns of the training rows in their order; its index names the
            rows.

        Returns
        -------
        DataFrame
            One line per row. Targets in their units, one column each; or the probabilities of the
            classes, one column each; or the column ``class``, for a meta-learner without
            probabilities.

        Raises
        ------
        InputError
            If there are no rows, the columns are others, or a value is missing or infinite.
        """
        row_names, values = names_of(X), np.asarray(values_of(X, self.feature_names))
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise InputError(
                f"new rows: expected shape (rows, {len(self.feature_names)}), got {values.shape}; "
                "give the columns of the training rows"
            )
        if not len(values):
            raise InputError("new rows: expected at least one row, got none; give rows")
        check_values(values, row_names, self.feature_names)
        values = values.astype(self.dtype, copy=False)
        frame = pd.DataFrame(values, columns=list(self.feature_names))
        Z, _ = assemble_meta_features(
            {name: self._mean(fitted, frame) for name, fitted in self.members.items()},
            self.kinds,
            self.outputs,
            drop_first=self.options.drop_first,
            X=values if self.options.keep_features else None,
            feature_names=self.feature_names,
        )
        index = pd.Index(row_names)
        if self.task == "classification" and not hasattr(self.meta_learner, "predict_proba"):
            labels = np.array(self.outputs)[self.meta_learner.predict(Z).astype(int)]
            return pd.DataFrame({"class": labels}, index=index)
        method = "predict_proba" if self.task == "classification" else "predict"
        found = np.asarray(getattr(self.meta_learner, method)(Z)).reshape(len(values), -1)
        return pd.DataFrame(found, index=index, columns=list(self.outputs))

    def _mean(self, fitted: Sequence[BaseEstimator], frame: pd.DataFrame) -> np.ndarray:
        made = [make_member(each, task=self.task, n_outputs=len(self.outputs)) for each in fitted]
        parts = [predict_member(one, one.estimator, frame) for one in made]
        return np.mean(parts, axis=0) if len(parts) > 1 else parts[0]


def load_stack(
    folder: str | PathLike[str], meta_learner: str, trusted_types: Sequence[str] = ()
) -> StudyStack:
    """Read a stack from the results of a study, building objects of trusted types only.

    It predicts some test rows once more: files of different runs give other numbers than the study.

    Parameters
    ----------
    folder : path
        Such as ``results/stars``.
    meta_learner : str
        Its name in the config.
    trusted_types : sequence of str
        As in the config, see `starstack.models.persistence.load_models`.

    Raises
    ------
    InputError
        If a file is missing, damaged, of an older version or another run, or holds types that are
        not trusted.
    """
    folder = Path(folder)
    path = folder / "meta_learners" / f"{meta_learner}.skops"
    stored = read_meta_predictions(path.with_suffix(".h5"))
    (model,) = load_models(path, trusted_types).values()
    attributes = read_attributes(path)
    if "options" not in attributes:
        raise InputError(
            f"{path}: does not say how the meta-learner takes its meta-features; run the workflow "
            "again"
        )
    options = MetaOptions(**json.loads(attributes["options"]))
    folds = [REFIT]
    if options.member_predictions == "fold_mean":
        folds = Split.from_csv(folder / "split.csv").fold_names
    kinds = read_features(folder / "meta_features.h5").kinds
    members = {
        name: _read_member(folder / "base_models" / name, folds, trusted_types) for name in kinds
    }
    with open_dataset(folder / "data.h5") as dataset:
        stack = StudyStack(
            dataset.task,
            dataset.feature_names,
            dataset.X.dtype,
            dataset.classes or dataset.target_names,
            members,
            kinds,
            model,
            options,
        )
        _prove(stack, dataset, *stored["test"], folder)
    return stack


def _prove(
    stack: StudyStack, dataset: Dataset, row_id: np.ndarray, values: np.ndarray, folder: Path
) -> None:
    """Refuse a stack that does not predict the test rows as its study did."""
    step = -(-len(row_id) // PROOF_ROWS)
    row_id, values = row_id[::step], values[::step]
    places = {name: place for place, name in enumerate(dataset.row_id)}
    known = [places.get(name) for name in row_id]
    if None not in known:
        found = stack.predict(np.stack([dataset.X[place] for place in known]))
        if "class" in found:
            found = found.map(stack.outputs.index)
        found, values = found.to_numpy(float), values.reshape(len(values), -1)
        same = found.shape == values.shape
        if same and np.abs(found - values).max() <= ROUNDING * np.abs(values).max():
            return
    raise InputError(
        f"{folder}: the files are of different runs, since they do not give the predictions of the "
        "test rows again; run the workflow to its end"
    )


def _read_member(
    folder: Path, folds: Sequence[str], trusted_types: Sequence[str]
) -> tuple[BaseEstimator, ...]:
    """Read the models of some folds, from one file for all or one for each."""
    together = folder / f"{ALL_FOLDS}.skops"
    apart = [folder / f"{fold}.skops" for fold in folds]
    if together.exists() and any(path.exists() for path in apart):
        raise InputError(
            f"{folder}: holds {together.name} and {apart[0].name}, of two settings of job; remove "
            "the folder and run the workflow again"
        )
    if together.exists():
        models = load_models(together, trusted_types)
    else:
        models = {
            fold: load_models(path, trusted_types).get(fold)
            for path, fold in zip(apart, folds, strict=True)
        }
    if missing := [fold for fold in folds if models.get(fold) is None]:
        raise InputError(
            f"{folder}: holds no model of fold {missing[0]}, which split.csv has; run the workflow "
            "to its end"
        )
    return tuple(models[fold] for fold in folds)
