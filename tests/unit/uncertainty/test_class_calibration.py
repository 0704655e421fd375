"""Scores of probabilities of classes, against scikit-learn and by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from starstack.errors import InputError
from starstack.uncertainty.class_calibration import class_tables

CLASSES = ("a", "b", "c")


def case(n=200, seed=0, group=None, weight=None):
    """Test rows, in an order that is not that of the data; one method that knows, one that errs."""
    rng = np.random.default_rng(seed)
    p = softmax(1.5 * rng.standard_normal((n, 3)), axis=1)
    codes = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    row_id = np.array([f"r{i}" for i in range(n)])
    dataset = SimpleNamespace(
        y=codes, row_id=row_id[:], classes=CLASSES, group=group, sample_weight=weight
    )
    order = rng.permutation(n)
    sharp = softmax(3 * np.log(p), axis=1)
    parts = [
        pd.DataFrame(
            {
                "method": method,
                "row_id": np.repeat(row_id[order], 3),
                "output": np.tile(CLASSES, n),
                "probability": values[order].ravel(),
                "probability_scaled": p[order].ravel(),
            }
        )
        for method, values in (("plain", sharp), ("kfac, probit", p))
    ]
    return SimpleNamespace(
        p=p, sharp=sharp, codes=codes, dataset=dataset, table=pd.concat(parts, ignore_index=True)
    )


def statistic(tables, method, temperature, name):
    table = tables["class_calibration"]
    chosen = (table["method"] == method) & (table["temperature"] == temperature)
    (row,) = table[chosen & (table["statistic"] == name)].to_dict("records")
    return row


def test_scores_are_scikit_learns():
    made = case()
    tables = class_tables(made.table, made.dataset)
    for method, values in (("plain", made.sharp), ("kfac, probit", made.p)):
        row = statistic(tables, method, "before", "log_loss")
        assert row["value"] == pytest.approx(log_loss(made.codes, values))
        assert row["n"] == 200
        row = statistic(tables, method, "before", "brier")
        labels = {"labels": [0, 1, 2], "scale_by_half": False}
        assert row["value"] == pytest.approx(brier_score_loss(made.codes, values, **labels))
    right = (made.p.argmax(axis=1) == made.codes).mean()
    assert statistic(tables, "plain", "after", "accuracy")["value"] == pytest.approx(right)


def test_differences_are_paired():
    made = case()
    tables = class_tables(made.table, made.dataset)
    row = statistic(tables, "kfac, probit", "before", "log_loss_minus_plain")
    at = (np.arange(200), made.codes)
    each = np.log(made.sharp[at]) - np.log(made.p[at])
    assert row["value"] == pytest.approx(each.mean())
    assert row["standard_error"] == pytest.approx(each.std() / np.sqrt(200))
    own = statistic(tables, "plain", "before", "log_loss_minus_plain")
    assert (own["value"], own["standard_error"]) == (0, 0)


def test_true_probabilities_have_no_excess_and_sharpened_ones_have():
    made = case(n=3000)
    tables = class_tables(made.table, made.dataset)
    true, sharp = (
        statistic(tables, method, "before", "excess") for method in ("kfac, probit", "plain")
    )
    assert abs(true["value"]) < 4 * true["standard_error"]
    assert sharp["value"] > 10 * sharp["standard_error"]
    entropy = -(made.p * np.log(made.p)).sum(axis=1).mean()
    assert statistic(tables, "kfac, probit", "before", "entropy")["value"] == pytest.approx(entropy)
    error, promised = (
        statistic(tables, "kfac, probit", "before", name)
        for name in ("expected_calibration_error", "calibrated_error")
    )
    assert abs(error["value"] - promised["value"]) < 4 * promised["standard_error"]
    # Of the scale of the sharpened ones, nothing is left after.
    after = statistic(tables, "plain", "after", "excess")
    assert after["value"] == pytest.approx(true["value"])


def test_bins_hold_all_rows_of_every_method():
    made = case()
    table = class_tables(made.table, made.dataset)["class_reliability"]
    assert set(table.groupby(["method", "temperature"])["n"].sum()) == {200}
    assert (table["interval_low"] <= table["right"]).all()
    assert (table["right"] <= table["interval_high"]).all()


def test_groups_and_weights_reach_the_errors():
    plain = statistic(
        class_tables(case().table, case().dataset), "kfac, probit", "before", "log_loss"
    )
    made = case(group=np.arange(200) // 20, weight=1.0 + np.arange(200))
    tables = class_tables(made.table, made.dataset)
    for name in ("log_loss", "excess"):
        assert np.isfinite(statistic(tables, "plain", "before", name)["standard_error"])
    other = statistic(tables, "kfac, probit", "before", "log_loss")
    at = (np.arange(200), made.codes)
    weighted = np.average(-np.log(made.p[at]), weights=made.dataset.sample_weight)
    assert other["value"] == pytest.approx(weighted) != plain["value"]
    assert other["standard_error"] != pytest.approx(plain["standard_error"], rel=1e-3)


def test_methods_of_other_rows_are_refused():
    made = case()
    with pytest.raises(InputError, match="one of each class for the same rows"):
        class_tables(made.table.iloc[:-1], made.dataset)
