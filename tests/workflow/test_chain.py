"""A run of the small configuration: what it leaves, and that it equals the library."""

import csv
import json

import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.models.persistence import load_models, read_attributes
from starstack.models.specs import build_estimator
from starstack.splits.split import Split
from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.stacking.stored_features import read_features

STUDY_FILES = (
    "data.h5",
    "split.csv",
    "meta_features.h5",
    "evaluation/scores.csv",
    "tables/scores.csv",
    "tables/scores.tex",
    "tables/weights.csv",
    "tables/diversity.tex",
    "figures/scores.pdf",
    "figures/scores.png",
    "figures/weights.pdf",
    "figures/diversity.png",
)


@pytest.mark.parametrize("study", ["small-classes", "small-values"])
@pytest.mark.parametrize("file", STUDY_FILES)
def test_run_leaves_the_file(small_run, study, file):
    assert (small_run / "results" / study / file).stat().st_size > 0


def test_run_leaves_a_summary_of_all_studies(small_run):
    summary = small_run / "results" / "summary"
    numbers = json.loads((summary / "numbers.json").read_text())
    assert set(numbers) == {"small-classes", "small-values"}
    rows = list(csv.DictReader((summary / "runtime.csv").open()))
    # 4 jobs per study beside the fits; tree is fitted fold by fold (3 + refit), the others at once.
    assert len(rows) == 2 * 4 + (4 + 1) + 2 + 2 + 1
    for row in rows:
        assert float(row["seconds"]) > 0
        assert 20 < float(row["max_rss_mb"]) < 2000


def _bases(study_config):
    names = ("class", "params", "preprocess")
    return [
        (
            name,
            build_estimator(
                {key: entry[key] for key in names if key in entry},
                seed=None,
                allowed_packages=["sklearn"],
                where=name,
            ),
        )
        for name, entry in study_config["base_models"].items()
    ]


@pytest.mark.parametrize(
    ("study", "stack", "meta", "final", "method"),
    [
        ("small-classes", StackingClassifier, "logistic", "logistic", "predict_proba"),
        ("small-values", StackingRegressor, "convex", "convex", "predict"),
    ],
)
def test_files_of_the_workflow_equal_the_estimator(
    small_run, small_config, study, stack, meta, final, method
):
    """Bit for bit: out-of-fold meta-features, weights and predictions of the test rows."""
    folder = small_run / "results" / study
    dataset = read_dataset(folder / "data.h5")
    split = Split.from_csv(folder / "split.csv")
    X, train, test = dataset.frame(), split.train_rows(), np.flatnonzero(split.is_test)
    model = stack(_bases(small_config["studies"][study]), final, cv=split.cv(), drop_first=True)
    model.fit(X.iloc[train], dataset.y[train])

    stored = read_features(folder / "meta_features.h5")
    blocks = stored.blocks["out-of-fold"]
    first = int(dataset.task == "classification")
    Z = np.hstack([block[:, first:] for block in blocks.values()])
    assert np.array_equal(Z, model.oof_meta_features_)

    row_id, predicted = read_meta_predictions(folder / f"meta_learners/{meta}.h5")["test"]
    assert row_id.tolist() == dataset.row_id[test].tolist()
    assert np.array_equal(predicted, getattr(model, method)(X.iloc[test]))

    fitted = load_models(folder / f"meta_learners/{meta}.skops")["meta_learner"]
    attribute = "coef_" if final == "logistic" else "member_weights_"
    assert np.array_equal(getattr(fitted, attribute), getattr(model.final_estimator_, attribute))


def test_stored_models_predict_what_was_stored(small_run):
    folder = small_run / "results" / "small-classes"
    dataset = read_dataset(folder / "data.h5")
    split = Split.from_csv(folder / "split.csv")
    stored = read_features(folder / "meta_features.h5")
    one = load_models(folder / "base_models/tree/refit.skops")["refit"]
    test = dataset.frame().iloc[np.flatnonzero(split.is_test)]
    assert np.array_equal(one.predict_proba(test), stored.blocks["test_refit"]["tree"])
    all_folds = load_models(folder / "base_models/bayes/all.skops")
    assert sorted(all_folds) == ["1", "2", "3", "refit"]


def test_artefacts_state_what_made_them(small_run):
    folder = small_run / "results" / "small-classes"
    made_by = read_attributes(folder / "base_models/tree/1.skops")
    assert made_by["study"] == "small-classes"
    assert made_by["data_sha256"] == read_dataset(folder / "data.h5").sha256()
    assert {"seed", "library_version", "config_sha256"} <= set(made_by)


def test_in_sample_scores_are_named_so(small_run):
    rows = csv.DictReader((small_run / "results/small-classes/evaluation/scores.csv").open())
    figures = {}
    for row in rows:
        figures.setdefault((row["estimator"], row["role"]), set()).add(row["figure"])
    assert figures["logistic", "meta"] == {"cross-validated", "test"}
    assert figures["in-sample", "meta"] == {"in-sample", "test"}
    assert figures["tree", "base"] == {"out-of-fold", "test", "in-sample"}


def test_another_seed_gives_other_splits(small_run, make_project, small_config):
    small_config["seed"] = 4
    other = make_project(small_config)
    other.run("results/small-classes/split.csv")
    split = (other.folder / "results/small-classes/split.csv").read_text()
    assert split != (small_run / "results/small-classes/split.csv").read_text()
