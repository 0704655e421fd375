"""Result tables of a study: their columns, which figure is which, and values made by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

from starstack.data.dataset import Dataset
from starstack.splits.split import Split
from starstack.stacking.evaluation import Evaluation
from starstack.stacking.meta_fit import MetaOptions, fit_on_stored_features
from starstack.stacking.stored_features import StoredFeatures

SCORES = "study estimator role figure metric output value standard_error n"
DIVERSITY = "study statistic model_a model_b value n"
DIFFERENCES = "study meta_learner base_model metric output value standard_error n"
PREDICTIONS = "study estimator role row_id output observed predicted"
RELIABILITY = "study estimator role output bin mean_predicted observed_frequency standard_error n"


def by_hand():
    """Four training rows, two test rows, two classes, two base models and a meta-learner."""
    dataset = Dataset(
        name="made", task="classification", X=np.zeros((6, 1)), y=np.array([0, 1, 1, 0, 1, 0]),
        row_id=np.array(list("abcdef")), feature_names=("x",), target_names=("y",),
        classes=("no", "yes"),
    )  # fmt: skip
    is_test = np.array([False, False, True, False, False, True])
    split = Split(dataset.row_id, is_test, np.array([[1], [2], [0], [1], [2], [0]]), "partition")

    def two(p):
        return np.column_stack([1 - np.array(p), p])

    features = StoredFeatures(
        kinds={"p": "probability", "d": "decision"},
        blocks={
            # Training rows a, b, d, e with classes 0, 1, 0, 1; test rows c, f with 1, 0.
            "out-of-fold": {"p": two([0.2, 0.8, 0.6, 0.7]), "d": np.array([[-1.0, 2, -3, -4]]).T},
            "test_refit": {"p": two([0.9, 0.4]), "d": np.array([[1.0, 2.0]]).T},
            "test_fold_mean": {"p": two([0.5, 0.5]), "d": np.array([[0.0, 0.0]]).T},
        },
        train_id=dataset.row_id[~is_test],
        test_id=dataset.row_id[is_test],
    )
    # The rows of the meta-learner come in another order: they are matched by id.
    meta = {
        "cross-validated": (np.array(["e", "d", "b", "a"]), two([0.9, 0.2, 0.4, 0.1])),
        "test": (np.array(["f", "c"]), two([0.3, 0.6])),
    }
    return Evaluation(dataset, split, features, {"m": meta})


def test_scores_by_hand():
    table = by_hand().scores(["accuracy", "log_loss"])
    assert " ".join(table.columns) == SCORES
    assert set(table.study) == {"made"}
    value = table.set_index(["estimator", "role", "figure", "metric"]).value
    expected = {
        ("p", "base", "out-of-fold", "accuracy"): 3 / 4,
        ("d", "base", "out-of-fold", "accuracy"): 3 / 4,
        ("p", "base", "test", "accuracy"): 1.0,
        ("d", "base", "test", "accuracy"): 1 / 2,
        ("m", "meta", "cross-validated", "accuracy"): 3 / 4,
        ("m", "meta", "test", "accuracy"): 1.0,
        ("p", "base", "out-of-fold", "log_loss"): -np.log([0.8, 0.8, 0.4, 0.7]).mean(),
        ("p", "base", "test", "log_loss"): -np.log([0.9, 0.6]).mean(),
        ("m", "meta", "cross-validated", "log_loss"): -np.log([0.9, 0.8, 0.4, 0.9]).mean(),
        ("m", "meta", "test", "log_loss"): -np.log([0.7, 0.6]).mean(),
    }
    assert len(table) == len(expected)
    for key, wanted in expected.items():
        np.testing.assert_allclose(value[key], wanted, rtol=1e-12)


def test_differences_are_paired_by_row():
    table = by_hand().differences(["accuracy", "log_loss"])
    assert " ".join(table.columns) == DIFFERENCES
    assert set(table.meta_learner) == {"m"}
    found = table.set_index(["base_model", "metric"])
    # Test rows c and f: the meta-learner is right on both, d on c alone.
    assert found.value["p", "accuracy"] == 0.0
    assert found.value["d", "accuracy"] == 0.5
    loss = -np.log([0.6, 0.7]) + np.log([0.9, 0.6])
    np.testing.assert_allclose(found.value["p", "log_loss"], loss.mean(), rtol=1e-12)
    spread = np.sqrt(((loss - loss.mean()) ** 2).sum()) / 2
    np.testing.assert_allclose(found.standard_error["p", "log_loss"], spread, rtol=1e-12)
    # A decision function has no log loss, and so no difference of it.
    assert ("d", "log_loss") not in found.index


def test_differences_of_several_targets(study, stored):
    bases = [("near", KNeighborsRegressor(3)), ("ridge", Ridge())]
    *_, evaluation = everything(study, stored, "linnerud", bases, {"a": Ridge(), "b": Ridge(9.0)})
    table = evaluation.differences(["mae"])
    score = evaluation.scores(["mae"]).query("figure == 'test'")
    value = score.set_index(["estimator", "output"]).value
    assert len(table) == 2 * 2 * 3
    for row in table.itertuples():
        expected = value[row.meta_learner, row.output] - value[row.base_model, row.output]
        np.testing.assert_allclose(row.value, expected, atol=1e-12)


def test_predictions_by_hand():
    table = by_hand().predictions()
    assert " ".join(table.columns) == PREDICTIONS
    # A decision function is no probability: the model has no rows here.
    assert table.estimator.tolist() == ["p"] * 4 + ["m"] * 4
    rows = table[table.estimator == "m"].set_index(["row_id", "output"])
    assert rows.observed.to_dict() == {
        ("c", "no"): 0, ("c", "yes"): 1, ("f", "no"): 1, ("f", "yes"): 0
    }  # fmt: skip
    np.testing.assert_allclose(rows.predicted, [0.4, 0.6, 0.7, 0.3])
    np.testing.assert_allclose(table.predicted[:4], [0.1, 0.9, 0.6, 0.4])


def test_reliability_by_hand():
    table = by_hand().reliability()
    assert " ".join(table.columns) == RELIABILITY
    rows = table[table.estimator == "m"]
    assert rows[["output", "bin", "observed_frequency", "n"]].values.tolist() == [
        ["yes", 4, 0.0, 1], ["yes", 7, 1.0, 1]
    ]  # fmt: skip
    assert set(table.estimator) == {"p", "m"}


def test_diversity_by_hand():
    """The first model errs on row d, the second, which decides only, on row e."""
    table = by_hand().diversity()
    assert " ".join(table.columns) == DIVERSITY
    value = table.set_index("statistic").value
    assert value["q_statistic"] == -1.0
    assert value["disagreement"] == 0.5
    expected = np.corrcoef([0.2, 0.2, 0.6, 0.3], [0, 0, 0, 1])[0, 1]
    np.testing.assert_allclose(value["error_correlation"], expected, rtol=1e-12)


def everything(study, stored, loader, bases, finals, **options):
    dataset, split = study(loader, **options)
    in_sample = any(name == "leaky" for name in finals)
    features = stored(dataset, split, bases, in_sample=in_sample)
    found = {}
    for name, final in finals.items():
        trained_on = "in-sample" if name == "leaky" else "out-of-fold"
        result = fit_on_stored_features(
            dataset, split, features, final, MetaOptions(trained_on=trained_on)
        )
        found[name] = result.predictions
    leaky = [name for name in finals if name == "leaky"]
    return dataset, split, features, Evaluation(dataset, split, features, found, in_sample=leaky)


def test_scores_of_a_real_study(study, stored):
    bases = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(5))]
    finals = {"linear": LinearDiscriminantAnalysis()}
    dataset, split, features, evaluation = everything(study, stored, "iris", bases, finals)
    value = evaluation.scores(["log_loss"]).set_index(["estimator", "figure"]).value
    train, test = split.train_rows(), np.flatnonzero(split.is_test)
    for model, _ in bases:
        for figure, block, rows in (
            ("out-of-fold", "out-of-fold", train), ("test", "test_refit", test)
        ):  # fmt: skip
            wanted = metrics.log_loss(dataset.y[rows], features.blocks[block][model])
            np.testing.assert_allclose(value[model, figure], wanted, rtol=1e-12)
    assert set(value.index) == {
        ("bayes", "out-of-fold"), ("bayes", "test"), ("near", "out-of-fold"), ("near", "test"),
        ("linear", "cross-validated"), ("linear", "test"),
    }  # fmt: skip


def test_what_was_trained_in_sample_is_called_so(study, stored):
    bases = [
        ("tree", DecisionTreeClassifier(random_state=0)),
        ("stump", DecisionTreeClassifier(max_depth=1)),
    ]
    finals = {"honest": LinearDiscriminantAnalysis(), "leaky": LinearDiscriminantAnalysis()}
    *_, evaluation = everything(
        study, stored, "breast_cancer", bases, finals, n_rows=200, columns=6
    )
    table = evaluation.scores(["accuracy"])
    figures = table.groupby("estimator").figure.agg(set).to_dict()
    assert figures == {
        "tree": {"out-of-fold", "test", "in-sample"},
        "stump": {"out-of-fold", "test", "in-sample"},
        "honest": {"cross-validated", "test"},
        "leaky": {"in-sample", "test"},
    }
    value = table.set_index(["estimator", "figure"]).value
    assert value["tree", "in-sample"] == 1.0
    assert value["leaky", "in-sample"] > value["leaky", "test"]


def test_several_targets_are_scored_one_by_one(study, stored):
    bases = [("near", KNeighborsRegressor(3)), ("ridge", Ridge())]
    finals = {"linear": Ridge(), "other": Ridge(10.0)}
    dataset, split, _, evaluation = everything(study, stored, "linnerud", bases, finals)
    table = evaluation.scores(["mae"]).set_index(["estimator", "figure", "output"]).value
    by_hand = KNeighborsRegressor(3)
    train, test = split.train_rows(), split.is_test
    by_hand.fit(dataset.X[train], dataset.y[train])
    wanted = np.abs(dataset.y[test] - by_hand.predict(dataset.X[test])).mean(axis=0)
    for t in range(3):
        np.testing.assert_allclose(table["near", "test", f"y{t}"], wanted[t], rtol=1e-12)
    assert len(table) == 4 * 2 * 3

    rows = evaluation.predictions()
    assert len(rows) == 4 * test.sum() * 3
    near = rows[(rows.estimator == "near") & (rows.output == "y1")].set_index("row_id")
    assert near.index.tolist() == dataset.row_id[test].tolist()
    np.testing.assert_array_equal(near.observed, dataset.y[test, 1])
    np.testing.assert_allclose(near.predicted, by_hand.predict(dataset.X[test])[:, 1])
    assert evaluation.reliability().empty

    diversity = evaluation.diversity()
    assert diversity[["statistic", "model_a", "model_b"]].values.tolist() == [
        ["error_correlation", "near", "ridge"]
    ]
    assert diversity.n.tolist() == [len(train)]


def test_diversity_is_of_out_of_fold_errors(study, stored):
    bases = [
        ("bayes", GaussianNB()),
        ("ridge", RidgeClassifier()),
        ("near", KNeighborsClassifier(5)),
    ]
    dataset, split, features, evaluation = everything(
        study, stored, "iris", bases, {"linear": LinearDiscriminantAnalysis()}
    )
    table = evaluation.diversity()
    assert set(table.model_a) | set(table.model_b) == {"bayes", "ridge", "near"}
    y = dataset.y[split.train_rows()]
    blocks = features.blocks["out-of-fold"]
    errors = {model: 1 - blocks[model][np.arange(len(y)), y] for model in ("bayes", "near")}
    # The ridge gives no probability: it errs wholly or not at all.
    errors["ridge"] = (blocks["ridge"].argmax(axis=1) != y).astype(float)
    value = table.set_index(["statistic", "model_a", "model_b"]).value
    for a, b in (("bayes", "ridge"), ("bayes", "near"), ("ridge", "near")):
        expected = np.corrcoef(errors[a], errors[b])[0, 1]
        np.testing.assert_allclose(value["error_correlation", a, b], expected, rtol=1e-9)


def test_time_ordered_rows_without_prediction_are_left_out_of_every_figure(study, stored):
    bases = [("near", KNeighborsRegressor(3)), ("ridge", Ridge())]
    _, split, _, evaluation = everything(
        study, stored, "diabetes", bases, {"linear": Ridge()}, n_rows=100,
        method="time-ordered",
    )  # fmt: skip
    rows = evaluation.scores(["rmse"]).set_index(["estimator", "figure"]).n
    blocks = split.folds[:, 0]
    assert rows["near", "out-of-fold"] == np.sum(blocks > 0)
    assert rows["linear", "cross-validated"] == np.sum(blocks > 1)
    assert evaluation.diversity().n.tolist() == [np.sum(blocks > 0)]


def test_groups_and_weights_reach_the_scores(study, stored):
    bases = [("near", KNeighborsClassifier(5))]
    options = dict(group=5, sample_weight=True)
    dataset, split, features, evaluation = everything(
        study, stored, "iris", bases, {"linear": LinearDiscriminantAnalysis()}, **options
    )
    row = evaluation.scores(["accuracy"]).set_index(["estimator", "figure"]).loc["near", "test"]
    test = np.flatnonzero(split.is_test)
    right = features.blocks["test_refit"]["near"].argmax(axis=1) == dataset.y[test]
    weight = dataset.sample_weight[test] / dataset.sample_weight[test].mean()
    np.testing.assert_allclose(row.value, np.mean(weight * right), rtol=1e-12)
    influence = pd.Series(weight * (right - row.value)).groupby(dataset.group[test]).sum()
    expected = np.sqrt((influence**2).sum()) / len(test)
    np.testing.assert_allclose(row.standard_error, expected, rtol=1e-12)

    values = evaluation.found["linear", "meta", "test"][1]
    gained = (values.argmax(axis=1) == dataset.y[test]).astype(float) - right
    row = evaluation.differences(["accuracy"]).iloc[0]
    np.testing.assert_allclose(row.value, np.mean(weight * gained), atol=1e-12)
    influence = pd.Series(weight * (gained - row.value)).groupby(dataset.group[test]).sum()
    expected = np.sqrt((influence**2).sum()) / len(test)
    assert expected > 0
    np.testing.assert_allclose(row.standard_error, expected, rtol=1e-9)


@pytest.mark.parametrize("final", [RidgeClassifier(), LinearDiscriminantAnalysis()])
def test_labels_have_an_accuracy_and_probabilities_everything(study, stored, final):
    bases = [("bayes", GaussianNB())]
    *_, evaluation = everything(study, stored, "iris", bases, {"meta": final})
    scored = set(evaluation.scores(["accuracy", "log_loss"]).query("role == 'meta'").metric)
    has_probabilities = hasattr(final, "predict_proba")
    assert scored == ({"accuracy", "log_loss"} if has_probabilities else {"accuracy"})
    for table in (evaluation.predictions(), evaluation.reliability()):
        assert ("meta" in set(table.estimator)) == has_probabilities


def test_without_test_rows_the_tables_of_test_rows_are_empty(study, stored):
    bases = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(5))]
    *_, evaluation = everything(
        study, stored, "iris", bases, {"m": LinearDiscriminantAnalysis()}, test_size=0
    )
    assert set(evaluation.scores(["accuracy"]).figure) == {"out-of-fold", "cross-validated"}
    assert " ".join(evaluation.predictions().columns) == PREDICTIONS
    assert evaluation.predictions().empty
    assert " ".join(evaluation.reliability().columns) == RELIABILITY
