"""Traces of many fits, and the plane of a projection: tables that agree with the estimator."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starstack.errors import InputError
from starstack.projection.plane import project_rows
from starstack.projection.projected_logistic import ProjectedLogisticRegression
from starstack.projection.runs import trace_fits
from starstack.tables.results import RESULT_TABLES

RUN = ["alpha", "intercept", "init", "escape", "solver"]


@pytest.fixture(scope="module")
def tables():
    X = np.array(
        [[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]]
    )
    return trace_fits(
        X,
        np.array([1, 1, 0, 1]),
        rank=2,
        alphas=[0.1],
        intercepts=[False, True],
        inits=["zeros", "orthogonal"],
        solvers=["l-bfgs", "trust-krylov"],
        max_iter=200,
        seed=1,
    )


def test_every_combination_is_there_once(tables):
    assert len(tables["certificates"]) == 2 * 2 * 2 * 2
    assert not tables["certificates"].duplicated(RUN).any()
    for name, table in tables.items():
        expected = list(RESULT_TABLES[f"projection_{name}"])
        assert ["study", *table.columns] == expected


def test_histories_end_where_certificates_say(tables):
    last = tables["history"].groupby(RUN)["loss"].last()
    stated = tables["certificates"].set_index(RUN)["loss"]
    pd.testing.assert_series_equal(last, stated.sort_index(), check_names=False)


def test_eigenvalues_at_the_end_have_the_certified_ends(tables):
    ends = tables["eigenvalues"].query("point == 'end'").groupby(RUN)["eigenvalue"]
    certificates = tables["certificates"].set_index(RUN).sort_index()
    for name, found in (("smallest", ends.min()), ("largest", ends.max())):
        np.testing.assert_allclose(found, certificates[f"{name}_eigenvalue"], atol=1e-3)


def test_null_directions_of_all_minima_are_as_many_as_derived(tables):
    minima = tables["certificates"].query("status == 'minimum'")
    assert len(minima) == 12
    assert set(minima["null_directions_found"]) == {1}
    assert set(minima["null_directions_derived"]) == {1}


def test_a_run_without_a_saddle_is_the_same_with_and_without_escape(tables):
    certificates = tables["certificates"].query("init == 'orthogonal'")
    no, yes = (
        certificates[certificates["escape"] == escape].drop(columns="escape").reset_index(drop=True)
        for escape in ("no", "yes")
    )
    pd.testing.assert_frame_equal(no, yes)
    stuck = tables["certificates"].query("init == 'zeros' and escape == 'no'")
    assert set(stuck["status"]) == {"saddle"}


def test_whether_a_limited_rank_has_a_minimum_may_be_unknown():
    """Of class 0 alone some rows have the first feature, and one column need not see it."""
    rng = np.random.default_rng(2)
    y, X = np.arange(30) % 3, rng.normal(size=(30, 2))
    X[:, 0] = (y == 0) * (rng.random(30) < 0.3)
    options = {"alphas": [0], "intercepts": [True], "inits": ["orthogonal"], "seed": 1}
    options |= {"solvers": ["trust-krylov"], "max_iter": 1000}
    for rank, expected in ((1, "unknown"), (2, "no")):
        certificates = trace_fits(X, y, rank=rank, **options)["certificates"]
        assert set(certificates["has_minimum"]) == {expected}


def test_regions_are_what_the_model_predicts_there(make_classes):
    X, y = make_classes(3)
    model = make_pipeline(StandardScaler(), ProjectedLogisticRegression(2, random_state=0))
    model.fit(X, y)
    rows, regions = project_rows(model, X, y, np.arange(len(y)).astype(str))
    assert set(rows["axis"]) == {"learned"}
    np.testing.assert_allclose(rows[["first", "second"]], model.transform(X))
    nearest = [
        ((regions["first"] - a) ** 2 + (regions["second"] - b) ** 2).idxmin()
        for a, b in zip(rows["first"], rows["second"], strict=True)
    ]
    there = regions.loc[nearest, "class"].to_numpy()
    assert np.mean(there == model.predict(X)) > 0.97  # but for rows within a cell of a border
    fitted = model[-1]
    outputs = regions[["first", "second"]].to_numpy() @ fitted.weights_ + fitted.intercept_
    best = np.sort(outputs, axis=1)
    np.testing.assert_allclose(regions["margin"], best[:, 2] - best[:, 1], atol=1e-12)


def test_two_classes_have_one_learned_direction_and_the_rest(make_classes):
    X, y = make_classes(2)
    model = ProjectedLogisticRegression(2, random_state=0, tol=1e-9).fit(X, y)
    rows, regions = project_rows(model, X, y, np.arange(len(y)).astype(str))
    assert set(rows["axis"]) == {"rest"}
    assert np.std(rows["second"]) > 0.5
    assert regions.groupby("first")["class"].nunique().max() == 1
    # The second axis does not see the learned direction.
    direction = model.coef_[0] / np.linalg.norm(model.coef_)
    moved, _ = project_rows(model, X + 3 * direction, y, np.arange(len(y)).astype(str))
    np.testing.assert_allclose(moved["second"], rows["second"], atol=1e-8)


def test_another_model_cannot_be_drawn(make_classes):
    X, y = make_classes(2)
    with pytest.raises(InputError, match=r"rank 2.*LogisticRegression"):
        project_rows(LogisticRegression().fit(X, y), X, y, np.arange(len(y)).astype(str))
