"""Data sets from a text table: comma- or tab-separated, one line per row, a header of names."""

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from starstack.data.columns import (
    CLASSES,
    ENCODE,
    LEAVE_OUT,
    Columns,
    as_names,
    as_number,
    not_a_number,
)
from starstack.data.names import not_among
from starstack.errors import InputError

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_table(
    where: str,
    task: str,
    *,
    path: str | PathLike[str],
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    row_id: str | None = None,
    group: str | None = None,
    time: str | None = None,
    sample_weight: str | None = None,
) -> Columns:
    """Read a ``.csv`` or ``.tsv`` file in UTF-8.

    Parameters
    ----------
    where : str
        The data set, for the messages.
    task : str
        Class labels are kept as they are written; regression targets are read as numbers.
    path : path
        The file.
    target : str or sequence of str
        The column, or for regression columns, to predict.
    features : sequence of str, optional
        The columns to predict from; by default, all that have no other role. True and False
        count as 1 and 0.
    row_id, group, time, sample_weight : str, optional
        Columns with these roles.

    Raises
    ------
    InputError
        If the file is missing, of another kind, not UTF-8, or ragged (the line is named), has no
        rows or repeated column names, a column is missing or has two roles, or one that should be
        numeric is not.
    """
    if Path(path).suffix.lower() not in SEPARATORS:
        raise InputError(f"{where}: {path} is no table; expected a name ending in .csv or .tsv")
    targets = [target] if isinstance(target, str) else list(target)
    roles = {"row_id": row_id, "group": group, "time": time, "sample_weight": sample_weight}
    lines = _lines(path, where)
    _, header = next(lines)
    features = _choose(header, targets, features, roles, f"{where}: {path}")
    labels = targets if task == "classification" else []
    text = {name: [] for name in (row_id, group, time, *labels) if name is not None}
    numeric = [name for name in (*features, *targets, sample_weight) if name and name not in text]
    advised = dict.fromkeys(targets, CLASSES) | {sample_weight: ENCODE}
    at = {name: header.index(name) for name in (*numeric, *text)}
    values = array("d")
    n_rows = 0
    for number, cells in lines:
        for name in numeric:
            try:
                values.append(as_number(cells[at[name]]))
            except ValueError:
                row = cells[at[row_id]] if row_id is not None else n_rows
                place = f"{where}: {path}, line {number}"
                advice = advised.get(name, LEAVE_OUT)
                raise not_a_number(
                    cells[at[name]], f"column '{name}'", row, place, advice
                ) from None
        for name, column in text.items():
            column.append(cells[at[name]])
        n_rows += 1
    if n_rows == 0:
        raise InputError(f"{where}: {path} has no rows; expected a header and one line per row")
    numbers = np.array(values).reshape(n_rows, len(numeric))
    columns = dict(zip(numeric, numbers.T, strict=True))
    columns |= {name: np.array(column, dtype=np.str_) for name, column in text.items()}
    ids = None
    if row_id is not None:
        ids = as_names(columns[row_id], f"row id (column '{row_id}')", where)
    return Columns(
        X=numbers[:, : len(features)],
        feature_names=features,
        targets=[columns[name] for name in targets],
        target_names=targets,
        row_id=ids,
        **{role: columns.get(roles[role]) for role in ("group", "time", "sample_weight")},
        provenance={"source": "table", "path": str(path), "target": ", ".join(targets)},
    )


def _lines(path: str | PathLike[str], where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line, cells), the header first; lines without any cell are left out."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=SEPARATORS[Path(path).suffix.lower()], strict=True)
            header = next(reader, [])
            _check_header(header, f"{where}: {path}")
            yield reader.line_num, header
            for cells in reader:
                if cells and len(cells) != len(header):
                    # Taken as it is, a short or long line would move values to other columns.
                    raise InputError(
                        f"{where}: {path}, line {reader.line_num}: {len(cells)} cells but "
                        f"{len(header)} column names; the file is ragged or cut short"
                    )
                if cells:
                    yield reader.line_num, cells
    except FileNotFoundError:
        raise InputError(f"{where}: there is no file {path}; correct data.path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where}: {path} cannot be read as UTF-8 text table ({error})") from error


def _check_header(header: Sequence[str], where: str) -> None:
    if not header:
        raise InputError(f"{where} has no rows; expected a header and one line per row")
    for position, name in enumerate(header):
        if not name:
            raise InputError(
                f"{where}: column {position + 1} has no name; name it, or write the table without "
                "its index"
            )
        if name in header[:position]:
            raise InputError(f"{where}: column name '{name}' occurs twice; rename one")


def _choose(
    header: Sequence[str],
    targets: Sequence[str],
    features: Sequence[str] | None,
    roles: Mapping[str, str | None],
    where: str,
) -> list[str]:
    """Return the feature columns, each column having one role."""
    taken: dict[str, str] = {}
    named = [*(("target", name) for name in targets), *roles.items()]
    named += [("features", name) for name in features or ()]
    for role, name in named:
        if name is None:
            continue
        if name not in header:
            raise not_among(where, f"{role} column", name, header)
        if name in taken:
            raise InputError(
                f"{where}: column '{name}' is named as {taken[name]} and as {role}; a column has "
                "one role"
            )
        taken[name] = role
    return [name for name in header if name not in taken] if features is None else list(features)
