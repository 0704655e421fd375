"""Fit one base model on some folds of a study; keep its predictions of the rows it did not see."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.members import check_finite, fit_member, make_member, predict_member

logger = logging.getLogger(__name__)

# The model that is fitted on all training rows, next to those of the folds.
REFIT = "refit"

# Class covariances of a constant column are singular: scikit-learn fails in the linear algebra, or
# goes on with NaN.
CANNOT_TAKE_CONSTANT = ("QuadraticDiscriminantAnalysis",)


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """What one fitted model says of rows, by row id.

    Attributes
    ----------
    fold : str
        Name of the fold, or ``refit``.
    kind : str
        What the columns hold, see :class:`starstack.stacking.layout.MetaColumn`.
    values : dict of str to (row ids, ndarray of shape (rows, c))
        ``held_out`` (a fold's rows), ``test``, and for ``refit`` on demand ``in_sample``: the
        rows it was fitted on, kept only to show what leakage does.
    """

    fold: str
    kind: str
    values: dict[str, tuple[np.ndarray, np.ndarray]]


def fit_folds(
    dataset: Dataset,
    split: Split,
    folds: Iterable[str],
    build: Callable[[str], BaseEstimator],
    *,
    in_sample: bool = False,
    where: str = "base model",
) -> tuple[dict[str, BaseEstimator], list[FoldPredictions]]:
    """Fit one base model on some folds and predict the rows it did not see.

    Parameters
    ----------
    dataset : Dataset
        The study's data.
    split : Split
        Its split.
    folds : iterable of str
        Names of folds, or ``refit`` for all training rows.
    build : callable
        Makes the unfitted estimator of a fold, with the fold's seed.
    in_sample : bool
        Keep the refitted model's predictions of its own training rows, for demonstration.
    where : str
        What an error message names.

    Returns
    -------
    models : dict of str to estimator
        Fitted models by fold.
    predictions : list of FoldPredictions
        In the same order.

    Raises
    ------
    InputError
        If the model cannot be fitted or gives a prediction that is not finite.
    """
    X, test = dataset.frame(), np.flatnonzero(split.is_test)
    n_outputs = len(dataset.classes) or dataset.n_targets
    models, predictions = {}, []
    for fold in folds:
        fit_rows, held_out = (split.train_rows(), None) if fold == REFIT else split.fold(fold)
        member = make_member(build(fold), task=dataset.task, n_outputs=n_outputs)
        _check_constant(member.estimator, X.iloc[fit_rows], f"{where}, fold {fold}")
        rows = {"held_out": held_out, "test": test}
        if in_sample and fold == REFIT:
            rows["in_sample"] = fit_rows
        name = type(member.estimator).__name__
        try:
            fitted = fit_member(
                member, X, dataset.y, fit_rows, dataset.sample_weight, dataset.group
            )
            blocks = {
                key: (positions, predict_member(member, fitted, X, positions))
                for key, positions in rows.items()
                if positions is not None and len(positions)
            }
        except (ValueError, np.linalg.LinAlgError) as error:
            text = " ".join(str(error).split()).rstrip(".")
            raise InputError(
                f"{where}, fold {fold}: {name} cannot be fitted on {len(fit_rows)} rows and "
                f"predict the others: {text}; change the model or its preprocess"
            ) from error
        for _, block in blocks.values():
            check_finite(block, f"{where}, fold {fold}: {name}")
        values = {key: (dataset.row_id[at], block) for key, (at, block) in blocks.items()}
        models[fold] = fitted
        predictions.append(FoldPredictions(fold, member.kind, values))
        logger.info(
            "fold %s: fitted on %d rows, predicted %d held-out and %d test rows",
            fold,
            len(fit_rows),
            0 if held_out is None else len(held_out),
            len(test),
        )
    return models, predictions


def _check_constant(estimator: BaseEstimator, X: object, where: str) -> None:
    steps = getattr(estimator, "steps", [("", estimator)])
    name = type(steps[-1][1]).__name__
    if name not in CANNOT_TAKE_CONSTANT or any(s == "drop_constant" for s, _ in steps):
        return
    constant = X.columns[(X.iloc[0] == X).all()]
    if len(constant):
        raise InputError(
            f"{where}: column {constant[0]!r} is constant in the training rows and {name} cannot "
            "take that; add drop_constant to its preprocess, or leave the column out"
        )


def write_predictions(
    predictions: Iterable[FoldPredictions], path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write predictions of one base model to HDF5: ``/<fold>/<rows>/{row_id, values}``."""
    with h5py.File(path, "w") as file:
        for key, value in sorted(attributes.items()):
            file.attrs[key] = value
        for each in predictions:
            group = file.create_group(each.fold)
            group.attrs["kind"] = each.kind
            for rows, (row_id, values) in each.values.items():
                write_rows(group.create_group(rows), row_id, values)


def read_predictions(paths: Iterable[str | PathLike[str]]) -> list[FoldPredictions]:
    """Read the predictions of one base model, from one file per fold or one for all."""
    found = []
    for path in paths:
        with open_results(path) as file:
            for fold, group in file.items():
                values = {rows: read_rows(part) for rows, part in group.items()}
                found.append(FoldPredictions(fold, group.attrs["kind"], values))
    return found


@contextmanager
def open_results(path: str | PathLike[str]) -> Iterator[h5py.File]:
    """Open a file of results for reading.

    Raises
    ------
    InputError
        If it is not a whole HDF5 file, or lacks a part.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"{path}: is not a whole file of results ({text}); delete it and run again"
        ) from error


def write_rows(group: h5py.Group, row_id: np.ndarray, values: np.ndarray) -> None:
    """Write values beside the ids of their rows."""
    group.create_dataset("row_id", data=np.char.encode(row_id.astype(str), "utf-8"))
    group.create_dataset("values", data=values)


def read_rows(group: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """Read row ids and values."""
    return np.char.decode(group["row_id"][()], "utf-8"), group["values"][()]
