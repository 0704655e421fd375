"""What a data set must satisfy before anything is computed from it."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from starstack.data.dataset import TABLES, TASKS, Dataset
from starstack.errors import InputError


def check_dataset(dataset: Dataset, *, divided: bool = True) -> None:
    """Refuse data that no model should be fitted on.

    Parameters
    ----------
    dataset : Dataset
        Its tables in memory.
    divided : bool
        Whether rows will be held out, so that each class needs one to fit on and one to predict.

    Raises
    ------
    InputError
        One line that names the data set and the column or row: empty data, lengths that differ,
        names that repeat, values that are missing or infinite, a target with one class, with a
        class of one member, with as many classes as rows, or without variation, weights that
        are negative or all zero, errors that are not positive, and spectra without a good pixel.
    """
    where = f"data set '{dataset.name}'"
    _check_tables(dataset, where)
    check_header(dataset)
    tables = {table: values for table in TABLES if (values := getattr(dataset, table)) is not None}
    check_block(tables, dataset.row_id, dataset.feature_names, where)
    if divided and dataset.classes:
        _check_class_sizes(dataset, where)


def check_header(header: Dataset) -> None:
    """Refuse what `check_dataset` refuses, as far as it can be seen without the tables.

    Raises
    ------
    InputError
        As `check_dataset`.
    """
    for check in CHECKS:
        check(header, f"data set '{header.name}'")


def check_block(
    block: Mapping[str, np.ndarray], row_id: np.ndarray, names: Sequence[str], where: str
) -> None:
    """Refuse what `check_dataset` refuses in some rows of the tables.

    Parameters
    ----------
    block : mapping
        ``"X"`` and, where there are such tables, ``"X_error"`` and ``"X_noiseless"``, each of
        shape (rows, p).
    row_id : ndarray of str, shape (rows,)
        Names of the rows, for the messages.
    names : sequence of str, length p
        Names of the columns, for the messages.
    where : str
        What the messages begin with.

    Raises
    ------
    InputError
        For a value that is missing or infinite, an error that is not above 0, and a row of which
        every value is masked.
    """
    error = block.get("X_error")
    if error is not None:
        check_errors(error, row_id, names, where)
        masked = np.isinf(error).all(axis=1)
        if masked.any():
            raise no_good_pixel(row_id[masked], len(row_id), where)
    for table in ("X", "X_noiseless"):
        if table not in block:
            continue
        # A sum is finite only if all its terms are: one pass without a table of flags; a sum may
        # also overflow, so it only says where to look closer.
        with np.errstate(over="ignore", invalid="ignore"):
            suspects = np.flatnonzero(~np.isfinite(block[table].sum(axis=0)))
        for column in suspects:
            what = f"{'noiseless ' if table == 'X_noiseless' else ''}column '{names[column]}'"
            _check_finite(block[table][:, column], what, row_id, where)


def check_errors(error: np.ndarray, row_id: np.ndarray, names: Sequence[str], where: str) -> None:
    """Refuse standard deviations that are NaN, zero or negative; ``inf`` marks a masked value.

    Raises
    ------
    InputError
        Naming the first one and how many there are.
    """
    bad = ~(error > 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{where}: the error of column '{names[column]}' is {error[row, column]:g} in row "
            f"'{row_id[row]}', and not above 0 in {np.count_nonzero(bad)} values of "
            f"{np.count_nonzero(bad.any(axis=1))} rows; expected standard deviations, inf for "
            "masked values"
        )


def no_good_pixel(rows: np.ndarray, n_rows: int, where: str) -> InputError:
    """Return the error for rows of which every value is missing or masked."""
    return InputError(
        f"{where}: row '{rows[0]}' has no good pixel, all are missing or masked, and so have "
        f"{len(rows)} of these {n_rows} rows; remove them, or mask less"
    )


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


def _check_tables(dataset: Dataset, where: str) -> None:
    if dataset.X.ndim != 2 or dataset.X.dtype not in (np.float64, np.float32):
        raise InputError(
            f"{where}: X has shape {dataset.X.shape} and type {dataset.X.dtype}; expected a table "
            "of float64 or float32, rows by columns"
        )
    if dataset.X.shape[1] != len(dataset.feature_names):
        raise InputError(
            f"{where}: {len(dataset.feature_names)} feature names for {dataset.X.shape[1]} columns"
        )
    for table in ("X_error", "X_noiseless"):
        values = getattr(dataset, table)
        if values is not None and (values.shape != dataset.X.shape or values.dtype != np.float32):
            raise InputError(
                f"{where}: {table} has shape {values.shape} and type {values.dtype}; expected "
                f"float32 of shape {dataset.X.shape}, as X"
            )


def _check_shapes(dataset: Dataset, where: str) -> None:
    if dataset.task not in TASKS:
        raise InputError(f"{where}: task is '{dataset.task}'; expected one of {', '.join(TASKS)}")
    optional = {
        what: len(values)
        for what in ("group", "time", "sample_weight")
        if (values := getattr(dataset, what)) is not None
    }
    optional |= {f"row value {name}": len(values) for name, values in dataset.row_values.items()}
    lengths = {"y": len(dataset.y), "row_id": len(dataset.row_id)}
    if isinstance(dataset.X, np.ndarray):
        lengths = {"X": len(dataset.X)} | lengths
    check_lengths(lengths | optional, where)
    if dataset.n_rows == 0:
        raise InputError(f"{where}: has no rows; expected at least one")
    if not dataset.feature_names:
        raise InputError(f"{where}: has no feature columns; expected at least one")


def _check_names(dataset: Dataset, where: str) -> None:
    if len(dataset.target_names) != dataset.n_targets:
        raise InputError(
            f"{where}: {len(dataset.target_names)} target names for {dataset.n_targets} columns"
        )
    for what, names in (
        ("feature", dataset.feature_names),
        ("target", dataset.target_names),
        ("row value", tuple(dataset.row_values)),
    ):
        if not names:
            continue
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
    if divided := [name for name in dataset.row_values if "/" in name or name == "."]:
        raise InputError(f"{where}: row value '{divided[0]}' has a slash in its name; rename it")
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


def _check_wavelength(dataset: Dataset, where: str) -> None:
    wavelength = dataset.wavelength
    if wavelength is None:
        return
    expected = (len(dataset.feature_names),)
    if wavelength.shape != expected or wavelength.dtype != np.float64:
        raise InputError(
            f"{where}: wavelength has shape {wavelength.shape} and type {wavelength.dtype}; "
            f"expected float64 of shape {expected}, one per column"
        )
    steps = np.diff(wavelength)
    if not np.isfinite(wavelength).all() or (steps <= 0).any() or wavelength[0] <= 0:
        raise InputError(
            f"{where}: wavelengths must be positive and increase; "
            f"they run from {wavelength[0]:g} to {wavelength[-1]:g}"
        )


def _check_row_values(dataset: Dataset, where: str) -> None:
    for name, values in dataset.row_values.items():
        if values.shape != (dataset.n_rows,) or values.dtype != np.float64:
            raise InputError(
                f"{where}: row value '{name}' has shape {values.shape} and type {values.dtype}; "
                "expected one float64 per row"
            )


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


def _check_class_sizes(dataset: Dataset, where: str) -> None:
    members, target = (
        np.bincount(dataset.y, minlength=len(dataset.classes)),
        f"target '{dataset.target_names[0]}'",
    )
    if (members < 2).any():
        few = np.flatnonzero(members < 2)
        raise InputError(
            f"{where}: class '{dataset.classes[few[0]]}' of {target} has "
            f"{'only 1 row' if members[few[0]] else 'no rows'} ({len(few)} of "
            f"{len(dataset.classes)} classes have fewer than 2); expected one to fit on and one to "
            "predict: remove or merge it"
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
    _check_wavelength,
    _check_row_values,
    _check_target,
    _check_group_time_weight,
)
