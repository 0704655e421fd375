"""Load a data set from where the configuration says it is."""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from starstack.data.checks import check_dataset, check_lengths
from starstack.data.columns import CLASSES, Columns, as_codes, as_names, as_numbers, as_times
from starstack.data.dataset import TASKS, Dataset
from starstack.data.hdf5 import read_hdf5
from starstack.data.inline import read_inline
from starstack.data.names import not_among
from starstack.data.scikit_learn import read_scikit_learn
from starstack.data.table import read_table
from starstack.errors import InputError

logger = logging.getLogger(__name__)

SOURCES: dict[str, Callable[..., Columns]] = {
    "scikit-learn": read_scikit_learn,
    "table": read_table,
    "hdf5": read_hdf5,
    "inline": read_inline,
}


def load_dataset(name: str, task: str, data: Mapping[str, Any], *, divided: bool = True) -> Dataset:
    """Load, convert and check a data set.

    Parameters
    ----------
    name : str
        Name of the study.
    task : str
        ``"regression"`` or ``"classification"``.
    data : mapping
        ``source``, a key of `SOURCES`, and the options of that source.
    divided : bool
        Whether rows will be held out, see `starstack.data.checks.check_dataset`.

    Returns
    -------
    Dataset
        Rows without a ``row_id`` are named ``"0"`` to ``"n-1"``. Classes are in the order of
        their numbers where all are whole numbers, of their text otherwise.

    Raises
    ------
    InputError
        If the data cannot be read or used; see the sources and
        `starstack.data.checks.check_dataset`.

    Examples
    --------
    >>> wine = load_dataset(
    ...     "wine", "classification", {"source": "scikit-learn", "loader": "load_wine"}
    ... )
    >>> wine.X.shape, wine.classes
    ((178, 13), ('class_0', 'class_1', 'class_2'))
    """
    where = f"data set '{name}'"
    if task not in TASKS:
        raise InputError(f"{where}: task is '{task}'; expected one of {', '.join(TASKS)}")
    options = dict(data)
    source = options.pop("source", None)
    if source not in SOURCES:
        raise not_among(where, "source", source, SOURCES)
    check_options(SOURCES[source], source, options, where)
    dataset = _to_dataset(name, task, SOURCES[source](where, task, **options), where)
    check_dataset(dataset, divided=divided)
    logger.info(
        "%s: %d rows, %d features, %s", where, *dataset.X.shape, ", ".join(dataset.target_names)
    )
    return dataset


def check_options(
    read: Callable[..., object], source: str, options: Mapping[str, Any], where: str
) -> None:
    """Compare the options with the keyword-only parameters of the function that takes them.

    Raises
    ------
    InputError
        If an option is unknown, or one without a default is not given.
    """
    known = {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(read).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name in options:
        if name not in known:
            raise not_among(f"{where}: source {source}", "option", name, known)
    for name, required in known.items():
        if required and not options.get(name):
            raise InputError(f"{where}: source {source} needs '{name}'; give it under data")


def _to_dataset(name: str, task: str, columns: Columns, where: str) -> Dataset:
    n_rows = len(columns.X)
    targets = [f"target '{target}'" for target in columns.target_names]
    parts = dict(zip(targets, columns.targets, strict=True))
    parts |= {role: getattr(columns, role) for role in ("row_id", "group", "time", "sample_weight")}
    lengths = {what: len(values) for what, values in parts.items() if values is not None}
    check_lengths({"X": n_rows} | lengths, where)
    row_id = np.arange(n_rows) if columns.row_id is None else columns.row_id
    row_id = as_names(row_id, "row id", where)
    classes: tuple[str, ...] = ()
    if task == "classification":
        if len(targets) != 1:
            raise InputError(
                f"{where}: classification takes one target, got {len(targets)}: "
                f"{', '.join(columns.target_names)}"
            )
        y, classes = as_codes(columns.targets[0], targets[0], where, row_id, columns.class_names)
    else:
        numbers = [
            as_numbers(values, what, where, row_id, CLASSES)
            for what, values in zip(targets, columns.targets, strict=True)
        ]
        y = numbers[0] if len(numbers) == 1 else np.column_stack(numbers)
    group, time, weight = columns.group, columns.time, columns.sample_weight
    return Dataset(
        name=name,
        task=task,
        X=np.ascontiguousarray(columns.X),
        y=y,
        row_id=row_id,
        feature_names=tuple(columns.feature_names),
        target_names=tuple(columns.target_names),
        classes=classes,
        group=None if group is None else as_names(group, "group", where, row_id),
        time=None if time is None else as_times(time, where, row_id),
        sample_weight=(
            None if weight is None else as_numbers(weight, "sample weight", where, row_id)
        ),
        provenance=dict(columns.provenance),
    )
