"""What a split must satisfy before any model is fitted on it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from starstack.errors import InputError
from starstack.splits.split import Split

SCHEMES = ("partition", "expanding")


def check_split(
    split: Split,
    *,
    y: np.ndarray,
    task: str,
    group: np.ndarray | None = None,
    time: np.ndarray | None = None,
    classes: Sequence[str] = (),
    where: str = "split",
) -> None:
    """Refuse a split that would leak, or that some fold could not be fitted with.

    Parameters
    ----------
    split : Split
        The split, its rows in the order of `y`.
    y : ndarray, shape (n,) or (n, k)
        The target; class codes or names for classification.
    task : str
        ``"regression"`` or ``"classification"``.
    group : ndarray of str, shape (n,), optional
        Rows of one group must stay on one side of every division.
    time : ndarray of float, shape (n,), optional
        In the expanding scheme, what is predicted must be later than what was fitted.
    classes : sequence of str
        The names of the class codes 0, 1, …, for the messages.
    where : str
        What the messages begin with.

    Raises
    ------
    InputError
        For lengths that differ, duplicate or unprintable ids, fewer than two folds, a fold
        without rows, a group on two sides, a fitted row not earlier than a predicted one, a class
        with fewer training rows than folds, or a class missing from the rows a fold is fitted on.
    """
    _check_shapes(split, len(y), where)
    check_row_ids(split.row_id, where)
    _check_folds(split, where)
    if group is not None:
        _check_groups(split, _as_long(group, split, "group", where), where)
    if time is not None and split.scheme == "expanding":
        _check_times(split, _as_long(time, split, "time", where), where)
    if task == "classification":
        _check_classes(split, y, classes, where)


def check_row_ids(row_id: np.ndarray, where: str) -> None:
    """Refuse ids that repeat, or that a line of a CSV file cannot hold."""
    ids, counts = np.unique(row_id, return_counts=True)
    if (counts > 1).any():
        first = int(np.argmax(counts > 1))
        raise InputError(
            f"{where}: row id '{ids[first]}' occurs {counts[first]} times; row ids must be unique"
        )
    for row in ids:
        if not row or not str(row).isprintable():
            raise InputError(f"{where}: row id {str(row)!r} must be printable text, not empty")


def check_class_sizes(
    y: np.ndarray,
    n_folds: int,
    classes: Sequence[str],
    where: str,
    *,
    known: np.ndarray,
    which: str = "to train on",
) -> None:
    """Refuse a class, among `known`, that has fewer rows in `y` than there are folds."""
    for label in known:
        members = int(np.count_nonzero(y == label))
        if members < n_folds:
            raise InputError(
                f"{where}: {_class(label, classes)} has fewer rows {which} ({members}) than "
                f"there are folds ({n_folds}); lower n_folds or test_size, or merge the class"
            )


def _class(label: object, classes: Sequence[str]) -> str:
    return f"class '{classes[int(label)] if len(classes) else label}'"


def _as_long(values: np.ndarray, split: Split, what: str, where: str) -> np.ndarray:
    if len(values) != len(split.row_id):
        raise InputError(
            f"{where}: {what} has {len(values)} values for {len(split.row_id)} rows; expected one "
            "per row"
        )
    return np.asarray(values)


def _check_shapes(split: Split, n_rows: int, where: str) -> None:
    if split.scheme not in SCHEMES:
        raise InputError(
            f"{where}: scheme is '{split.scheme}'; expected one of {', '.join(SCHEMES)}"
        )
    if split.folds.ndim != 2 or split.folds.shape[1] < 1:
        raise InputError(f"{where}: folds must have shape (rows, repeats), not {split.folds.shape}")
    lengths = {len(split.row_id), len(split.is_test), len(split.folds), n_rows}
    if len(lengths) > 1:
        raise InputError(
            f"{where}: {len(split.row_id)} row ids, {len(split.is_test)} test marks, "
            f"{len(split.folds)} folds and {n_rows} target rows; expected the same number of each"
        )
    if split.scheme == "expanding" and split.n_repeats > 1:
        raise InputError(f"{where}: time-ordered blocks cannot be repeated; expected one column")


def _check_folds(split: Split, where: str) -> None:
    train, test = ~split.is_test, split.is_test
    if not train.any():
        raise InputError(f"{where}: every row is a test row; expected training rows too")
    if split.n_folds < 2:
        raise InputError(f"{where}: has {split.n_folds} folds; expected at least 2")
    if split.folds[test].any():
        row = split.row_id[test & split.folds.any(axis=1)][0]
        raise InputError(f"{where}: test row '{row}' is held out by a fold too; expected fold 0")
    first = 0 if split.scheme == "expanding" else 1
    if (split.folds[train] < first).any():
        row = split.row_id[train & (split.folds < first).any(axis=1)][0]
        raise InputError(f"{where}: training row '{row}' is in no fold; every one must be held out")
    for repeat in range(split.n_repeats):
        sizes = np.bincount(split.folds[train, repeat], minlength=split.n_folds + 1)
        for number in range(first, split.n_folds + 1):
            if sizes[number] == 0:
                raise InputError(
                    f"{where}: {_side(number, split, repeat)} has no rows; expected folds "
                    f"{first} to {split.n_folds}, each with rows; lower n_folds"
                )


def _side(number: int, split: Split, repeat: int) -> str:
    """Name one side of a division in a message; -1 is the test set."""
    if number < 0:
        return "the test set"
    if split.scheme == "expanding":
        return f"block {number}"
    return f"fold {number}" + (f" of repeat {repeat + 1}" if split.n_repeats > 1 else "")


def _check_groups(split: Split, group: np.ndarray, where: str) -> None:
    _, first_row, code = np.unique(group, return_index=True, return_inverse=True)
    for repeat in range(split.n_repeats):
        side = np.where(split.is_test, -1, split.folds[:, repeat])
        home = side[first_row][code]
        if (side != home).any():
            row = int(np.argmax(side != home))
            raise InputError(
                f"{where}: group '{group[row]}' is in {_side(home[row], split, repeat)} (row "
                f"'{split.row_id[first_row[code[row]]]}') and in "
                f"{_side(side[row], split, repeat)} (row '{split.row_id[row]}'); all rows of a "
                "group must be on one side"
            )


def _check_times(split: Split, time: np.ndarray, where: str) -> None:
    blocks = np.where(split.is_test, split.n_folds + 1, split.folds[:, 0])
    present = np.unique(blocks)
    for before, after in pairwise(present):
        # Blocks are compared with their neighbour only: the order of all follows.
        last, first = time[blocks == before].max(), time[blocks == after].min()
        if not last < first:
            name = "the test set" if after > split.n_folds else f"block {after}"
            raise InputError(
                f"{where}: {name} begins at time {first:g}, not after the end of block {before} "
                f"at {last:g}; rows must be predicted from earlier rows only"
            )


def _check_classes(split: Split, y: np.ndarray, classes: Sequence[str], where: str) -> None:
    known = np.unique(y)
    if split.scheme == "partition":
        train = split.train_rows()
        check_class_sizes(y[train], split.n_folds, classes, where, known=known)
    for name in split.fold_names:
        fit_rows, _ = split.fold(name)
        missing = np.setdiff1d(known, y[fit_rows])
        if len(missing):
            raise InputError(
                f"{where}: {_class(missing[0], classes)} is missing from the rows that fold {name} "
                "is fitted on; use method 'stratified', fewer folds, or merge the class"
            )
