"""Make a split, or read the one that a user made; both are checked before they are used."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)

from starstack.errors import InputError
from starstack.splits.checks import check_row_ids, check_split
from starstack.splits.partition import Partition, divide
from starstack.splits.split import Split
from starstack.splits.time_ordered import divide_by_time

__all__ = ["SPLITTERS", "Split", "check_split", "make_split", "read_split"]


@dataclass(frozen=True)
class Method:
    """What a method of splitting needs, and its form for rows that come in groups.

    Attributes
    ----------
    splitter : type or None
        The class of scikit-learn that makes the folds; None where time makes them.
    needs_labels, needs_group, needs_time : bool
        What the data must have.
    if_grouped : str
        The method that takes its place where groups are given; "" if it stays.
    """

    splitter: type[BaseCrossValidator] | None
    needs_labels: bool = False
    needs_group: bool = False
    needs_time: bool = False
    if_grouped: str = ""


SPLITTERS: dict[str, Method] = {
    "k-fold": Method(KFold, if_grouped="grouped"),
    "stratified": Method(StratifiedKFold, needs_labels=True, if_grouped="stratified-grouped"),
    "grouped": Method(GroupKFold, needs_group=True),
    "stratified-grouped": Method(StratifiedGroupKFold, needs_labels=True, needs_group=True),
    "time-ordered": Method(None, needs_time=True),
}


def make_split(
    *,
    row_id: np.ndarray,
    y: np.ndarray,
    task: str,
    method: str,
    n_folds: int,
    n_repeats: int = 1,
    test_size: float = 0.25,
    shuffle: bool = True,
    seed: int,
    group: np.ndarray | None = None,
    time: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Split:
    """Hold out a test set and divide the other rows into folds, both by the same rule.

    With ``test_size=0`` the folds are those of scikit-learn's splitter with the seed as its
    ``random_state``: ``KFold``, ``StratifiedKFold``, ``GroupKFold``, ``StratifiedGroupKFold``, or
    ``TimeSeriesSplit`` on the rows in order of time. The test set of ungrouped rows is that of
    ``train_test_split``; of grouped ones (and of stratified ones that are not shuffled), the last
    folds of a finer division by the same splitter.

    Parameters
    ----------
    row_id : ndarray of str, shape (n,)
        Unique names of the rows.
    y : ndarray, shape (n,) or (n, k)
        The target; class codes or names for classification.
    task : str
        ``"regression"`` or ``"classification"``.
    method : str
        A key of `SPLITTERS`. Where groups are given, ``"k-fold"`` and ``"stratified"`` mean
        ``"grouped"`` and ``"stratified-grouped"``.
    n_folds : int
        At least 2. A time-ordered split has one block more, which no fold predicts.
    n_repeats : int
        How many times to divide the training rows; repeat ``r > 1`` has the seed
        ``derive_seed(seed, "repeat", r)``.
    test_size : float
        Share of the rows to test on, ``0 <= test_size < 1``, 0 for no test set. Single rows are
        rounded up; whole groups and equal times come as near as they can.
    shuffle : bool
        Whether chance decides; without it the last rows are tested on. Of no effect where time
        decides.
    seed : int
        Seed of the test set and of the first repeat.
    group : ndarray of str, shape (n,), optional
        Rows of one group stay together in every division.
    time : ndarray of float, shape (n,), optional
        Time of each row, for ``"time-ordered"``. Rows of equal time stay together.
    classes : sequence of str
        The names of the class codes 0, 1, …, for the messages.

    Returns
    -------
    Split
        One that passes `starstack.splits.checks.check_split`.

    Raises
    ------
    InputError
        If the options contradict each other, or the rows cannot be divided like this.

    Examples
    --------
    >>> import numpy as np
    >>> split = make_split(
    ...     row_id=np.array(list("abcdef")),
    ...     y=np.arange(6.0),
    ...     task="regression",
    ...     method="time-ordered",
    ...     n_folds=2,
    ...     seed=0,
    ...     time=np.array([3, 1, 2, 5, 4, 5]),
    ... )
    >>> [str(row) for row in split.row_id[split.is_test]]
    ['d', 'f']
    >>> split.folds[:, 0].tolist()
    [1, 0, 0, 0, 2, 0]
    """
    row_id, y = np.asarray(row_id, dtype=np.str_), np.asarray(y)
    group = None if group is None else np.asarray(group, dtype=np.str_)
    time = None if time is None else np.asarray(time, dtype=np.float64)
    _check_options(method, n_folds, n_repeats, test_size, shuffle)
    if group is not None:
        method = SPLITTERS[method].if_grouped or method
    _check_rows(method, row_id, y=y, task=task, group=group, time=time)
    chosen = SPLITTERS[method]
    if chosen.splitter is None:
        is_test, folds = divide_by_time(time, n_folds=n_folds, test_size=test_size)
    else:
        is_test, folds = divide(
            len(y),
            Partition(
                splitter=chosen.splitter,
                labels=y if chosen.needs_labels else None,
                group=group,
                n_folds=n_folds,
                n_repeats=n_repeats,
                test_size=test_size,
                shuffle=shuffle,
                seed=seed,
                classes=classes,
            ),
        )
    scheme = "expanding" if chosen.needs_time else "partition"
    split = Split(row_id=row_id, is_test=is_test, folds=folds, scheme=scheme)
    check_split(split, y=y, task=task, group=group, time=time, classes=classes)
    return split


def read_split(
    path: str | PathLike[str],
    *,
    row_id: np.ndarray,
    y: np.ndarray,
    task: str,
    group: np.ndarray | None = None,
    time: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Split:
    """Read a split that a user made, its lines in any order, and check it against the data.

    Parameters
    ----------
    path : path
        CSV with the columns that `Split.to_csv` writes.
    row_id, y, task, group, time, classes
        The data, as for `make_split`.

    Returns
    -------
    Split
        Its rows in the order of `row_id`.

    Raises
    ------
    InputError
        If the file cannot be read, its ids are not exactly those of the data, or the split fails
        `starstack.splits.checks.check_split`.
    """
    where = f"split file {path}"
    read = Split.from_csv(path)
    row_id = np.asarray(row_id, dtype=np.str_)
    check_row_ids(read.row_id, where)
    check_row_ids(row_id, f"{where}: data")
    for what, ids in (
        ("row ids of the data are missing from it", np.setdiff1d(row_id, read.row_id)),
        ("of its row ids are not in the data", np.setdiff1d(read.row_id, row_id)),
    ):
        if len(ids):
            shown = ", ".join(f"'{name}'" for name in ids[:3]) + (", …" if len(ids) > 3 else "")
            raise InputError(f"{where}: {len(ids)} {what} ({shown}); expected one line per row")
    line = {name: at for at, name in enumerate(read.row_id.tolist())}
    order = np.array([line[name] for name in row_id.tolist()], dtype=np.intp)
    split = Split(row_id, read.is_test[order], read.folds[order], read.scheme)
    check_split(split, y=y, task=task, group=group, time=time, classes=classes, where=where)
    return split


def _check_options(
    method: str, n_folds: int, n_repeats: int, test_size: float, shuffle: bool
) -> None:
    if method not in SPLITTERS:
        raise InputError(
            f"split: method '{method}' is unknown; expected one of {', '.join(SPLITTERS)}"
        )
    for name, value, least in (("n_folds", n_folds, 2), ("n_repeats", n_repeats, 1)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise InputError(
                f"split: {name} is {value!r}; expected a whole number of at least {least}"
            )
    if not isinstance(test_size, Real) or isinstance(test_size, bool) or not 0 <= test_size < 1:
        raise InputError(
            f"split: test_size is {test_size!r}; expected a share of the rows, from 0 to below 1"
        )
    if n_repeats > 1 and SPLITTERS[method].needs_time:
        raise InputError(
            f"split: n_repeats is {n_repeats} but method '{method}' has one repeat only; set it "
            "to 1"
        )
    if n_repeats > 1 and not shuffle:
        raise InputError(
            f"split: n_repeats is {n_repeats} but shuffle is false, which would repeat the same "
            "folds; set shuffle to true or n_repeats to 1"
        )


def _check_rows(
    method: str,
    row_id: np.ndarray,
    *,
    y: np.ndarray,
    task: str,
    group: np.ndarray | None,
    time: np.ndarray | None,
) -> None:
    needs = SPLITTERS[method]
    check_row_ids(row_id, "split")
    if needs.needs_labels and task != "classification":
        instead = "grouped" if needs.needs_group else "k-fold"
        raise InputError(
            f"split: method '{method}' needs classes but the task is {task}; use '{instead}'"
        )
    for name, values, needed in (
        ("target", y, True),
        ("group", group, needs.needs_group),
        ("time", time, needs.needs_time),
    ):
        if needed and values is None:
            raise InputError(
                f"split: method '{method}' needs the {name} of each row; name its column in data"
            )
        if values is not None and len(values) != len(row_id):
            raise InputError(f"split: {len(values)} {name} values for {len(row_id)} row ids")
    if needs.needs_time and not np.isfinite(time).all():
        row = row_id[~np.isfinite(time)][0]
        raise InputError(f"split: the time of row '{row}' is missing; expected finite times")
