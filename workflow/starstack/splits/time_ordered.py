"""Cut rows, in order of time, into a burn-in, one block per fold, and the latest to test on."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from starstack.errors import InputError


def divide_by_time(
    time: np.ndarray, *, n_folds: int, test_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return who is tested, shape (n,), and the block of each row, shape (n, 1).

    Block 0 is the burn-in that no fold predicts; block ``k`` is predicted from the blocks before
    it. Where all times differ, the blocks are those of ``TimeSeriesSplit(n_folds)``; otherwise
    each cut moves to the nearest change of time, so that rows of equal time stay together.

    Parameters
    ----------
    time : ndarray of float, shape (n,)
        Finite times, in any unit.
    n_folds : int
        How many blocks are predicted.
    test_size : float
        Share of the rows, the latest, to test on.

    Raises
    ------
    InputError
        If there are fewer distinct times than blocks.

    Examples
    --------
    >>> import numpy as np
    >>> is_test, block = divide_by_time(np.array([2, 0, 1, 1, 3]), n_folds=2, test_size=0.2)
    >>> is_test.tolist(), block[:, 0].tolist()
    ([False, False, False, False, True], [2, 0, 1, 1, 0])
    """
    times, code, counts = np.unique(time, return_inverse=True, return_counts=True)
    n_blocks = n_folds + 1 + (test_size > 0)
    if len(times) < n_blocks:
        raise InputError(
            f"split: {len(times)} distinct times cannot make {n_blocks} blocks (burn-in, {n_folds} "
            f"folds{', test' if test_size > 0 else ''}), as rows of equal time stay together; "
            "lower n_folds"
        )
    ends = np.cumsum(counts)  # ends[i] rows are at or before time i
    if test_size > 0:
        n_train = len(time) - int(np.ceil(test_size * len(time)))
        (n_train_times,) = _cuts(ends, [n_train], least=n_folds + 1)
        ends = ends[:n_train_times]
    series = TimeSeriesSplit(n_folds).split(np.zeros(ends[-1]))
    cuts = _cuts(ends, [int(held_out[0]) for _, held_out in series])
    block = np.zeros(len(times), dtype=np.int64)
    for number, (start, stop) in enumerate(pairwise([*cuts, len(ends)]), start=1):
        block[start:stop] = number
    return code >= len(ends), block[code][:, np.newaxis]


def _cuts(ends: np.ndarray, wanted: Sequence[int], least: int = 1) -> list[int]:
    """Return after how many times to cut, so that about `wanted` rows come before each cut.

    At least `least` times come before the first cut, and one between two cuts and after the last.
    """
    cuts = [least - 1]
    for index, n_rows in enumerate(wanted):
        options = np.arange(cuts[-1] + 1, len(ends) - len(wanted) + index + 1)
        cuts.append(int(options[np.argmin(np.abs(ends[options - 1] - n_rows))]))
    return cuts[1:]
