"""One base model on the folds of a study: the right rows, the right fits, the file."""

import logging
import re

import h5py
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from starstack.errors import InputError
from starstack.stacking.fold_predictions import (
    REFIT,
    FoldPredictions,
    fit_folds,
    read_predictions,
    write_predictions,
)


def always(estimator):
    return lambda fold: clone(estimator)


def test_each_fold_is_fitted_on_its_rows_and_predicts_the_others(study):
    dataset, split = study("iris")
    models, found = fit_folds(dataset, split, split.fold_names, always(GaussianNB()))
    assert list(models) == [part.fold for part in found] == ["1", "2", "3", "4"]
    for part in found:
        fit_rows, held_out = split.fold(part.fold)
        by_hand = GaussianNB().fit(dataset.X[fit_rows], dataset.y[fit_rows])
        for rows, positions in (("held_out", held_out), ("test", np.flatnonzero(split.is_test))):
            row_id, values = part.values[rows]
            assert row_id.tolist() == dataset.row_id[positions].tolist()
            np.testing.assert_array_equal(values, by_hand.predict_proba(dataset.X[positions]))
        assert part.kind == "probability"
        assert set(part.values) == {"held_out", "test"}


def test_held_out_predictions_are_those_of_cross_val_predict(study):
    dataset, split = study("diabetes")
    _, found = fit_folds(dataset, split, split.fold_names, always(Ridge()))
    rows = split.train_rows()
    X = dataset.frame().iloc[rows]
    expected = cross_val_predict(Ridge(), X, dataset.y[rows], cv=split.cv())
    by_id = dict(zip(dataset.row_id[rows].tolist(), expected, strict=True))
    for part in found:
        row_id, values = part.values["held_out"]
        np.testing.assert_array_equal(values[:, 0], [by_id[name] for name in row_id.tolist()])


def test_refit_sees_all_training_rows_and_no_other(study):
    dataset, split = study("iris")
    _, (part,) = fit_folds(dataset, split, [REFIT], always(KNeighborsClassifier(1)))
    rows = split.train_rows()
    by_hand = KNeighborsClassifier(1).fit(dataset.X[rows], dataset.y[rows])
    np.testing.assert_array_equal(
        part.values["test"][1], by_hand.predict_proba(dataset.X[split.is_test])
    )
    # In-sample predictions exist only where they are asked for, to show what leakage does.
    assert set(part.values) == {"test"}
    _, (part,) = fit_folds(dataset, split, [REFIT], always(KNeighborsClassifier(1)), in_sample=True)
    row_id, values = part.values["in_sample"]
    assert row_id.tolist() == dataset.row_id[rows].tolist()
    assert (values.argmax(axis=1) == dataset.y[rows]).mean() == 1.0


def test_folds_keep_no_in_sample_predictions(study):
    dataset, split = study("iris")
    _, found = fit_folds(dataset, split, ["1", REFIT], always(GaussianNB()), in_sample=True)
    assert set(found[0].values) == {"held_out", "test"}


def test_time_ordered_folds_are_fitted_on_earlier_rows(study, recorded):
    dataset, split = study("iris", method="time-ordered")
    fit_folds(dataset, split, split.fold_names, always(recorded.Unweighted()))
    time_of = dict(zip(dataset.row_id.tolist(), dataset.time, strict=True))
    sizes = [len(entry.y) for entry in recorded.log]
    assert sizes == sorted(set(sizes))
    for entry, fold in zip(recorded.log, split.fold_names, strict=True):
        held_out = split.fold(fold)[1]
        assert max(time_of[name] for name in entry.X.index) < dataset.time[held_out].min()


def test_the_builder_is_asked_for_each_fold_and_weights_arrive(study, recorded):
    dataset, split = study("iris", sample_weight=True)
    fit_folds(dataset, split, ["2", REFIT], lambda fold: recorded.Weighted(fold))
    assert [entry.tag for entry in recorded.log] == ["2", REFIT]
    for entry, rows in zip(recorded.log, (split.fold("2")[0], split.train_rows()), strict=True):
        np.testing.assert_array_equal(entry.sample_weight, dataset.sample_weight[rows])
        assert entry.X.columns.tolist() == list(dataset.feature_names)


