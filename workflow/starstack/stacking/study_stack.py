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

from starstack.data.new_rows import check_values, names_of, values_of
from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.models.persistence import load_models, read_attributes
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import REFIT
from starstack.stacking.layout import assemble_meta_features
from starstack.stacking.members import make_member, predict_member
from starstack.stacking.meta_fit import MetaOptions
from starstack.stacking.stored_features import read_features

ALL_FOLDS = "all"


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
            If the columns are others, or a value is missing or infinite.
        """
        row_names, values = names_of(X), np.asarray(values_of(X, self.feature_names))
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise InputError(
                f"new rows: expected shape (rows, {len(self.feature_names)}), got {values.shape}; "
                "give the columns of the training rows"
            )
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
        If a file is missing, damaged, of an older version, or holds types that are not trusted.
    """
    folder = Path(folder)
    path = folder / "meta_learners" / f"{meta_learner}.skops"
    (model,) = load_models(path, trusted_types).values()
    attributes = read_attributes(path)
    if "options" not in attributes:
        raise InputError(
            f"{path}: does not say how the meta-learner takes its meta-features; run the workflow "
            "again"
        )
    options = MetaOptions(**json.loads(attributes["options"]))
    with open_dataset(folder / "data.h5") as dataset:
        task, feature_names, dtype = dataset.task, dataset.feature_names, dataset.X.dtype
        outputs = dataset.classes or dataset.target_names
    folds = [REFIT]
    if options.member_predictions == "fold_mean":
        folds = Split.from_csv(folder / "split.csv").fold_names
    kinds = read_features(folder / "meta_features.h5").kinds
    members = {
        name: _read_member(folder / "base_models" / name, folds, trusted_types) for name in kinds
    }
    return StudyStack(task, feature_names, dtype, outputs, members, kinds, model, options)


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
        return tuple(models[fold] for fold in folds)
    return tuple(
        load_models(path, trusted_types)[fold] for path, fold in zip(apart, folds, strict=True)
    )
