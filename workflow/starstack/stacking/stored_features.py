"""A study's meta-features on disk: assembled by row id, every class column kept.

Which columns a meta-learner drops or keeps is its own choice, made by
:func:`starstack.stacking.layout.assemble_meta_features` when it is fitted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np

from starstack.errors import InputError
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import REFIT, FoldPredictions, open_results
from starstack.stacking.members import combine_folds

# What the meta-learner is fitted on, and what it predicts from: the base models refitted on all
# training rows, or the mean of the folds' models.
OUT_OF_FOLD, IN_SAMPLE = "out-of-fold", "in-sample"
TEST = {"refit": "test_refit", "fold_mean": "test_fold_mean"}


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Predictions of all base models of a study, by row id.

    Attributes
    ----------
    kinds : dict of str to str
        What each base model's columns hold, see :class:`starstack.stacking.layout.MetaColumn`.
    blocks : dict of str to dict of str to ndarray
        ``out-of-fold``, ``test_refit``, ``test_fold_mean`` and on demand ``in-sample``; for each
        the base models' predictions of shape (rows, c). NaN where no fold predicted a row.
    train_id, test_id : ndarray of str
        Row ids of the training and of the test rows, in the order of the data.
    """

    kinds: dict[str, str]
    blocks: dict[str, dict[str, np.ndarray]]
    train_id: np.ndarray
    test_id: np.ndarray

    @property
    def has_oof(self) -> np.ndarray:
        """Training rows that every base model predicted out of fold."""
        blocks = self.blocks[OUT_OF_FOLD].values()
        return ~np.any([np.isnan(block).any(axis=1) for block in blocks], axis=0)


def assemble(split: Split, predictions: Mapping[str, Iterable[FoldPredictions]]) -> StoredFeatures:
    """Put the predictions of all base models and folds together, matched by row id.

    Parameters
    ----------
    split : Split
        The study's split.
    predictions : mapping of str to iterable of FoldPredictions
        By base model: every fold, and ``refit``.

    Returns
    -------
    StoredFeatures
        Repeated folds averaged per row.

    Raises
    ------
    InputError
        If a fold is missing, or a fold's predictions are not of the rows that the split holds out.
    """
    train_id = split.row_id[split.train_rows()]
    test_id = split.row_id[split.is_test]
    kinds: dict[str, str] = {}
    blocks: dict[str, dict[str, np.ndarray]] = {
        OUT_OF_FOLD: {},
        **{key: {} for key in TEST.values()},
    }
    for model, parts in predictions.items():
        by_fold = {part.fold: part for part in parts}
        missing = {REFIT, *split.fold_names} - set(by_fold)
        if missing:
            raise InputError(
                f"base model {model!r}: no predictions of fold {min(missing)}; "
                "delete its results and run again"
            )
        kinds[model] = by_fold[REFIT].kind
        held_out = []
        for fold, (_, rows) in zip(split.fold_names, split.cv(), strict=True):
            held_out.append((rows, _block(by_fold[fold], "held_out", train_id[rows], model)))
        blocks[OUT_OF_FOLD][model], _ = combine_folds(len(train_id), held_out)
        if len(test_id):
            tests = {fold: _block(by_fold[fold], "test", test_id, model) for fold in by_fold}
            blocks["test_refit"][model] = tests[REFIT]
            blocks["test_fold_mean"][model] = np.mean([tests[f] for f in split.fold_names], axis=0)
        if "in_sample" in by_fold[REFIT].values:
            block = _block(by_fold[REFIT], "in_sample", train_id, model)
            blocks.setdefault(IN_SAMPLE, {})[model] = block
    return StoredFeatures(kinds, blocks, train_id, test_id)


def _block(part: FoldPredictions, rows: str, wanted: np.ndarray, model: str) -> np.ndarray:
    """Predictions of the wanted ids, in their order; the two must be the same set."""
    row_id, values = part.values.get(rows, (wanted[:0], np.empty((0, 0))))
    place = {name: i for i, name in enumerate(row_id.tolist())}
    if not len(place) == len(row_id) == len(wanted) or not set(wanted.tolist()) <= set(place):
        raise InputError(
            f"base model {model!r}, fold {part.fold}: its {rows} predictions are not of the rows "
            "that the split names; delete its results and run again"
        )
    return values[[place[name] for name in wanted.tolist()]]


def write_features(
    features: StoredFeatures, path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write meta-features to HDF5: ``/<rows>/<model>``, ``/train_id``, ``/test_id``."""
    with h5py.File(path, "w") as file:
        for key, value in sorted(attributes.items()):
            file.attrs[key] = value
        file.attrs["models"] = list(features.kinds)
        for name, row_id in (("train_id", features.train_id), ("test_id", features.test_id)):
            file.create_dataset(name, data=np.char.encode(row_id.astype(str), "utf-8"))
        for rows, members in features.blocks.items():
            group = file.create_group(rows)
            for model, values in members.items():
                stored = group.create_dataset(model, data=values)
                stored.attrs["kind"] = features.kinds[model]


def read_features(path: str | PathLike[str]) -> StoredFeatures:
    """Read what :func:`write_features` wrote, base models in their order."""
    with open_results(path) as file:
        models: Sequence[str] = list(file.attrs["models"])
        groups = {key: part for key, part in file.items() if isinstance(part, h5py.Group)}
        blocks = {
            rows: {model: group[model][()] for model in models if model in group}
            for rows, group in groups.items()
        }
        kinds = {model: file[OUT_OF_FOLD][model].attrs["kind"] for model in models}
        train_id, test_id = (
            np.char.decode(file[name][()], "utf-8") for name in ("train_id", "test_id")
        )
    return StoredFeatures(kinds, blocks, train_id, test_id)