def test_groups_reach_a_stack_as_base_model(study, recorded):
    dataset, split = study("iris", group=5)
    fit_folds(dataset, split, ["1"], lambda fold: recorded.Grouped())
    np.testing.assert_array_equal(recorded.log[0].groups, dataset.group[split.fold("1")[0]])


def test_without_test_rows_there_are_no_test_predictions(study):
    dataset, split = study("iris", test_size=0)
    _, found = fit_folds(dataset, split, ["1", REFIT], always(GaussianNB()))
    assert [set(part.values) for part in found] == [{"held_out"}, set()]


class PredictsNothing(RegressorMixin, BaseEstimator):
    """Gives infinity for rows that it has not seen."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), np.inf)


@pytest.mark.parametrize("estimator, message", [
    (
        QuadraticDiscriminantAnalysis(),
        "bases.q, fold 1: column 'f1' is constant in the training rows and Quad.*drop_constant",
    ),
    (
        make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis()),
        "column 'f1' is constant in the training rows and QuadraticDiscriminantAnalysis",
    ),
    (
        KNeighborsClassifier(500),
        "bases.q, fold 1: KNeighborsClassifier cannot be fitted on 84 rows and .*n_neighbors",
    ),
    (
        LogisticRegression(C=-1),
        "bases.q, fold 1: LogisticRegression cannot .*'C'.* Got -1 instead; change the model",
    ),
])  # fmt: skip
def test_what_cannot_be_fitted_is_one_clear_line(study, estimator, message):
    dataset, split = study("iris")
    dataset.X[:, 1] = 3.0
    with pytest.raises(InputError, match=message) as refusal:
        fit_folds(dataset, split, ["1"], always(estimator), where="bases.q")
    assert "\n" not in str(refusal.value)


def test_a_dropped_constant_column_is_no_obstacle(study):
    dataset, split = study("iris")
    dataset.X[:, 1] = 3.0
    keep = Pipeline([("drop_constant", StandardScaler()), ("bayes", GaussianNB())])
    fit_folds(dataset, split, ["1"], always(keep))
    fit_folds(dataset, split, ["1"], always(DecisionTreeClassifier()))


def test_infinite_predictions_are_refused(study):
    dataset, split = study("diabetes", n_rows=60)
    with pytest.raises(InputError, match="fold 1: PredictsNothing: predicts NaN or infinity"):
        fit_folds(dataset, split, ["1"], always(PredictsNothing()))


def test_every_fold_is_logged(study, caplog):
    dataset, split = study("iris")
    with caplog.at_level(logging.INFO, logger="starstack.stacking.fold_predictions"):
        fit_folds(dataset, split, ["1", REFIT], always(GaussianNB()))
    assert [re.sub(r"\d+ (rows|held-out|test)", r"N \1", r.message) for r in caplog.records] == [
        "fold 1: fitted on N rows, predicted N held-out and N test rows",
        "fold refit: fitted on N rows, predicted N held-out and N test rows",
    ]


@pytest.mark.parametrize("one_file", [True, False])
def test_files_give_back_what_was_written(study, tmp_path, one_file):
    dataset, split = study("iris", n_rows=60)
    dataset.row_id[0] = "Gaia DR3 α-1"
    _, found = fit_folds(dataset, split, [*split.fold_names, REFIT], always(GaussianNB()))
    parts = [found] if one_file else [[part] for part in found]
    paths = [tmp_path / f"{i}.h5" for i in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        write_predictions(part, path, {"study": "iris", "seed": "7"})
    back = {part.fold: part for part in read_predictions(paths)}
    assert set(back) == {*split.fold_names, REFIT}
    for part in found:
        assert back[part.fold].kind == part.kind
        assert set(back[part.fold].values) == set(part.values)
        for rows, (row_id, values) in part.values.items():
            assert back[part.fold].values[rows][0].tolist() == row_id.tolist()
            np.testing.assert_array_equal(back[part.fold].values[rows][1], values)
    with h5py.File(paths[0]) as file:
        assert dict(file.attrs) == {"study": "iris", "seed": "7"}


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    part = FoldPredictions("1", "value", {"held_out": (np.array(["b", "a"]), np.eye(2))})
    for name, made_by in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"})):
        write_predictions([part], tmp_path / name, made_by)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
