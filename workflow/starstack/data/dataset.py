"""The data set of one study: rows that are known by name, columns that are known by name."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("regression", "classification")

# What the contents are, apart from the name of the study and from where they came.
ARRAYS = ("X", "y", "row_id", "group", "time", "sample_weight")
NAMES = ("feature_names", "target_names", "classes")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, target and what else is known of each row.

    Attributes
    ----------
    name : str
        Name of the study.
    task : str
        ``"regression"`` or ``"classification"``.
    X : ndarray of float64, shape (n, p)
        The features.
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
    provenance : dict of str to str
        Where the data came from and what made them.
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
    provenance: dict[str, str] = field(default_factory=dict)

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

        Every part is preceded by its name, type and shape, so that no two contents can run into
        the same bytes.
        """
        digest = hashlib.sha256(self.task.encode())
        for part in NAMES:
            _update(digest, part, np.array(getattr(self, part), dtype=np.str_))
        for part in ARRAYS:
            if getattr(self, part) is not None:
                _update(digest, part, getattr(self, part))
        return digest.hexdigest()


def _update(digest: "hashlib._Hash", part: str, values: np.ndarray) -> None:
    if values.dtype.kind == "U":
        # Fixed-width text is padded to its longest, which says nothing of the contents.
        lengths = ",".join(str(len(text)) for text in values.tolist())
        digest.update(f"\n{part} text {lengths}\n{''.join(values.tolist())}".encode())
    else:
        little = values.dtype.newbyteorder("<")
        digest.update(f"\n{part} {little.str} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, dtype=little).data)
