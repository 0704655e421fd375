"""The jobs of the workflow and the estimators give the same numbers, to the last bit."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.evaluation import Evaluation
from starstack.stacking.meta_fit import MetaOptions, fit_on_stored_features
from starstack.stacking.meta_learners import META_LEARNERS, build_meta_learner
from starstack.stacking.risk import meta_predictions

BASES = {
    "classification": [
        ("bayes", GaussianNB()),
        ("forest", RandomForestClassifier(5, random_state=2)),
        ("ridge", RidgeClassifier()),
    ],
    "regression": [
        ("line", Ridge(0.1)),
        ("near", KNeighborsRegressor(5)),
        ("svr", make_pipeline(StandardScaler(), LinearSVR(random_state=0))),
    ],
}
STUDIES = {
    "two classes": dict(loader="breast_cancer", n_rows=200, columns=8),
    "three classes": dict(loader="iris"),
    "regression": dict(loader="diabetes", n_rows=150),
    "several targets": dict(loader="linnerud"),
    "repeated": dict(loader="iris", n_repeats=3),
    "repeated regression": dict(loader="diabetes", n_rows=150, n_repeats=2),
    "time-ordered": dict(loader="diabetes", n_rows=150, method="time-ordered"),
    "time-ordered classes": dict(loader="breast_cancer", n_rows=200, columns=8,
                                 method="time-ordered"),
    "grouped": dict(loader="iris", group=5),
    "weighted": dict(loader="diabetes", n_rows=150, sample_weight=True),
    "weighted classes": dict(loader="iris", sample_weight=True, group=3),
    "weighted targets": dict(loader="linnerud", sample_weight=True),
}  # fmt: skip


def estimator_of(dataset, split, final, options):
    kind = StackingClassifier if dataset.task == "classification" else StackingRegressor
    return kind(BASES[dataset.task], final, cv=split.cv(), **options)


def fit(stack, dataset, split):
    rows = split.train_rows()
    return stack.fit(
        dataset.frame().iloc[rows],
        dataset.y[rows],
        groups=None if dataset.group is None else dataset.group[rows],
        sample_weight=None if dataset.sample_weight is None else dataset.sample_weight[rows],
    )


@pytest.mark.parametrize("options", [
    {}, {"drop_first": False, "keep_features": True}, {"member_predictions": "fold_mean"},
])  # fmt: skip
@pytest.mark.parametrize("name", STUDIES)
def test_features_meta_learner_and_test_predictions(study, stored, name, options):
    dataset, split = study(**STUDIES[name])
    final = RidgeClassifier() if dataset.task == "classification" else Ridge()
    stack = fit(estimator_of(dataset, split, final, options), dataset, split)
    features = stored(dataset, split, BASES[dataset.task])
    result = fit_on_stored_features(dataset, split, features, final, MetaOptions(**options))

    np.testing.assert_array_equal(features.has_oof, stack.has_oof_)
    assert stack.has_oof_.all() != name.startswith("time-ordered")
    assert result.layout.columns == stack.layout_.columns
    np.testing.assert_array_equal(result.model.coef_, stack.final_estimator_.coef_)
    np.testing.assert_array_equal(result.model.intercept_, stack.final_estimator_.intercept_)
    assert result.description == stack.describe()

    row_id, predicted = result.predictions["test"]
    assert row_id.tolist() == dataset.row_id[split.is_test].tolist()
    expected = stack.predict(dataset.frame()[split.is_test])
    np.testing.assert_array_equal(predicted, expected.reshape(len(row_id), -1))

    crossed = meta_predictions(
        final, stack.oof_meta_features_, stack._training.y, split.cv(), task=dataset.task,
        layout=stack.layout_, groups=stack._training.groups,
        sample_weight=stack._training.sample_weight,
    )  # fmt: skip
    row_id, values = result.predictions["cross-validated"]
    rows = crossed["predicted"]
    assert row_id.tolist() == dataset.row_id[split.train_rows()][rows].tolist()
    expected = crossed.get("values", crossed.get("codes"))[rows]
    np.testing.assert_array_equal(values, expected.reshape(len(values), -1))


@pytest.mark.parametrize("name", ["two classes", "three classes", "regression", "several targets"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_meta_learner_by_name(study, stored, name):
    dataset, split = study(**STUDIES[name])
    bases = BASES[dataset.task][:2]
    features = stored(dataset, split, bases)
    method = "predict_proba" if dataset.task == "classification" else "predict"
    for final in META_LEARNERS[dataset.task]:
        # Networks take seconds: two kinds of study are enough, and a few steps.
        if final == "dense" and name not in ("three classes", "several targets"):
            continue
        params = {"epochs": 3} if final == "dense" else {}
        spec = {"class": final, "params": params}
        meta_learner = build_meta_learner(spec, task=dataset.task, seed=1)
        # A name has no seed, which a network needs to come out the same twice.
        given = meta_learner if final == "dense" else final
        stack = estimator_of(dataset, split, given, {}).set_params(estimators=bases)
        fit(stack, dataset, split)
        result = fit_on_stored_features(dataset, split, features, meta_learner, MetaOptions())
        predict = getattr(stack, method, stack.predict)
        expected = predict(dataset.frame()[split.is_test])
        found = result.predictions["test"][1]
        np.testing.assert_array_equal(found, expected.reshape(len(found), -1))


@pytest.mark.parametrize("name", STUDIES)
def test_scores_are_those_of_the_risk_table(study, stored, name):
    dataset, split = study(**STUDIES[name])
    classification = dataset.task == "classification"
    metric = "accuracy" if classification else "rmse"
    final = GaussianNB() if classification else Ridge()
    # Every column kept: a dropped one is restored, which costs its last digits.
    stack = fit(estimator_of(dataset, split, final, {"drop_first": False}), dataset, split)
    features = stored(dataset, split, BASES[dataset.task])
    options = MetaOptions(drop_first=False)
    result = fit_on_stored_features(dataset, split, features, final, options)
    scores = Evaluation(dataset, split, features, {"meta": result.predictions}).scores([metric])
    # Time-ordered rows without a meta-feature have no figure in either table.
    table = stack.risk_table(metric)
    table["estimator"] = table.estimator.replace("final_estimator", "meta")
    keys = ["estimator", "role", "figure", "metric", "output", "n"]
    merged = table.merge(scores, on=keys, how="left", suffixes=("", "_workflow"))
    assert len(merged) == len(table) == 4 * (1 if classification else dataset.n_targets)
    np.testing.assert_array_equal(merged.value_workflow, merged.value)
    np.testing.assert_array_equal(merged.standard_error_workflow, merged.standard_error)
