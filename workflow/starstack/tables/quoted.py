"""The numbers that the text of a paper quotes, chosen without a look at the test rows."""

import math

import pandas as pd

from starstack.errors import InputError
from starstack.metrics.scores import METRICS
from starstack.tables.summaries import (
    BIAS,
    learner_names,
    require_columns,
    weight_share_table,
)

# What an estimator is chosen by: the score on training rows that it did not see.
CHOSEN_BY = {"base": "out-of-fold", "meta": "cross-validated"}
_NAMES = {"base": "best_base_model", "meta": "best_meta_learner"}


def _plain(value: float) -> float | None:
    """Give the number as JSON knows it: a missing one is null."""
    return None if math.isnan(value) else float(value)


def _best(scores: pd.DataFrame, role: str, greater_is_better: bool) -> dict | None:
    """Describe the estimator of a role with the best honest score; the first of equals."""
    honest = scores[(scores["role"] == role) & (scores["figure"] == CHOSEN_BY[role])]
    if honest.empty:
        return None
    ordered = honest.sort_values("value", ascending=not greater_is_better, kind="stable")
    name = ordered["estimator"].iloc[0]
    figures = scores[(scores["role"] == role) & (scores["estimator"] == name)]
    return {
        "name": name,
        "chosen_by": CHOSEN_BY[role],
        "scores": {row["figure"]: _figure(row) for row in figures.to_dict("records")},
    }


def _difference(
    differences: pd.DataFrame, output: str, base: dict | None, meta: dict | None
) -> dict | None:
    """Look up the meta-learner's test score minus the base model's, paired on the same rows."""
    if base is None or meta is None:
        return None
    found = differences[
        (differences["output"] == output)
        & (differences["base_model"] == base["name"])
        & (differences["meta_learner"] == meta["name"])
    ]
    if found.empty:
        return None
    row = found.iloc[0]
    return {
        "figure": "test",
        "value": _plain(row["value"]),
        "standard_error": _plain(row["standard_error"]),
        "n": int(row["n"]),
    }


def numbers(
    scores: pd.DataFrame, differences: pd.DataFrame, weights: pd.DataFrame | None = None
) -> dict:
    """Collect what a paper's text quotes: best base model, best meta-learner, their difference.

    The best are chosen by the out-of-fold score (base models) and the cross-validated score
    (meta-learners) in the study's primary metric, its first one; the test rows only report.
    Meta-learners that were trained on in-sample predictions are not eligible. The difference and
    its standard error are paired: both scores are of the same rows.

    Parameters
    ----------
    scores : DataFrame
        Rows of scores.csv of one or several studies.
    differences : DataFrame
        Rows of differences.csv of the same studies.
    weights : DataFrame, optional
        Rows of weights.csv of the same studies.

    Returns
    -------
    dict
        For each study ``metric``, ``greater_is_better``, ``outputs`` (by target, or "all" where
        there is one: ``best_base_model``, ``best_meta_learner``, ``stack_minus_best_base``) and
        ``weights`` (by meta-learner: ``share`` of Σ|w| per base model, standardised weights w,
        and ``bias`` per output). Plain types throughout; a missing number is None.

    Raises
    ------
    InputError
        If a column is missing, a table is empty, or a primary metric is unknown.
    """
    require_columns(
        scores,
        (
            "study",
            "estimator",
            "role",
            "figure",
            "metric",
            "output",
            "value",
            "standard_error",
            "n",
        ),
        "scores",
    )
    result = {}
    for study, of_study in scores.groupby("study", sort=False):
        metric = of_study["metric"].iloc[0]
        if metric not in METRICS:
            raise InputError(
                f"scores: study {study}: metric {metric!r} is not known; "
                f"expected one of {', '.join(METRICS)}"
            )
        of_weights = None if weights is None else weights[weights["study"] == study]
        primary = of_study[of_study["metric"] == metric]
        if of_weights is not None:
            leaky = of_weights.loc[of_weights["trained_on"] == "in-sample", "meta_learner"]
            primary = primary[~((primary["role"] == "meta") & primary["estimator"].isin(leaky))]
        greater = METRICS[metric].greater_is_better
        paired = differences[(differences["study"] == study) & (differences["metric"] == metric)]
        outputs = {}
        for output, part in primary.groupby("output", sort=False):
            best = {role: _best(part, role, greater) for role in CHOSEN_BY}
            outputs[output or "all"] = {
                **{_NAMES[role]: found for role, found in best.items()},
                "stack_minus_best_base": _difference(paired, output, best["base"], best["meta"]),
                "networks": _networks(part),
            }
        result[study] = {"metric": metric, "greater_is_better": greater, "outputs": outputs}
        if of_weights is not None and not of_weights.empty:
            result[study]["weights"] = _weights(of_weights)
    return result


def _networks(scores: pd.DataFrame) -> dict:
    """List the test scores of a study's networks, by name."""
    rows = scores[(scores["role"] == "network") & (scores["figure"] == "test")]
    return {row["estimator"]: _figure(row) for row in rows.to_dict("records")}


def _figure(row: dict) -> dict:
    return {
        "value": _plain(row["value"]),
        "standard_error": _plain(row["standard_error"]),
        "n": int(row["n"]),
    }


def _weights(weights: pd.DataFrame) -> dict:
    """Sum up the weights of one study by meta-learner."""
    share = weight_share_table(weights)
    columns = dict(zip(weights["meta_learner"], learner_names(weights), strict=True))
    bias = weights[weights["meta_feature"] == BIAS]
    result = {}
    for learner, column in columns.items():
        own = bias[bias["meta_learner"] == learner]
        result[learner] = {
            "share": {model: _plain(value / 100) for model, value in share[column].items()},
            "bias": {
                output or "all": _plain(value)
                for output, value in zip(own["output"], own["weight"], strict=True)
            },
        }
    return result
