"""Meta-learners on stored meta-features: what they are fitted on, and what they leave behind."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.stacking.blends import BlendClassifier, BlendRegressor
from starstack.stacking.meta_fit import (
    MetaOptions,
    fit_on_stored_features,
    read_meta_predictions,
    write_meta_predictions,
)
from starstack.tables.summaries import weight_share_table

CLASSIFIERS = [("bayes", GaussianNB()), ("near", KNeighborsClassifier(5))]
REGRESSORS = [("line", LinearRegression()), ("near", KNeighborsRegressor(5))]
TREES = [
    ("a", DecisionTreeClassifier(random_state=0)),
    ("b", DecisionTreeClassifier(max_depth=1, random_state=0)),
]
FINAL = LinearDiscriminantAnalysis()
COLUMNS = ["model", "meta_feature", "output", "weight", "standardised"]


def test_rows_are_train_and_test_rows_in_the_order_of_the_data(study, stored):
    dataset, split = study("iris")
    result = fit_on_stored_features(
        dataset, split, stored(dataset, split, CLASSIFIERS), FINAL, MetaOptions()
    )
    train, test = dataset.row_id[~split.is_test], dataset.row_id[split.is_test]
    assert result.predictions["cross-validated"][0].tolist() == train.tolist()
    assert result.predictions["test"][0].tolist() == test.tolist()
    assert result.predictions["test"][1].shape == (len(test), 3)


def test_cross_validated_predictions_by_hand(study, stored):
    dataset, split = study("iris")
    features = stored(dataset, split, CLASSIFIERS)
    result = fit_on_stored_features(dataset, split, features, FINAL, MetaOptions())
    blocks = features.blocks["out-of-fold"]
    Z = np.hstack([blocks["bayes"][:, 1:], blocks["near"][:, 1:]])
    y = dataset.y[split.train_rows()]
    expected = cross_val_predict(FINAL, Z, y, cv=split.cv(), method="predict_proba")
    np.testing.assert_array_equal(result.predictions["cross-validated"][1], expected)
    Z_test = np.hstack([features.blocks["test_refit"][m][:, 1:] for m in ("bayes", "near")])
    expected = clone(FINAL).fit(Z, y).predict_proba(Z_test)
    np.testing.assert_array_equal(result.predictions["test"][1], expected)


def test_labels_of_a_meta_learner_without_probabilities_are_one_column(study, stored):
    dataset, split = study("iris")
    features = stored(dataset, split, CLASSIFIERS)
    result = fit_on_stored_features(dataset, split, features, RidgeClassifier(), MetaOptions())
    for _, values in result.predictions.values():
        assert values.shape[1] == 1
        assert set(values.ravel()) <= {0, 1, 2}


def test_a_meta_learner_trained_in_sample_promises_too_much(study, stored):
    dataset, split = study("iris")
    rng = np.random.default_rng(0)
    noise = replace(dataset, y=rng.permutation(dataset.y))
    features = stored(noise, split, TREES, in_sample=True)
    promised, weight = {}, {}
    for trained_on in ("out-of-fold", "in-sample"):
        result = fit_on_stored_features(
            noise, split, features, BlendClassifier("convex"), MetaOptions(trained_on=trained_on)
        )
        row_id, values = result.predictions["cross-validated"]
        y = noise.y[np.isin(noise.row_id, row_id)]
        promised[trained_on] = np.mean(values.argmax(axis=1) == y)
        weight[trained_on] = result.weights.set_index("model").weight["a"]
    assert promised["in-sample"] > 0.95
    assert abs(promised["out-of-fold"] - 1 / 3) < 3 * np.sqrt(2 / 9 / len(y))
    assert weight["in-sample"] > 0.95
    assert weight["out-of-fold"] < 0.4


def test_mean_of_the_folds_predicts_the_test_rows(study, stored):
    dataset, split = study("diabetes")
    features = stored(dataset, split, REGRESSORS)
    refit, mean = (
        fit_on_stored_features(
            dataset, split, features, Ridge(), MetaOptions(member_predictions=name)
        )
        for name in ("refit", "fold_mean")
    )
    np.testing.assert_array_equal(refit.model.coef_, mean.model.coef_)
    Z = np.hstack([features.blocks["test_fold_mean"][m] for m in ("line", "near")])
    np.testing.assert_array_equal(mean.predictions["test"][1][:, 0], mean.model.predict(Z))
    assert (refit.predictions["test"][1] != mean.predictions["test"][1]).any()


def test_without_test_rows_there_is_no_test_figure(study, stored):
    dataset, split = study("iris", test_size=0)
    features = stored(dataset, split, CLASSIFIERS)
    result = fit_on_stored_features(dataset, split, features, FINAL, MetaOptions())
    assert set(result.predictions) == {"cross-validated"}


def test_weights_table_of_a_linear_meta_learner(study, stored):
    dataset, split = study("linnerud")
    features = stored(dataset, split, REGRESSORS)
    result = fit_on_stored_features(
        dataset, split, features, Ridge(), MetaOptions(keep_features=True)
    )
    table = result.weights
    assert table.columns.tolist() == COLUMNS
    # Six meta-features, three kept features and the bias, for each of three targets.
    assert len(table) == 3 * (6 + 3 + 1)
    first = table[table.output == "y0"]
    assert first.model.tolist() == ["line"] * 3 + ["near"] * 3 + ["f0", "f1", "f2", ""]
    assert first.meta_feature.tolist()[-4:] == ["f0", "f1", "f2", "(bias)"]
    by_name = table.set_index(["meta_feature", "output"]).weight
    assert by_name["near__y1", "y2"] == result.model.coef_[2, 4]
    assert by_name["(bias)", "y1"] == result.model.intercept_[1]


def test_shares_of_the_weights_do_not_depend_on_units(study, stored):
    dataset, split = study("linnerud")
    shares = []
    for unit in ([1.0, 1.0, 1.0], [1000.0, 1.0, 1.0]):
        measured = replace(dataset, y=dataset.y * unit)
        features = stored(measured, split, REGRESSORS)
        result = fit_on_stored_features(
            measured, split, features, LinearRegression(), MetaOptions(keep_features=True)
        )
        table = result.weights.assign(meta_learner="lr", trained_on="out-of-fold")
        shares.append(weight_share_table(table)["lr"].to_numpy())
    np.testing.assert_allclose(*shares, rtol=1e-6)


def test_standardised_weights_are_those_of_standardised_columns(study, stored):
    dataset, split = study("linnerud")
    features = stored(dataset, split, REGRESSORS)
    result = fit_on_stored_features(dataset, split, features, LinearRegression(), MetaOptions())
    Z = np.hstack([features.blocks["out-of-fold"][model] for model in ("line", "near")])
    y = dataset.y[split.train_rows()]
    alone = LinearRegression().fit((Z - Z.mean(0)) / Z.std(0), (y - y.mean(0)) / y.std(0))
    found = result.weights[result.weights.meta_feature != "(bias)"].standardised
    np.testing.assert_allclose(found, alone.coef_.ravel(), rtol=1e-6)


def test_weights_table_of_a_blend(study, stored):
    dataset, split = study("linnerud")
    features = stored(dataset, split, REGRESSORS)
    result = fit_on_stored_features(dataset, split, features, BlendRegressor(), MetaOptions())
    table = result.weights[result.weights.model != ""]
    assert table.model.tolist() == ["line", "near"] * 3
    assert (table.groupby("output").weight.sum() == 1.0).all()
    assert (table.standardised == table.weight).all()
    bias = result.weights[result.weights.meta_feature == "(bias)"]
    assert bias.weight.tolist() == [0.0] * 3
    assert result.description.startswith("y0: Weights: line ")


def test_a_meta_learner_without_weights_has_an_empty_table(study, stored):
    dataset, split = study("iris")
    features = stored(dataset, split, CLASSIFIERS)
    result = fit_on_stored_features(dataset, split, features, GaussianNB(), MetaOptions())
    assert result.weights.empty
    assert result.weights.columns.tolist() == COLUMNS
    assert result.description == ""


@pytest.mark.parametrize("part", ["train_id", "test_id"])
def test_meta_features_of_other_rows_are_refused(study, stored, part):
    dataset, split = study("iris")
    features = stored(dataset, split, CLASSIFIERS)
    other = replace(features, **{part: getattr(features, part)[::-1]})
    with pytest.raises(InputError, match="meta-features are not of this data set's rows"):
        fit_on_stored_features(dataset, split, other, FINAL, MetaOptions())


def test_time_ordered_rows_without_meta_features_are_not_fitted_on(study, stored, recorded):
    dataset, split = study("diabetes", n_rows=100, method="time-ordered")
    features = stored(dataset, split, REGRESSORS)
    result = fit_on_stored_features(
        dataset, split, features, recorded.WeightedRegressor(), MetaOptions()
    )
    blocks = np.arange(1, split.n_folds + 1)
    sizes = [np.sum(split.folds[:, 0] == block) for block in blocks]
    # First on all rows that have meta-features, then on those before each block but the first.
    expected = [sum(sizes), *np.cumsum(sizes)[:-1]]
    assert [len(entry.y) for entry in recorded.log] == expected
    assert all(np.isfinite(entry.X).all() for entry in recorded.log)
    row_id = result.predictions["cross-validated"][0]
    assert row_id.tolist() == dataset.row_id[split.folds[:, 0] > 1].tolist()


def test_weights_and_groups_reach_the_meta_learner(study, stored, recorded):
    dataset, split = study("iris", group=5, sample_weight=True)
    features = stored(dataset, split, CLASSIFIERS)
    for final in (recorded.Weighted(), recorded.Grouped()):
        fit_on_stored_features(dataset, split, features, final, MetaOptions())
    train, fits = split.train_rows(), [fit for fit, _ in split.cv()]
    rows = [train, *(train[fit] for fit in fits)]
    for wanted, weighted, grouped in zip(rows, recorded.log[:5], recorded.log[5:], strict=True):
        np.testing.assert_array_equal(weighted.sample_weight, dataset.sample_weight[wanted])
        np.testing.assert_array_equal(grouped.groups, dataset.group[wanted])


def test_the_file_gives_everything_back(study, stored, tmp_path):
    dataset, split = study("iris", n_rows=90)
    dataset.row_id[3] = "β Pic"
    split.row_id[3] = "β Pic"
    features = stored(dataset, split, CLASSIFIERS)
    result = fit_on_stored_features(dataset, split, features, FINAL, MetaOptions())
    write_meta_predictions(result, tmp_path / "meta.h5", {"study": "iris"})
    back = read_meta_predictions(tmp_path / "meta.h5")
    assert set(back) == {"cross-validated", "test"}
    for rows, (row_id, values) in result.predictions.items():
        assert back[rows][0].tolist() == row_id.tolist()
        np.testing.assert_array_equal(back[rows][1], values)
