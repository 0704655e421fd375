"""Meta-features of a study: put together by row id, whatever order the files hold them in."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor

from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import REFIT, FoldPredictions
from starstack.stacking.stored_features import assemble, read_features, write_features

CLASSIFIERS = [("zeta", GaussianNB()), ("alpha", RidgeClassifier())]

# Six training rows and two test rows, by hand: folds 1 and 2, each repeated.
SPLIT = Split(
    row_id=np.array(list("abcdefgh")),
    is_test=np.array([0, 0, 1, 0, 0, 1, 0, 0], dtype=bool),
    folds=np.array([[1, 2], [2, 1], [0, 0], [1, 1], [2, 2], [0, 0], [1, 1], [2, 2]]),
    scheme="partition",
)


def by_hand(split, model=1.0):
    """Say 100·fold + position of the row (times ``model``), the rows in a shuffled order."""
    rng = np.random.default_rng(0)
    parts = []
    for fold in [REFIT, *split.fold_names]:
        number = 0 if fold == REFIT else int(fold)
        rows = {"test": np.flatnonzero(split.is_test)}
        if fold != REFIT:
            rows["held_out"] = split.fold(fold)[1]
        values = {}
        for name, positions in rows.items():
            mixed = rng.permutation(positions)
            block = model * (100.0 * number + mixed[:, None])
            values[name] = (split.row_id[mixed], block)
        parts.append(FoldPredictions(fold, "value", values))
    return parts


def test_rows_are_matched_by_id_and_repeats_averaged():
    features = assemble(SPLIT, {"m": by_hand(SPLIT)})
    assert features.train_id.tolist() == list("abdegh")
    assert features.test_id.tolist() == ["c", "f"]
    # Row a: fold 1 of repeat 1 and fold 4 (2 of repeat 2): (100 + 0 + 400 + 0) / 2; and so on.
    expected = [250, 251, 203, 304, 206, 307]
    np.testing.assert_array_equal(features.blocks["out-of-fold"]["m"][:, 0], expected)
    np.testing.assert_array_equal(features.blocks["test_refit"]["m"][:, 0], [2, 5])
    # The mean over folds 1 to 4 of 100·fold.
    np.testing.assert_array_equal(features.blocks["test_fold_mean"]["m"][:, 0], [252, 255])
    assert features.has_oof.all()
    assert features.kinds == {"m": "value"}
    assert "in-sample" not in features.blocks


def test_order_of_the_parts_does_not_matter():
    parts = by_hand(SPLIT)
    expected = assemble(SPLIT, {"m": parts})
    found = assemble(SPLIT, {"m": iter(parts[::-1])})
    for name, block in expected.blocks.items():
        np.testing.assert_array_equal(found.blocks[name]["m"], block["m"])


def test_rows_that_no_fold_predicts_are_nan():
    split = Split(SPLIT.row_id, SPLIT.is_test, np.array([[0, 1, 0, 2, 0, 0, 1, 2]]).T, "expanding")
    features = assemble(split, {"m": by_hand(split), "n": by_hand(split, -1.0)})
    np.testing.assert_array_equal(
        features.blocks["out-of-fold"]["m"][:, 0], [np.nan, 101, 203, np.nan, 106, 207]
    )
    assert features.has_oof.tolist() == [False, True, True, False, True, True]


def without(parts, fold):
    return [part for part in parts if part.fold != fold]


def changed(parts, fold, rows, row_id, values=None):
    part = next(part for part in parts if part.fold == fold)
    block = part.values[rows][1] if values is None else values
    new = replace(part, values={**part.values, rows: (np.array(row_id), block)})
    return [*without(parts, fold), new]


PARTS = by_hand(SPLIT)
HELD = PARTS[2].values["held_out"][0].tolist()
BROKEN = {
    "a fold is missing": (without(PARTS, "3"), "base model 'm': no predictions of fold 3"),
    "the refitted model is missing": (without(PARTS, REFIT), "no predictions of fold refit"),
    "a row of another split": (
        changed(PARTS, "2", "held_out", [*HELD[:-1], "a"]),
        "base model 'm', fold 2: its held_out predictions are not of the rows that the split names",
    ),
    "a row twice": (
        changed(PARTS, "2", "held_out", [*HELD[:-1], HELD[0]]), "base model 'm', fold 2"
    ),
    "a row too many": (
        changed(PARTS, "2", "held_out", [*HELD, HELD[0]], np.zeros((4, 1))),
        "base model 'm', fold 2",
    ),
    "a row too few": (
        changed(PARTS, "2", "held_out", HELD[:-1], np.zeros((2, 1))), "base model 'm', fold 2"
    ),
    "alien test rows": (changed(PARTS, REFIT, "test", ["c", "x"]), "fold refit: its test pred"),
    "no test rows": (
        [replace(part, values={k: v for k, v in part.values.items() if k != "test"})
         for part in PARTS],
        "base model 'm', fold refit: its test predictions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_predictions_of_other_rows_are_refused(name):
    parts, message = BROKEN[name]
    with pytest.raises(InputError, match=message) as refusal:
        assemble(SPLIT, {"m": parts})
    assert str(refusal.value).endswith("delete its results and run again")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("options", [
    dict(loader="iris"), dict(loader="iris", test_size=0), dict(loader="iris", n_repeats=2),
])  # fmt: skip
@pytest.mark.parametrize("in_sample", [True, False])
def test_the_file_gives_everything_back(study, stored, tmp_path, options, in_sample):
    dataset, split = study(**options)
    features = stored(dataset, split, CLASSIFIERS, in_sample=in_sample)
    write_features(features, tmp_path / "features.h5", {"study": "iris"})
    back = read_features(tmp_path / "features.h5")
    assert list(back.kinds.items()) == [("zeta", "probability"), ("alpha", "decision")]
    assert set(back.blocks) == set(features.blocks)
    assert ("in-sample" in back.blocks) == in_sample
    for rows, members in features.blocks.items():
        assert list(back.blocks[rows]) == list(members)
        for model, block in members.items():
            np.testing.assert_array_equal(back.blocks[rows][model], block)
    assert back.train_id.tolist() == features.train_id.tolist()
    assert back.test_id.tolist() == features.test_id.tolist()
    with h5py.File(tmp_path / "features.h5") as file:
        assert file.attrs["study"] == "iris"


def test_every_class_column_is_kept(study, stored):
    dataset, split = study("iris")
    features = stored(dataset, split, CLASSIFIERS)
    widths = {model: block.shape[1] for model, block in features.blocks["out-of-fold"].items()}
    assert widths == {"zeta": 3, "alpha": 3}


def test_a_time_ordered_study_keeps_its_holes(study, stored, tmp_path):
    dataset, split = study("diabetes", n_rows=80, method="time-ordered")
    features = stored(dataset, split, [("near", KNeighborsRegressor(2)), ("ridge", Ridge())])
    burn_in = split.folds[split.train_rows(), 0] == 0
    assert 0 < burn_in.sum() < len(burn_in)
    np.testing.assert_array_equal(features.has_oof, ~burn_in)
    write_features(features, tmp_path / "f.h5", {})
    np.testing.assert_array_equal(read_features(tmp_path / "f.h5").has_oof, ~burn_in)
