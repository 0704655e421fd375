"""Hold out some of a network's own training rows, to tell when it has learnt enough."""

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split


def hold_out(
    n_rows: int,
    fraction: float,
    *,
    seed: int,
    codes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into those to train on and those to validate with.

    Groups stay whole. Without groups, the classes keep their shares if every class has two rows
    and both parts have room for all classes. Where there are too few rows or groups to hold any
    out, all are trained on.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    fraction : float
        Share of the rows (or groups) to hold out; 0 for none.
    seed : int
        Decides which.
    codes : ndarray of int, shape (n_rows,), optional
        Classes.
    groups : ndarray of shape (n_rows,), optional
        Rows of one group stay together.

    Returns
    -------
    train, validation : ndarray of int
        Row positions in increasing order; `validation` may be empty.

    Examples
    --------
    >>> train, validation = hold_out(10, 0.2, seed=1)
    >>> len(train), len(validation)
    (8, 2)
    """
    everything, nothing = np.arange(n_rows), np.arange(0)
    if groups is not None:
        if not fraction or len(np.unique(groups)) < 2:
            return everything, nothing
        splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
        train, validation = next(splitter.split(everything, groups=groups))
        return np.sort(train), np.sort(validation)
    held_out = round(fraction * n_rows)
    if not 0 < held_out < n_rows:
        return everything, nothing
    stratify = None
    if codes is not None:
        _, counts = np.unique(codes, return_counts=True)
        if counts.min() > 1 and len(counts) <= min(held_out, n_rows - held_out):
            stratify = codes
    train, validation = train_test_split(
        everything, test_size=held_out, random_state=seed, stratify=stratify
    )
    return np.sort(train), np.sort(validation)
