r"""Whether the classes can be separated, so that without a penalty there is no minimum.

If some coefficients B and intercept b give every row i and every other class k

.. math:: (x_i B + b)_{y_i} - (x_i B + b)_k \ge 0,

not all of them zero, the loss falls for ever along them and reaches no minimum (Albert & Anderson
1984, Biometrika 71, 1). The linear programme that maximises the sum of these differences, with
coefficients within [−1, 1], has a positive optimum exactly then (Konis 2007, DPhil thesis, Oxford).
Any row of differences may be scaled by itself; where one row is far from all others, theirs would
lie below what the programme resolves.
"""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from starstack.errors import InputError

# Of the optimum per row, where the largest number in every row is one.
_TOLERANCE = 1e-7
# By how much the programme may miss a constraint: the least that HiGHS takes.
_FEASIBILITY = 1e-10
# By how much what it found may miss one, relative to the sum of its terms: where all terms are as
# small as what the programme may miss, nothing is separated.
_ROUNDING = 1e-6
# Coefficients below this part of the largest may be nothing but what the programme leaves of zero.
_NOTHING = 1e-9


def is_separable(
    X: np.ndarray, Y: np.ndarray, sample_weight: np.ndarray, *, fit_intercept: bool
) -> bool:
    """Tell whether a linear function separates the classes, completely or but for ties.

    Parameters
    ----------
    X : ndarray of shape (n, F)
        Features.
    Y : ndarray of shape (n, C)
        The class: one column of 0 and 1 for two classes, one column per class for more.
    sample_weight : ndarray of shape (n,)
        Rows of weight zero do not count.
    fit_intercept : bool
        Whether there is an intercept.

    Raises
    ------
    InputError
        If the linear programme cannot be solved.

    Examples
    --------
    >>> X, ones = np.array([[-1.0], [1.0], [2.0]]), np.ones(3)
    >>> is_separable(X, np.array([[0.0], [0.0], [1.0]]), ones, fit_intercept=True)
    True
    >>> is_separable(X, np.array([[0.0], [1.0], [0.0]]), ones, fit_intercept=True)
    False
    """
    used = sample_weight > 0
    X, Y = X[used], Y[used]
    # One scale for all features hid those a millionth of the largest below the tolerance; means
    # and maxima of a feature with an outlier hide all of its other values.
    if fit_intercept:
        X = X - np.median(X, axis=0)
    X = X / _typical_sizes(X)
    features = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    largest = np.abs(features).max(axis=1, initial=0.0, keepdims=True)
    differences = _differences(features / np.where(largest > 0, largest, 1.0), Y)
    result = linprog(
        -np.asarray(differences.sum(axis=0)).ravel(),
        A_ub=-differences,
        b_ub=np.zeros(differences.shape[0]),
        bounds=(-1, 1),
        method="highs",
        options={"primal_feasibility_tolerance": _FEASIBILITY},
    )
    if result.status != 0:
        raise InputError(
            f"whether the classes can be separated cannot be decided ({result.message}); give a "
            "penalty alpha above 0, with which there always is a minimum"
        )
    if -result.fun <= _TOLERANCE * len(X):
        return False
    largest = np.abs(result.x).max()
    cleaned = np.where(np.abs(result.x) < _NOTHING * largest, 0.0, result.x)
    return any(_separates(differences, found, len(X)) for found in (result.x, cleaned))


def _separates(differences: sparse.csr_array, coefficients: np.ndarray, n: int) -> bool:
    """Whether no difference is negative beyond rounding of its own terms, and some are positive."""
    found = differences @ coefficients
    terms = abs(differences) @ np.abs(coefficients)
    return bool((found >= -_ROUNDING * terms).all() and found.sum() > _TOLERANCE * n)


def _typical_sizes(X: np.ndarray) -> np.ndarray:
    """Return the median size of the values of each feature that are not zero, or one."""
    sizes = np.abs(X)
    return np.array([np.median(column[column > 0]) if column.any() else 1.0 for column in sizes.T])


def _differences(features: np.ndarray, Y: np.ndarray) -> sparse.csr_array:
    """Rows of the linear map from coefficients to the differences that must not be negative."""
    if Y.shape[1] == 1:
        return sparse.csr_array((2 * Y - 1) * features)
    n_features, n_classes = features.shape[1], Y.shape[1]
    blocks = []
    for true in range(n_classes):
        rows = features[Y[:, true] == 1]
        for other in range(n_classes):
            if other != true and len(rows):
                block = sparse.lil_array((len(rows), n_features * n_classes))
                block[:, true * n_features : (true + 1) * n_features] = rows
                block[:, other * n_features : (other + 1) * n_features] = -rows
                blocks.append(block.tocsr())
    return sparse.csr_array(sparse.vstack(blocks))
