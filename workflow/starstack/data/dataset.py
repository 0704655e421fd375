"""The data set of one study: rows that are known by name, columns that are known by name."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("regression", "classification")

# The tables, rows by features, which may be too large for memory.
TABLES = ("X", "X_error", "X_noiseless")
# The other arrays, and what is text about the columns.
ARRAYS = ("y", "row_id", "group", "time", "sample_weight", "wavelength", "noise_correlation")
NAMES = ("feature_names", "target_names", "classes")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, target and what else is known of each row.

    `X`, `X_error` and `X_noiseless` may also be arrays of an open file, see
    `starstack.data.store.open_dataset`, or None where they were not read.

    Attributes
    ----------
    name : str
        Name of the study.
    task : str
        ``"regression"`` or ``"classification"``.
    X : ndarray of float64 or float32, shape (n, p)
        The features; float32 for spectra.
    y : ndarray
        Regression: float64, shape (n,), or (n, k) for several targets. Classification: int64
        codes ``0..C-1``, shape (n,).
    row_id : ndarray of str, shape (n,)
        Unique names of the rows.
    feature_names : tuple of str, length p
        The columns of `X`.
    target_names : tuple of str
        The columns of `y`; one name for classification.
    classes : tuple of str
        Names of the codes, in their order; empty for regression.
    group : ndarray of str, shape (n,), or None
        Rows of one group stay together in every split.
    time : ndarray of float64, shape (n,), or None
        Time of each row; seconds since 1970 where it was given as a date.
    sample_weight : ndarray of float64, shape (n,), or None
        Weight of each row when models are fitted.
    X_error : ndarray of float32, shape (n, p), or None
        Standard deviation of the noise of each value of `X`, in its units; ``inf`` where the
        pixel is masked, and `X` then holds what the source fills in.
    X_noiseless : ndarray of float32, shape (n, p), or None
        `X` without noise, where it is known; masked pixels hold what fills them.
    wavelength : ndarray of float64, shape (p,), or None
        Vacuum wavelength of each column of `X` in Å.
    noise_correlation : ndarray of float64, shape (m,), or None
        Correlation of the noise of columns 1, 2, … apart, see `starstack.data.noise_correlation`;
        None where the noise of each value is independent.
    row_values : dict of str to ndarray of float64, shape (n,)
        Further numbers of each row by name, such as ``snr``; no model sees them.
    provenance : dict of str to str
        Where the data came from and what made them.
    table_sha256 : dict of str to str
        Recorded SHA-256 of the tables that are in a file but not in memory.
    """

    name: str
    task: str
    X: np.ndarray
    y: np.ndarray
    row_id: np.ndarray
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    classes: tuple[str, ...] = ()
    group: np.ndarray | None = None
    time: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    X_error: np.ndarray | None = None
    X_noiseless: np.ndarray | None = None
    wavelength: np.ndarray | None = None
    noise_correlation: np.ndarray | None = None
    row_values: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    table_sha256: dict[str, str] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.row_id)

    @property
    def n_targets(self) -> int:
        """Number of target columns."""
        return 1 if self.y.ndim == 1 else self.y.shape[1]

    def frame(self) -> "pd.DataFrame":
        """Return `X` as a data frame with named columns, its index the row ids."""
        import pandas as pd

        index = pd.Index(self.row_id, name="row_id")
        return pd.DataFrame(self.X, index=index, columns=list(self.feature_names))

    def sha256(self) -> str:
        """Return the SHA-256 of the contents: all but the name and the provenance.

        It is the hash of a list of hashes, one per array, so that an array can be hashed while
        its blocks are written, and one that stays in its file counts by its recorded hash.
        """
        parts = {part: np.array(getattr(self, part), dtype=np.str_) for part in NAMES}
        parts |= {part: getattr(self, part) for part in ARRAYS}
        # Names of values are text in quotes, so that none can be taken for another line.
        parts |= {f"row value {name!r}": self.row_values[name] for name in sorted(self.row_values)}
        hashes = {part: array_sha256(array) for part, array in parts.items() if array is not None}
        for table in TABLES:
            if isinstance(values := getattr(self, table), np.ndarray):
                hashes[table] = array_sha256(values)
            elif table in self.table_sha256:
                hashes[table] = self.table_sha256[table]
        lines = [self.task, *(f"{part} {value}" for part, value in hashes.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def array_sha256(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's type, shape and values.

    Fixed-width text is padded to its longest, which says nothing of the contents, so of text the
    lengths and the characters count.

    Examples
    --------
    >>> rows = np.arange(6.0).reshape(3, 2)
    >>> digest = TableDigest(np.dtype("f8"), (3, 2))
    >>> digest.update(rows[:1])
    >>> digest.update(rows[1:])
    >>> digest.hexdigest() == array_sha256(rows)
    True
    """
    if values.dtype.kind == "U":
        lengths = ",".join(map(str, map(len, values.tolist())))
        return hashlib.sha256(f"text {lengths}\n{''.join(values.tolist())}".encode()).hexdigest()
    digest = TableDigest(values.dtype, values.shape)
    digest.update(values)
    return digest.hexdigest()


class TableDigest:
    """The SHA-256 of an array of numbers, of which blocks of rows come one after the other.

    Parameters
    ----------
    dtype : dtype
        Type of the array, in any byte order.
    shape : iterable of int
        Shape of the whole array.
    """

    def __init__(self, dtype: np.dtype, shape: Iterable[int]) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._digest = hashlib.sha256(f"{self._dtype.str} {tuple(shape)}\n".encode())

    def update(self, rows: np.ndarray) -> None:
        """Add the next rows."""
        self._digest.update(np.ascontiguousarray(rows, dtype=self._dtype).data)

    def hexdigest(self) -> str:
        """Return the SHA-256 of the rows so far."""
        return self._digest.hexdigest()
