"""Whether probabilities of classes hold what they promise: proper scores, reliability, entropy.

Of probabilities that are true, the expected log loss is their entropy: the difference of the two,
the *excess*, is zero but for the number of rows. Above zero, a network is too certain.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.metrics.confidence import (
    calibrated_error,
    confidence_table,
    expected_calibration_error,
)
from starstack.metrics.scores import Score, cluster_standard_error, score, score_difference
from starstack.uncertainty.classification import PLAIN

# Of a method, without and with the temperature that calibration rows chose.
BEFORE, AFTER = "before", "after"
_COLUMNS = {BEFORE: "probability", AFTER: "probability_scaled"}
# Scores that are compared with those of the trained weights, before; the others stand alone.
COMPARED = ("log_loss", "brier")
MINUS_PLAIN = "_minus_plain"


def class_tables(
    predictions: pd.DataFrame, dataset: Dataset, *, n_bins: int = 10, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Score the probabilities of one network by every method.

    Parameters
    ----------
    predictions : DataFrame
        Of one network, from `starstack.uncertainty.class_predictions.probability_table`.
    dataset : Dataset
        For groups and weights of rows.
    n_bins : int
        Of the confidence.
    seed : int
        Of what perfect probabilities would show (`calibrated_error`).

    Returns
    -------
    dict of str to DataFrame
        ``class_calibration``: method, temperature (``before`` or ``after`` its change), statistic,
        value, standard_error, n. Statistics are accuracy, log_loss and brier; log_loss_minus_plain
        and brier_minus_plain, with the error of paired rows; expected_calibration_error, and
        calibrated_error, which perfect probabilities would show; entropy and excess.
        ``class_reliability``: method, temperature and the columns of
        `starstack.metrics.confidence.confidence_table`.

    Raises
    ------
    InputError
        If a method has not a probability of each class for the same rows.
    """
    methods = _arrays(predictions, dataset)
    position = {name: at for at, name in enumerate(dataset.row_id.tolist())}
    _, first = next(iter(methods.items()))
    rows = np.array([position[name] for name in first[0]], dtype=int)
    codes = dataset.y[rows]
    group = None if dataset.group is None else dataset.group[rows]
    weight = None if dataset.sample_weight is None else dataset.sample_weight[rows]
    plain = methods[PLAIN, BEFORE][1]
    scores, reliability = [], []
    for (method, temperature), (_, p) in methods.items():
        for statistic, found in _statistics(codes, p, plain, group, weight, n_bins, seed):
            made = (found.value, found.standard_error, found.n)
            scores.append((method, temperature, statistic, *made))
        table = confidence_table(codes, p, n_bins)
        reliability.append(table.assign(method=method, temperature=temperature))
    columns = ["method", "temperature", "statistic", "value", "standard_error", "n"]
    return {
        "class_calibration": pd.DataFrame(scores, columns=columns),
        "class_reliability": pd.concat(reliability, ignore_index=True),
    }


def _arrays(
    predictions: pd.DataFrame, dataset: Dataset
) -> Mapping[tuple[str, str], tuple[list[str], np.ndarray]]:
    """Give row ids and probabilities (n, c) of each method, before and after."""
    classes = [str(name) for name in dataset.classes]
    found = {}
    for method in dict.fromkeys(predictions["method"]):
        part = predictions[predictions["method"] == method]
        row_id = part["row_id"].to_numpy()[:: len(classes)].tolist()
        named = list(zip(part["row_id"], part["output"].astype(str), strict=True))
        known = next(iter(found.values()))[0] if found else row_id
        if named != [(row, name) for row in known for name in classes]:
            raise InputError(
                f"probabilities of {method!r}: expected one of each class for the same rows as "
                "the other methods; run class_probabilities again"
            )
        for temperature, column in _COLUMNS.items():
            values = part[column].to_numpy(dtype=float).reshape(-1, len(classes))
            found[method, temperature] = row_id, values
    return found


def _statistics(
    codes: np.ndarray,
    p: np.ndarray,
    plain: np.ndarray,
    group: np.ndarray | None,
    weight: np.ndarray | None,
    n_bins: int,
    seed: int,
) -> Iterator[tuple[str, Score]]:
    rows = {"group": group, "sample_weight": weight}
    yield "accuracy", score("accuracy", codes, p.argmax(axis=1), **rows)
    for metric in COMPARED:
        yield metric, score(metric, codes, p, **rows)
    for metric in COMPARED:
        yield f"{metric}{MINUS_PLAIN}", score_difference(metric, codes, p, plain, **rows)
    found = expected_calibration_error(codes, p, n_bins=n_bins, group=group)
    yield "expected_calibration_error", found
    yield "calibrated_error", calibrated_error(p, n_bins=n_bins, seed=seed)
    logarithm = np.log(np.maximum(p, np.finfo(float).tiny))
    entropy = -(p * logarithm).sum(axis=1)
    surprise = -logarithm[np.arange(len(codes)), codes]
    yield "entropy", _mean(entropy, group, weight)
    yield "excess", _mean(surprise - entropy, group, weight)


def _mean(values: np.ndarray, group: np.ndarray | None, weight: np.ndarray | None) -> Score:
    share = np.ones(len(values)) if weight is None else weight / weight.mean()
    mean = float(np.mean(share * values))
    return Score(mean, cluster_standard_error(share * (values - mean), group), len(values))
