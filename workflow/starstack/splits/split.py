"""A split of the rows into test and folds, and the readable CSV file that holds it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from starstack.errors import InputError

# The word of the `set` column, in the order of is_test False, True.
SETS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one study, each either a test row or held out by a fold.

    Attributes
    ----------
    row_id : ndarray of str, shape (n,)
        The name of each row.
    is_test : ndarray of bool, shape (n,)
        True for the rows that no model is fitted on.
    folds : ndarray of int, shape (n, n_repeats)
        ``1..n_folds`` is the fold in which the row is held out; 0 marks a test row and, in the
        expanding scheme, a burn-in row that no fold predicts.
    scheme : str
        ``"partition"``: a fold is fitted on every training row that it does not hold out.
        ``"expanding"``: a fold is fitted on the folds before it, the burn-in included.

    Examples
    --------
    >>> import numpy as np
    >>> split = Split(
    ...     row_id=np.array(list("abcde")),
    ...     is_test=np.array([False, False, True, False, False]),
    ...     folds=np.array([[1], [2], [0], [2], [1]]),
    ...     scheme="partition",
    ... )
    >>> split.fold_names
    ['1', '2']
    >>> [rows.tolist() for rows in split.fold("1")]
    [[1, 3], [0, 4]]
    >>> [(fit.tolist(), held_out.tolist()) for fit, held_out in split.cv()]
    [([1, 2], [0, 3]), ([0, 3], [1, 2])]
    """

    row_id: np.ndarray
    is_test: np.ndarray
    folds: np.ndarray
    scheme: str

    @property
    def n_folds(self) -> int:
        """Folds in one repeat."""
        return int(self.folds.max(initial=0))

    @property
    def n_repeats(self) -> int:
        """How many times the training rows are divided anew."""
        return self.folds.shape[1]

    @property
    def fold_names(self) -> list[str]:
        """``"1"`` to ``"K*R"``: fold ``k`` of repeat ``r`` is number ``(r - 1) * K + k``."""
        return [str(number) for number in range(1, self.n_folds * self.n_repeats + 1)]

    def train_rows(self) -> np.ndarray:
        """Return the indices of the training rows (burn-in included), ascending."""
        return np.flatnonzero(~self.is_test)

    def fold(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that a fold is fitted on and the rows that it holds out.

        Parameters
        ----------
        name : str
            One of `fold_names`.

        Returns
        -------
        fit_rows, held_out_rows : ndarray of int
            Indices into all ``n`` rows, ascending.

        Raises
        ------
        InputError
            If there is no such fold.
        """
        if str(name) not in self.fold_names:
            raise InputError(
                f"split: there is no fold '{name}'; expected a number from 1 to "
                f"{len(self.fold_names)}"
            )
        repeat, index = divmod(int(name) - 1, self.n_folds)
        folds, number = self.folds[:, repeat], index + 1
        fitted = folds < number if self.scheme == "expanding" else folds != number
        return np.flatnonzero(~self.is_test & fitted), np.flatnonzero(folds == number)

    def cv(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (fit, held-out) positions within `train_rows`, as scikit-learn's ``cv`` takes."""
        position = np.cumsum(~self.is_test) - 1
        pairs = [self.fold(name) for name in self.fold_names]
        return [(position[fit], position[held_out]) for fit, held_out in pairs]

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one line per row: id, set (train or test) and fold per repeat (or block)."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["row_id", "set", *_fold_columns(self.scheme, self.n_repeats)])
            for row, test, folds in zip(self.row_id, self.is_test, self.folds, strict=True):
                writer.writerow([row, SETS[int(test)], *("" if test else fold for fold in folds)])

    @classmethod
    def from_csv(cls, path: str | PathLike[str]) -> "Split":
        """Read what `to_csv` wrote, the rows in the order of the file.

        Raises
        ------
        InputError
            If the file is missing, is not UTF-8 text, has another header, or a line that does not
            say where its row belongs; the line is named. Whether the folds can be used at all is
            the business of `starstack.splits.checks.check_split`.
        """
        where = f"split file {path}"
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, strict=True)
                numbered = [(reader.line_num, line) for line in reader if line]
        except FileNotFoundError:
            raise InputError(f"{where}: there is no such file") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{where}: cannot be read as UTF-8 CSV ({error})") from error
        if not numbered:
            raise InputError(f"{where}: is empty; expected the header row_id,set,fold_1")
        (_, header), *lines = numbered
        scheme = "expanding" if "block" in header else "partition"
        columns = ["row_id", "set", *_fold_columns(scheme, max(len(header) - 2, 1))]
        if header != columns:
            raise InputError(
                f"{where}: the header is {','.join(header)}; expected row_id,set,fold_1 (and "
                "fold_2, … if repeated), or row_id,set,block for time-ordered blocks"
            )
        parsed = [_parse(cells, columns, scheme, f"{where}, line {at}") for at, cells in lines]
        return cls(
            row_id=np.array([row for row, _, _ in parsed], dtype=np.str_),
            is_test=np.array([test for _, test, _ in parsed], dtype=bool),
            folds=np.array([folds for _, _, folds in parsed], dtype=np.int64).reshape(
                len(parsed), len(columns) - 2
            ),
            scheme=scheme,
        )


def _fold_columns(scheme: str, n_repeats: int) -> list[str]:
    if scheme == "expanding":
        return ["block"]
    return [f"fold_{repeat}" for repeat in range(1, n_repeats + 1)]


def _parse(
    cells: Sequence[str], columns: Sequence[str], scheme: str, where: str
) -> tuple[str, bool, list[int]]:
    """Return (row id, is test, folds) of one line."""
    if len(cells) != len(columns):
        raise InputError(f"{where}: expected {len(columns)} cells, found {len(cells)}")
    row, set_name, *folds = cells
    if set_name not in SETS:
        raise InputError(f"{where}: the set of row '{row}' is '{set_name}'; expected train or test")
    if set_name == "test":
        if any(folds):
            raise InputError(
                f"{where}: test row '{row}' has a fold; leave it empty, or make it a train row"
            )
        return row, True, [0] * len(folds)
    lowest = 0 if scheme == "expanding" else 1
    for column, cell in zip(columns[2:], folds, strict=True):
        if not (cell.isascii() and cell.isdigit() and int(cell) >= lowest):
            raise InputError(
                f"{where}: {column} of train row '{row}' is '{cell}'; expected a whole number "
                f"from {lowest}"
            )
    return row, False, [int(fold) for fold in folds]
