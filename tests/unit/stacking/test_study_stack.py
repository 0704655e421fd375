"""A stack read from the results folder predicts the test rows as the workflow did."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor

from starstack.data.store import write_dataset
from starstack.errors import InputError
from starstack.models.persistence import dump_models, load_models, read_attributes
from starstack.stacking.fold_predictions import REFIT, fit_folds
from starstack.stacking.meta_fit import (
    MetaOptions,
    fit_on_stored_features,
    write_meta_predictions,
)
from starstack.stacking.meta_learners import build_meta_learner
from starstack.stacking.stored_features import assemble, write_features
from starstack.stacking.study_stack import load_stack

BASES = {
    "classification": {"bayes": GaussianNB(), "ridge": RidgeClassifier()},
    "regression": {"near": KNeighborsRegressor(3), "line": Ridge(0.1)},
}


@pytest.fixture
def finished(study, tmp_path):
    """Leave what the jobs of a study leave, one file per fold for the first base model."""

    def make(loader, final, **options):
        dataset, split = study(loader)
        folder = tmp_path / "results"
        (folder / "meta_learners").mkdir(parents=True)
        predictions = {}
        for name, base in BASES[dataset.task].items():
            (folder / "base_models" / name).mkdir(parents=True)
            models, predictions[name] = fit_folds(
                dataset, split, [REFIT, *split.fold_names], lambda fold, base=base: clone(base)
            )
            apart = {fold: {fold: model} for fold, model in models.items()}
            files = {"all": models} if len(predictions) > 1 else apart
            for file, part in files.items():
                dump_models(part, folder / "base_models" / name / f"{file}.skops", {})
        features = assemble(split, predictions)
        options = MetaOptions(**options)
        result = fit_on_stored_features(dataset, split, features, final, options)
        write_dataset(dataset, folder / "data.h5")
        write_features(features, folder / "meta_features.h5", {})
        split.to_csv(folder / "split.csv")
        attributes = {"options": json.dumps(asdict(options))}
        dump_models({"m": result.model}, folder / "meta_learners/final.skops", attributes)
        write_meta_predictions(result, folder / "meta_learners/final.h5", {})
        return folder, dataset.frame()[split.is_test], result.predictions["test"]

    return make


@pytest.mark.parametrize("options", [
    {}, {"drop_first": False, "keep_features": True}, {"member_predictions": "fold_mean"},
])  # fmt: skip
@pytest.mark.parametrize(
    ("loader", "final"),
    [("linnerud", Ridge()), ("diabetes", Ridge()), ("iris", LogisticRegression())],
)
def test_test_rows_come_out_again(finished, loader, final, options):
    folder, rows, (row_id, expected) = finished(loader, final, **options)
    found = load_stack(folder, "final").predict(rows)
    assert found.index.tolist() == row_id.tolist()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if loader == "iris":
        assert found.columns.tolist() == ["0", "1", "2"]


def test_a_meta_learner_without_probabilities_names_the_class(finished):
    folder, rows, (_, codes) = finished("iris", RidgeClassifier())
    found = load_stack(folder, "final").predict(rows)
    assert found["class"].tolist() == [str(int(code)) for code in codes.ravel()]


def test_other_columns_and_missing_values_are_refused(finished):
    folder, rows, _ = finished("diabetes", Ridge())
    stack = load_stack(folder, "final")
    with pytest.raises(InputError, match="column 1 is 'f9', expected 'f0'"):
        stack.predict(rows.iloc[:, ::-1])
    with pytest.raises(InputError, match=r"expected shape \(rows, 10\), got \(3, 9\)"):
        stack.predict(rows.to_numpy()[:3, 1:])
    rows.iloc[4, 2] = np.nan
    with pytest.raises(InputError, match=rf"column 'f2' is missing .* in row '{rows.index[4]}'"):
        stack.predict(rows)


def test_files_that_do_not_tell_are_refused(finished):
    folder, _, _ = finished("diabetes", Ridge())
    dump_models({"m": Ridge()}, folder / "meta_learners/old.skops", {})
    shutil.copy(folder / "meta_learners/final.h5", folder / "meta_learners/old.h5")
    with pytest.raises(InputError, match=r"old\.skops: does not say how .*; run the workflow"):
        load_stack(folder, "old")
    (folder / "base_models/near/all.skops").touch()
    with pytest.raises(InputError, match=r"near: holds all\.skops and refit\.skops, of two"):
        load_stack(folder, "final")


def test_a_blend_keeps_its_layout(finished):
    final = build_meta_learner({"class": "convex"}, task="regression", seed=1)
    folder, rows, (_, expected) = finished("linnerud", final)
    np.testing.assert_allclose(load_stack(folder, "final").predict(rows), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["base_models/line/all", "meta_learners/final"])
def test_a_file_of_another_run_is_refused(finished, name, tmp_path):
    folder, *_ = finished("diabetes", Ridge())
    path = folder / f"{name}.skops"
    models = load_models(path)
    for model in models.values():
        model.coef_ *= 1.01
    dump_models(models, path, read_attributes(path))
    with pytest.raises(InputError, match="the files are of different runs"):
        load_stack(folder, "final")


def test_a_fold_without_a_model_is_named(finished):
    folder, *_ = finished("diabetes", Ridge(), member_predictions="fold_mean")
    path = folder / "base_models/line/all.skops"
    models = load_models(path)
    del models["2"]
    dump_models(models, path, {})
    with pytest.raises(InputError, match=r"line: holds no model of fold 2, which split\.csv has"):
        load_stack(folder, "final")


def test_what_is_not_there_is_named(finished):
    folder, rows, _ = finished("diabetes", Ridge())
    with pytest.raises(InputError, match=r"nope\.h5"):
        load_stack(folder, "nope")
    with pytest.raises(InputError, match="expected at least one row, got none"):
        load_stack(folder, "final").predict(rows[:0])
