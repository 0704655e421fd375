"""What a data set must satisfy before anything is computed from it."""

from collections import Counter

import numpy as np

from starstack.data.dataset import TASKS, Dataset
from starstack.errors import InputError


def check_dataset(dataset: Dataset) -> None:
    """Refuse data that no model should be fitted on.

    Raises
    ------
    InputError
        One line that names the data set and the column or row: empty data, lengths that differ,
        names that repeat, values that are missing or infinite, a target with one class, with a
        class of one member, with as many classes as rows, or without variation, and weights that
        are negative or all zero.
    """
    for check in CHECKS:
        check(dataset, f"data set '{dataset.name}'")


def check_lengths(lengths: dict[str, int], where: str) -> None:
    """Refuse columns of different length.

    Raises
    ------
    InputError
        Listing each column with its number of rows.
    """
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{what} has {rows}" for what, rows in lengths.items())
        raise InputError(f"{where}: numbers of rows differ: {found}; expected one value per row")


def _check_shapes(dataset: Dataset, where: str) -> None:
    if dataset.task not in TASKS:
        raise InputError(f"{where}: task is '{dataset.task}'; expected one of {', '.join(TASKS)}")
    if dataset.X.ndim != 2 or dataset.X.dtype != np.float64:
        raise InputError(
            f"{where}: X has shape {dataset.X.shape} and type {dataset.X.dtype}; expected a table "
            "of float64, rows by columns"
        )
    optional = {
        what: len(values)
        for what in ("group", "time", "sample_weight")
        if (values := getattr(dataset, what)) is not None
    }
    lengths = {"X": len(dataset.X), "y": len(dataset.y), "row_id": len(dataset.row_id)}
    check_lengths(lengths | optional, where)
    if dataset.X.shape[0] == 0:
        raise InputError(f"{where}: has no rows; expected at least one")
    if dataset.X.shape[1] == 0:
        raise InputError(f"{where}: has no feature columns; expected at least one")


def _check_names(dataset: Dataset, where: str) -> None:
    for what, names, columns in (
        ("feature", dataset.feature_names, dataset.X.shape[1]),
        ("target", dataset.target_names, dataset.n_targets),
    ):
        if len(names) != columns:
            raise InputError(f"{where}: {len(names)} {what} names for {columns} columns")
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise InputError(
                f"{where}: {what} name '{name}' occurs {count} times; names must be unique"
            )
        for position, name in enumerate(names, start=1):
            if not name or not name.isprintable():
                raise InputError(
                    f"{where}: {what} column {position} is named {name!r}; expected printable "
                    "text, not empty"
                )
    if both := [name for name in dataset.target_names if name in dataset.feature_names]:
        raise InputError(
            f"{where}: '{both[0]}' is both a feature and the target, so models would be told the "
            "answer; remove it from the features"
        )


def _check_row_ids(dataset: Dataset, where: str) -> None:
    ids, counts = np.unique(dataset.row_id, return_counts=True)
    if (counts > 1).any():
        first = int(np.argmax(counts > 1))
        raise InputError(
            f"{where}: row id '{ids[first]}' occurs {counts[first]} times; row ids must be unique"
        )
    for position, row in enumerate(dataset.row_id.tolist()):
        # An id is one cell of a CSV line, and one fixed-width string of an HDF5 file.
        if not row or not row.isprintable():
            raise InputError(
                f"{where}: row id {row!r} of row {position + 1} must be printable text, not empty"
            )


def _check_finite(values: np.ndarray, column: str, row_id: np.ndarray, where: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argmax(bad))
        kind = "missing (NaN)" if np.isnan(values[first]) else "infinite"
        raise InputError(
            f"{where}: {column} is {kind} in row '{row_id[first]}', and not finite in "
            f"{np.count_nonzero(bad)} of {len(values)} rows; fill in or remove them"
        )


def _check_features(dataset: Dataset, where: str) -> None:
    # A sum is finite only if all its terms are: one pass without a table of flags; a sum may
    # also overflow, so it only says where to look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(dataset.X.sum(axis=0)))
    for column in suspects:
        name = f"column '{dataset.feature_names[column]}'"
        _check_finite(dataset.X[:, column], name, dataset.row_id, where)


def _check_target(dataset: Dataset, where: str) -> None:
    (_check_classes if dataset.task == "classification" else _check_values)(dataset, where)


def _check_values(dataset: Dataset, where: str) -> None:
    if dataset.y.ndim > 2 or dataset.y.dtype != np.float64:
        raise InputError(
            f"{where}: the regression target has shape {dataset.y.shape} and type "
            f"{dataset.y.dtype}; expected float64, one column per target"
        )
    if dataset.classes:
        raise InputError(f"{where}: a regression target has no classes; got {dataset.classes}")
    columns = dataset.y.reshape(dataset.n_rows, -1).T
    for name, values in zip(dataset.target_names, columns, strict=True):
        _check_finite(values, f"target '{name}'", dataset.row_id, where)
        if values.min() == values.max():
            raise InputError(
                f"{where}: target '{name}' is {values[0]:g} in every row; there is nothing to learn"
            )


def _check_classes(dataset: Dataset, where: str) -> None:
    y, target = dataset.y, f"target '{dataset.target_names[0]}'"
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise InputError(
            f"{where}: {target} has shape {y.shape} and type {y.dtype}; expected one column of "
            "integer class codes"
        )
    n_classes = len(dataset.classes)
    if len(set(dataset.classes)) < n_classes:
        raise InputError(f"{where}: {target} has two classes of the same name: {dataset.classes}")
    if y.min() < 0 or y.max() >= n_classes:
        raise InputError(
            f"{where}: {target} has codes from {y.min()} to {y.max()} but {n_classes} class names; "
            "expected codes from 0, one per name"
        )
    members = np.bincount(y, minlength=n_classes)
    present = np.flatnonzero(members)
    if len(present) == 1:
        raise InputError(
            f"{where}: {target} is '{dataset.classes[present[0]]}' in every row; classification "
            "needs at least two classes"
        )
    if len(present) == dataset.n_rows:
        raise InputError(
            f"{where}: {target} has as many classes as rows ({dataset.n_rows}); it looks like an "
            "identifier or a quantity: name another column, or set task: regression"
        )
    if (members < 2).any():
        few = np.flatnonzero(members < 2)
        raise InputError(
            f"{where}: class '{dataset.classes[few[0]]}' of {target} has "
            f"{'only 1 row' if members[few[0]] else 'no rows'} ({len(few)} of {n_classes} classes "
            "have fewer than 2); expected one to fit on and one to predict: remove or merge it"
        )


def _check_group_time_weight(dataset: Dataset, where: str) -> None:
    if dataset.group is not None and (dataset.group == "").any():
        row = dataset.row_id[dataset.group == ""][0]
        raise InputError(f"{where}: the group of row '{row}' is missing; every row needs one")
    if dataset.time is not None:
        _check_finite(dataset.time, "time", dataset.row_id, where)
    weight = dataset.sample_weight
    if weight is None:
        return
    _check_finite(weight, "sample weight", dataset.row_id, where)
    if (weight < 0).any():
        first = int(np.argmax(weight < 0))
        raise InputError(
            f"{where}: sample weight {weight[first]:g} of row '{dataset.row_id[first]}' is "
            "negative; weights must be at least 0"
        )
    if not weight.any():
        raise InputError(f"{where}: all sample weights are 0; some row must count")


CHECKS = (
    _check_shapes,
    _check_names,
    _check_row_ids,
    _check_features,
    _check_target,
    _check_group_time_weight,
)
