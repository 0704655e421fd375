"""How large the errors of a prediction are likely to be, learnt from errors that were made.

Intervals in units of such a scale are as wide as the prediction is bad there. The scale is
exp E[log |error|], a constant times the standard deviation for errors of one law, by boosted trees
on the logarithm of the signal-to-noise ratio and on the predicted labels: their leaves never leave
the range of the errors that they have seen, as a polynomial would for a star at the rim. The
constant does not matter to a conformal interval.
"""

from collections.abc import Callable

import numpy as np

# Leaves of so many rows or more: the mean of log |z| has a standard error of 0.11 there.
MIN_LEAF = 100

Scale = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def fit_scale(
    errors: np.ndarray, predicted: np.ndarray, snr: np.ndarray | None, *, seed: int = 0
) -> Scale:
    """Learn how large errors are, label by label.

    Parameters
    ----------
    errors : ndarray of shape (m, k)
        Predicted minus observed, or the other way round.
    predicted : ndarray of shape (m, k)
        What was predicted for the same rows.
    snr : ndarray of shape (m,) or None
        Their signal-to-noise ratios, if known.
    seed : int
        Of the boosted trees, which take subsets of very many rows.

    Returns
    -------
    callable
        From predictions of shape (n, k) and signal-to-noise ratios to scales of shape (n, k).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> snr = rng.choice([10.0, 100.0], 4000)
    >>> errors = rng.normal(size=(4000, 1)) / snr[:, None]
    >>> scale = fit_scale(errors, np.ones((4000, 1)), snr)
    >>> found = scale(np.ones((2, 1)), np.array([10.0, 100.0]))
    >>> round(float(found[0, 0] / found[1, 0]))
    10
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    def features(predicted: np.ndarray, snr: np.ndarray | None) -> np.ndarray:
        return predicted if snr is None else np.column_stack([np.log(snr), predicted])

    # An error of exactly zero, such as of a tree, has no logarithm.
    floor = 1e-6 * np.sqrt(np.mean(errors**2, axis=0)) + np.finfo(float).tiny
    known = features(predicted, snr)
    models = [
        HistGradientBoostingRegressor(
            max_leaf_nodes=8,
            min_samples_leaf=MIN_LEAF,
            early_stopping=False,
            random_state=seed,
        ).fit(known, np.log(np.maximum(np.abs(column), least)))
        for column, least in zip(errors.T, floor, strict=True)
    ]

    def scale(predicted: np.ndarray, snr: np.ndarray | None) -> np.ndarray:
        given = features(predicted, snr)
        return np.exp(np.column_stack([model.predict(given) for model in models]))

    return scale
