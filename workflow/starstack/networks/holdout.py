"""Hold out some of a network's own training rows, to tell when it has learnt enough."""

import logging
import math

import numpy as np

from starstack.data.dataset import Dataset
from starstack.seeds import derive_seed

logger = logging.getLogger(__name__)


def hold_out(
    n_rows: int,
    fraction: float,
    *,
    seed: int,
    codes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into those to train on and those to validate with.

    Groups stay whole, and every class stays among the rows to train on: a network that never saw
    a class would answer with the others. Without groups, the classes are held out in proportion to
    their rows, by the method of Webster and Sainte-Laguë [1]_. Where no row or group can be held
    out, all are trained on; where it is the classes that forbid it, the log says so.

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
        Row positions in increasing order; `validation` may be empty, or smaller than asked for.

    References
    ----------
    .. [1] Balinski, M. L. and Young, H. P. (1982), "Fair Representation", Yale University Press.

    Examples
    --------
    >>> train, validation = hold_out(10, 0.2, seed=1)
    >>> len(train), len(validation)
    (8, 2)
    """
    random = np.random.RandomState(seed)
    codes = np.zeros(n_rows, dtype=int) if codes is None else codes
    classes, codes = np.unique(codes, return_inverse=True)
    if groups is None:
        wanted = min(round(fraction * n_rows), n_rows - 1)
        held_out = _choose_rows(codes, wanted, random)
    else:
        names, groups = np.unique(groups, return_inverse=True)
        wanted = min(math.ceil(fraction * len(names)), len(names) - 1)
        held_out = _choose_groups(codes, groups, wanted, random)
    if wanted > 0 and not held_out.any():
        logger.warning(
            "nothing is held out of %d rows, and training does not stop early: each %s holds the "
            "last rows of one of %d classes",
            n_rows,
            "row" if groups is None else "group",
            len(classes),
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def validation_rows(
    dataset: Dataset, train_rows: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take validation rows from the training rows.

    Rows of one group stay together; without groups, classes keep their shares.

    Parameters
    ----------
    dataset : Dataset
        The data.
    train_rows : ndarray of int
        Training rows of the split.
    fraction : float
        Share of them to validate with.
    seed : int
        Decides which.

    Returns
    -------
    fit_rows, validation_rows : ndarray of int
        Positions in rising order.
    """
    rows = np.sort(train_rows)
    fit, validation = hold_out(
        len(rows),
        fraction,
        seed=derive_seed(seed, "validation rows"),
        codes=dataset.y[rows] if dataset.task == "classification" else None,
        groups=None if dataset.group is None else dataset.group[rows],
    )
    return rows[fit], rows[validation]


def _choose_rows(codes: np.ndarray, wanted: int, random: np.random.RandomState) -> np.ndarray:
    """Give the rows to hold out as a mask: of each class in proportion, and never its last."""
    order = random.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    place = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    size = np.repeat(counts, counts)
    # Row k of a class of c rows has its turn at (k + 1/2) / c; chance orders what is equal.
    turn = np.lexsort((random.random_sample(len(codes)), (place + 0.5) / size))
    turn = turn[(place < size - 1)[turn]]
    held_out = np.zeros(len(codes), dtype=bool)
    held_out[order[turn[: max(wanted, 0)]]] = True
    return held_out


def _choose_groups(
    codes: np.ndarray, groups: np.ndarray, wanted: int, random: np.random.RandomState
) -> np.ndarray:
    """Give the rows to hold out as a mask: groups in random order, while no class runs out."""
    has = np.zeros((groups.max(initial=-1) + 1, codes.max(initial=-1) + 1), dtype=bool)
    has[groups, codes] = True
    left, chosen = has.sum(axis=0), []
    for group in random.permutation(len(has)):
        if len(chosen) >= wanted:
            break
        if (left[has[group]] > 1).all():
            left -= has[group]
            chosen.append(group)
    return np.isin(groups, chosen)
