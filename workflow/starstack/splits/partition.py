"""Divide rows into a test set and folds by one of scikit-learn's splitters."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import BaseCrossValidator, train_test_split

from starstack.errors import InputError
from starstack.seeds import derive_seed
from starstack.splits.checks import check_class_sizes

# Where the test set is made of p of q folds, p / q is this close to test_size if q can be small.
_SHARE_TOLERANCE = 0.005
_MOST_PARTS = 100


@dataclass(frozen=True)
class Partition:
    """How to divide rows.

    Attributes
    ----------
    splitter : type
        Class of scikit-learn: ``KFold`` or one of its kind, taking `shuffle`.
    labels, group : ndarray of shape (n,) or None
        What the splitter needs of the class and the group of each row.
    n_folds, n_repeats, test_size, shuffle, seed
        As in `starstack.splits.splitters.make_split`.
    classes : sequence of str
        Names of the class codes, for the messages.
    """

    splitter: type[BaseCrossValidator]
    labels: np.ndarray | None
    group: np.ndarray | None
    n_folds: int
    n_repeats: int
    test_size: float
    shuffle: bool
    seed: int
    classes: Sequence[str] = ()


def divide(n_rows: int, partition: Partition) -> tuple[np.ndarray, np.ndarray]:
    """Return who is tested, shape (n,), and the fold per repeat, shape (n, n_repeats).

    Raises
    ------
    InputError
        If rows, groups or the members of a class are fewer than the folds.
    """
    is_test = np.zeros(n_rows, dtype=bool)
    if partition.test_size > 0:
        _check_enough(partition, np.arange(n_rows), "in all")
        is_test[_hold_out(partition, n_rows)] = True
    train = np.flatnonzero(~is_test)
    _check_enough(partition, train, "to train on")
    folds = np.zeros((n_rows, partition.n_repeats), dtype=np.int64)
    for repeat in range(1, partition.n_repeats + 1):
        seed = partition.seed if repeat == 1 else derive_seed(partition.seed, "repeat", repeat)
        for number, held_out in enumerate(_parts(partition, train, partition.n_folds, seed), 1):
            folds[train[held_out], repeat - 1] = number
    return is_test, folds


def _check_enough(partition: Partition, rows: np.ndarray, which: str) -> None:
    group, labels = partition.group, partition.labels
    n_units = len(rows) if group is None else len(np.unique(group[rows]))
    if n_units < partition.n_folds:
        raise InputError(
            f"split: {n_units} {'rows' if group is None else 'groups'} {which} are fewer than the "
            f"{partition.n_folds} folds; lower n_folds or test_size"
        )
    if labels is not None:
        known = np.unique(labels)
        check_class_sizes(
            labels[rows], partition.n_folds, partition.classes, "split", known=known, which=which
        )


def _parts(partition: Partition, rows: np.ndarray, n_parts: int, seed: int) -> list[np.ndarray]:
    """Return the positions within `rows` that make up each of `n_parts` parts."""
    labels = None if partition.labels is None else partition.labels[rows]
    group = None if partition.group is None else partition.group[rows]
    splitter = partition.splitter(
        n_parts, shuffle=partition.shuffle, random_state=seed if partition.shuffle else None
    )
    with warnings.catch_warnings():
        # Of a class smaller than the number of parts; for folds _check_enough has refused it, and
        # a test set, made of several parts or lacking a rare class, may do without.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [held_out for _, held_out in splitter.split(np.zeros(len(rows)), labels, group)]


def _hold_out(partition: Partition, n_rows: int) -> np.ndarray:
    """Return the rows to test on."""
    labels, group, test_size = partition.labels, partition.group, partition.test_size
    rows = np.arange(n_rows)
    # train_test_split knows no groups, and stratifies only what it shuffles.
    if group is None and (partition.shuffle or labels is None):
        seed = partition.seed if partition.shuffle else None
        try:
            return train_test_split(
                rows,
                test_size=test_size,
                shuffle=partition.shuffle,
                random_state=seed,
                stratify=labels,
            )[1]
        except ValueError as error:
            raise InputError(
                f"split: a test set of {test_size:g} of the {n_rows} rows cannot be drawn: "
                f"{' '.join(str(error).split())}; change test_size"
            ) from error
    most = n_rows if group is None else len(np.unique(group))
    if labels is not None:
        # scikit-learn's stratified splitters refuse more parts than the largest class has rows.
        most = min(most, int(np.unique(labels, return_counts=True)[1].max()))
    taken, n_parts = _share(test_size, min(most, _MOST_PARTS))
    parts = _parts(partition, rows, n_parts, partition.seed)
    # Neither GroupKFold nor StratifiedGroupKFold leaves a part empty while groups remain.
    return np.concatenate(parts[n_parts - taken :])


def _share(test_size: float, most_parts: int) -> tuple[int, int]:
    """Return (p, q), ``0 < p < q <= most_parts``: p / q is near `test_size`, q small.

    Examples
    --------
    >>> _share(0.25, 100), _share(0.33, 100), _share(0.25, 3), _share(0.01, 5)
    ((1, 4), (1, 3), (1, 3), (1, 5))
    """
    options = [
        (min(max(round(test_size * parts), 1), parts - 1), parts)
        for parts in range(2, most_parts + 1)
    ]
    near = [pair for pair in options if abs(pair[0] / pair[1] - test_size) <= _SHARE_TOLERANCE]
    return near[0] if near else min(options, key=lambda pair: abs(pair[0] / pair[1] - test_size))
