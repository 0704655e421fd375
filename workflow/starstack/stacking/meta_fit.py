"""Fit one meta-learner of a study on stored meta-features, and judge it honestly."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import open_results, read_rows, write_rows
from starstack.stacking.layout import MetaFeatureLayout, assemble_meta_features
from starstack.stacking.meta_learners import fit_meta_learner
from starstack.stacking.risk import meta_predictions
from starstack.stacking.stored_features import OUT_OF_FOLD, TEST, StoredFeatures
from starstack.stacking.weights import describe_weights, linear_weights

BIAS = "(bias)"


@dataclass(frozen=True)
class MetaOptions:
    """How a meta-learner takes its meta-features; the names are those of the config.

    Attributes
    ----------
    drop_first : bool
        Drop the first class's column of every base model.
    keep_features : bool
        Append the input features.
    member_predictions : str
        ``refit`` or ``fold_mean``: which models predict the test rows.
    trained_on : str
        ``out-of-fold``, or ``in-sample`` to show what leakage does.
    """

    drop_first: bool = True
    keep_features: bool = False
    member_predictions: str = "refit"
    trained_on: str = OUT_OF_FOLD


@dataclass(frozen=True, eq=False)
class MetaResult:
    """A fitted meta-learner and what it predicts.

    Attributes
    ----------
    model : estimator
        Fitted on the training rows.
    layout : MetaFeatureLayout
        What its columns are.
    predictions : dict of str to (row ids, ndarray)
        ``cross-validated`` (training rows) and ``test``; probabilities (n, classes) or values
        (n, targets), or class codes (n, 1) of a classifier without probabilities.
    weights : DataFrame
        Columns ``model``, ``meta_feature``, ``output``, ``weight``, ``standardised``; bias rows
        have the meta-feature ``(bias)``; empty for a meta-learner without weights. The
        standardised weight has no unit: times the standard deviation of its meta-feature, over
        that of the target. The weights of a blend have none, and those of a classifier only the
        meta-feature's; of a bias it is NaN.
    description : str
        The same in one line per output, ``Weights: … Bias: …``; empty without weights.
    """

    model: BaseEstimator
    layout: MetaFeatureLayout
    predictions: dict[str, tuple[np.ndarray, np.ndarray]]
    weights: pd.DataFrame
    description: str


def fit_on_stored_features(
    dataset: Dataset,
    split: Split,
    features: StoredFeatures,
    meta_learner: BaseEstimator,
    options: MetaOptions,
) -> MetaResult:
    """Fit a meta-learner on the training rows' meta-features; predict by cross-validation and test.

    Rows that no fold predicted (time-ordered splits) take no part. The cross-validation runs over
    the stored meta-features with the study's own folds; see
    :func:`starstack.stacking.meta_learners.cross_validated_predictions`.

    Parameters
    ----------
    dataset, split : Dataset, Split
        The study's data and split.
    features : StoredFeatures
        Its assembled meta-features.
    meta_learner : estimator
        Unfitted.
    options : MetaOptions
        How it takes them.

    Returns
    -------
    MetaResult
        The fitted model, its predictions and its weights.
    """
    train = split.train_rows()
    test = np.flatnonzero(split.is_test)
    same_train = np.array_equal(dataset.row_id[train], features.train_id)
    if not same_train or not np.array_equal(dataset.row_id[test], features.test_id):
        raise InputError("meta-features are not of this data set's rows; run the workflow again")
    outputs = dataset.classes or dataset.target_names
    Z, layout = _lay_out(features, options.trained_on, dataset, train, options)
    y = dataset.y[train]
    weight = None if dataset.sample_weight is None else dataset.sample_weight[train]
    groups = None if dataset.group is None else dataset.group[train]
    used = features.has_oof if options.trained_on == OUT_OF_FOLD else np.ones(len(train), bool)
    model = fit_meta_learner(
        meta_learner,
        Z[used],
        y[used],
        layout=layout,
        sample_weight=None if weight is None else weight[used],
        groups=None if groups is None else groups[used],
    )
    crossed = meta_predictions(
        meta_learner, Z, y, split.cv(), task=dataset.task, layout=layout, groups=groups,
        sample_weight=weight,
    )  # fmt: skip
    rows = crossed["predicted"]
    stored = next(crossed[key] for key in ("probabilities", "values", "codes") if key in crossed)
    predictions = {"cross-validated": (features.train_id[rows], _two_dimensional(stored[rows]))}
    if len(features.test_id):
        Z_test, _ = _lay_out(features, TEST[options.member_predictions], dataset, test, options)
        method = "predict_proba" if "probabilities" in crossed else "predict"
        block = np.asarray(getattr(model, method)(Z_test))
        predictions["test"] = (features.test_id, _two_dimensional(block))
    named = linear_weights(model, layout.names, outputs)
    return MetaResult(
        model,
        layout,
        predictions,
        weights=_weight_rows(named, layout, Z[used], _target_spread(dataset, y[used])),
        description="" if named is None else describe_weights(*named),
    )


def _lay_out(
    features: StoredFeatures,
    rows: str,
    dataset: Dataset,
    positions: np.ndarray,
    options: MetaOptions,
) -> tuple[np.ndarray, MetaFeatureLayout]:
    return assemble_meta_features(
        features.blocks[rows],
        features.kinds,
        dataset.classes or dataset.target_names,
        drop_first=options.drop_first,
        X=dataset.X[positions] if options.keep_features else None,
        feature_names=dataset.feature_names,
    )


def _two_dimensional(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _target_spread(dataset: Dataset, y: np.ndarray) -> dict[str, float]:
    """Give the standard deviation of each target; classes have none."""
    if dataset.task == "classification":
        return {}
    spread = y.reshape(len(y), -1).std(axis=0)
    # Of a constant target nothing can be said per standard deviation.
    return dict(zip(dataset.target_names, np.where(spread > 0, spread, 1.0), strict=True))


def _weight_rows(
    named: tuple[pd.DataFrame, pd.Series] | None,
    layout: MetaFeatureLayout,
    Z: np.ndarray,
    target_spread: Mapping[str, float],
) -> pd.DataFrame:
    rows = []
    if named is not None:
        weights, bias = named
        # A kept feature stands for itself.
        owner = {column.name: column.model or column.name for column in layout.columns}
        spread = dict(zip(layout.names, Z.std(axis=0), strict=True))
        for output in weights.columns:
            for name, value in weights[output].items():
                # A blend's weights are named after the base models themselves.
                unit = spread[name] / target_spread.get(output, 1.0) if name in spread else 1.0
                weight = float(value)
                rows.append((owner.get(name, name), name, output, weight, weight * unit))
            rows.append(("", BIAS, output, float(bias[output]), float("nan")))
    columns = ["model", "meta_feature", "output", "weight", "standardised"]
    return pd.DataFrame(rows, columns=columns)


def write_meta_predictions(
    result: MetaResult, path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write a meta-learner's predictions to HDF5: ``/<rows>/{row_id, values}``."""
    with h5py.File(path, "w") as file:
        for key, value in sorted(attributes.items()):
            file.attrs[key] = value
        for rows, (row_id, values) in result.predictions.items():
            write_rows(file.create_group(rows), row_id, values)


def read_meta_predictions(
    path: str | PathLike[str],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read what :func:`write_meta_predictions` wrote."""
    with open_results(path) as file:
        return {rows: read_rows(group) for rows, group in file.items()}
