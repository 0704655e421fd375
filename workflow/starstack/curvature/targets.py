"""Targets in the form that a likelihood takes, and refusals of those that say nothing."""

import numpy as np

from starstack.errors import InputError

# Of the sum of a row's shares in single precision.
SHARES_ROUNDING = 1e-3


def finite_targets(y: np.ndarray) -> np.ndarray:
    """Return targets as they are.

    Raises
    ------
    InputError
        If one is NaN or infinite.
    """
    y = np.asarray(y)
    if not np.isfinite(np.asarray(y, dtype=np.float64)).all():
        raise InputError(
            "targets: expected finite numbers, got NaN or infinity; correct these rows or leave "
            "them out"
        )
    return y


def values_by_row(y: np.ndarray, n_outputs: int) -> np.ndarray:
    """Return one number for each row and output, float64 of shape (n, n_outputs).

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    y = np.asarray(y, dtype=np.float64)
    if y.size != len(y) * n_outputs:
        raise InputError(
            f"targets: expected {n_outputs} number(s) for each row, one for each output, got rows "
            f"of shape {y.shape[1:]}; give targets as the network predicts them"
        )
    return y.reshape(len(y), n_outputs)


def class_shares(y: np.ndarray) -> np.ndarray:
    """Return shares of the classes, shape (n, k), as they are.

    Raises
    ------
    InputError
        If one is negative, or those of a row do not add up to 1.
    """
    sums = y.sum(axis=1, dtype=np.float64)
    if y.min(initial=0) < 0 or (np.abs(sums - 1) > SHARES_ROUNDING).any():
        raise InputError(
            "labels: expected shares of the classes, not negative and of sum 1 in each row, got "
            f"{y.min():g} as the smallest and sums of {sums.min():g} to {sums.max():g}; divide "
            "each row by its sum"
        )
    return y


def class_codes(y: np.ndarray, n_rows: int, n_classes: int) -> np.ndarray:
    """Return the codes of the classes, int of shape (n_rows,).

    Raises
    ------
    InputError
        If there is not one for each row, or one is no whole number from 0 to n_classes − 1.

    Examples
    --------
    >>> class_codes(np.array([[0.0], [2.0]]), 2, 3)
    array([0, 2])
    """
    if y.size != n_rows:
        raise InputError(
            f"labels: expected one code for each row, or shares of {n_classes} classes, got rows "
            f"of shape {y.shape[1:]}; give labels as the network predicts them"
        )
    y = y.reshape(-1)
    codes = y.astype(int)
    if (codes != y).any():
        raise InputError(
            f"labels: expected whole numbers as codes of the classes, got {y[codes != y][0]:g}; "
            "number the classes from 0"
        )
    if codes.min(initial=0) < 0 or codes.max(initial=0) >= n_classes:
        raise InputError(
            f"labels: expected codes from 0 to {n_classes - 1}, got {codes.min()} to "
            f"{codes.max()}; number the classes as the network's outputs"
        )
    return codes
