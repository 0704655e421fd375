"""Honest scores of base models and meta-learners, from stored out-of-fold predictions."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from starstack.errors import InputError
from starstack.metrics.scores import METRICS, Score, score
from starstack.stacking.layout import MetaFeatureLayout
from starstack.stacking.meta_learners import cross_validated_predictions

DEFAULT_METRIC = {"classification": "log_loss", "regression": "rmse"}
COLUMNS = ["estimator", "role", "figure", "metric", "output", "value", "standard_error", "n"]


def member_codes(block: np.ndarray, kind: str) -> np.ndarray | None:
    """Class codes that a member's columns stand for; None if they stand for no class.

    Parameters
    ----------
    block : ndarray of shape (n, c)
        One member's columns, none dropped.
    kind : str
        See :class:`starstack.stacking.layout.MetaColumn`.
    """
    if kind == "value":
        return None
    return block.argmax(axis=1) if block.shape[1] > 1 else (block[:, 0] > 0).astype(int)


def scored_columns(
    metric_name: str,
    y: np.ndarray,
    outputs: Sequence[str],
    *,
    probabilities: np.ndarray | None = None,
    codes: np.ndarray | None = None,
    values: np.ndarray | None = None,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Pair what a metric compares, target by target.

    Parameters
    ----------
    metric_name : str
        A key of ``METRICS``.
    y : ndarray of shape (n,) or (n, targets)
        Class codes or values.
    outputs : sequence of str
        Classes or targets.
    probabilities, codes, values : ndarray, optional
        What was predicted: (n, classes), (n,) or (n, targets).

    Yields
    ------
    output : str
        The target's name; empty for a single target and for classification.
    observed, predicted : ndarray
        As ``starstack.metrics.scores.score`` takes them. Nothing is yielded if the metric needs
        what is not given.
    """
    needs = METRICS[metric_name].needs
    if needs == "values":
        if values is not None:
            several = y.ndim == 2 and y.shape[1] > 1
            pairs = zip(y.reshape(len(y), -1).T, values.reshape(len(values), -1).T, strict=True)
            for i, (observed, predicted) in enumerate(pairs):
                yield outputs[i] if several else "", observed, predicted
        return
    predicted = probabilities if needs == "probabilities" else codes
    if predicted is not None and not (metric_name == "roc_auc" and len(outputs) != 2):
        yield "", y, predicted


def prediction_scores(
    metric_name: str,
    y: np.ndarray,
    outputs: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    **predictions: np.ndarray | None,
) -> Iterator[tuple[str, Score]]:
    """Score one set of predictions, target by target.

    Parameters
    ----------
    metric_name, y, outputs, **predictions
        As in :func:`scored_columns`.
    groups, sample_weight : ndarray of shape (n,), optional
        For the standard error, and for the score.

    Yields
    ------
    output : str
        The target's name; empty for a single target and for classification.
    Score
        Value, standard error, n.
    """
    weights = {"group": groups, "sample_weight": sample_weight}
    for output, observed, predicted in scored_columns(metric_name, y, outputs, **predictions):
        yield output, score(metric_name, observed, predicted, **weights)


def _taken(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[rows]


def risk_table(
    predictions: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    Z: np.ndarray,
    layout: MetaFeatureLayout,
    y: np.ndarray,
    *,
    task: str,
    metric: str | None,
    meta_learner: BaseEstimator,
    folds: Sequence[tuple[np.ndarray, np.ndarray]] | None,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> pd.DataFrame:
    """Risk of each base model and of the meta-learner; see ``StackingClassifier.risk_table``.

    ``predictions`` are the base models' out-of-fold predictions, no column dropped; ``Z`` is what
    the meta-learner sees. An estimator that does not give what the metric needs (a log loss needs
    probabilities) has a row without a value.
    """
    metric = metric or DEFAULT_METRIC[task]
    known = [name for name, each in METRICS.items() if each.task == task]
    if metric not in known:
        raise InputError(f"metric must be one of {', '.join(known)} for {task}; got {metric!r}")
    rows: list[tuple] = []

    def add(estimator: str, role: str, figure: str, predicted: np.ndarray, **found) -> None:
        kept = np.flatnonzero(predicted)
        if not len(kept):
            return
        scored = list(
            prediction_scores(
                metric,
                y[kept],
                layout.outputs,
                groups=_taken(groups, kept),
                sample_weight=_taken(sample_weight, kept),
                **{key: _taken(value, kept) for key, value in found.items()},
            )
        )
        for output, result in scored or [("", Score(np.nan, np.nan, len(kept)))]:
            made = (result.value, result.standard_error, result.n)
            rows.append((estimator, role, figure, metric, output, *made))

    for model, block in predictions.items():
        found = interpret_member(block, kinds[model], len(layout.outputs))
        if task == "regression":
            found = {"values": block}
        add(model, "base", "out-of-fold", ~np.isnan(block).any(axis=1), **found)
    if folds is not None:
        add(
            "final_estimator",
            "meta",
            "cross-validated",
            **meta_predictions(
                meta_learner, Z, y, folds, task=task, layout=layout, groups=groups,
                sample_weight=sample_weight,
            ),
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def interpret_member(block: np.ndarray, kind: str, n_classes: int) -> dict[str, np.ndarray]:
    """Say what a classification member's columns are, as :func:`scored_columns` takes them."""
    if kind == "probability":
        return {"probabilities": block, "codes": block.argmax(axis=1)}
    codes = member_codes(block, kind) if block.shape[1] in (1, n_classes) else None
    return {} if codes is None else {"codes": codes}


def meta_predictions(
    meta_learner: BaseEstimator,
    Z: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    task: str,
    layout: MetaFeatureLayout,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> dict[str, object]:
    """Cross-validated predictions of a meta-learner, as :func:`prediction_scores` takes them."""
    probabilistic = task == "classification" and hasattr(meta_learner, "predict_proba")
    predictions, predicted = cross_validated_predictions(
        meta_learner,
        Z,
        y,
        folds,
        method="predict_proba" if probabilistic else "predict",
        layout=layout,
        groups=groups,
        sample_weight=sample_weight,
    )
    if task == "regression":
        return {"predicted": predicted, "values": predictions}
    codes = predictions.argmax(axis=1)
    if probabilistic:
        return {"predicted": predicted, "probabilities": predictions, "codes": codes}
    return {"predicted": predicted, "codes": codes}
