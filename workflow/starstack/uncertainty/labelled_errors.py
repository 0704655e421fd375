"""An error budget beside the predictions it is about, for figures and calibration."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.recalibration import Recalibration, fit_recalibration, identity

logger = logging.getLogger(__name__)

NONE = "none"
# Intervals of these probabilities stand in the table of the error budget.
LEVELS = (0.68, 0.95)


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of rows, what is true of them, and what their errors are binned by.

    Attributes
    ----------
    row_id : ndarray of str, shape (n,)
    observed, predicted : ndarray of shape (n, k)
    snr : ndarray of shape (n,) or None
        Signal-to-noise ratios, where the data have them.
    """

    row_id: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    snr: np.ndarray | None

    @property
    def errors(self) -> np.ndarray:
        """Predicted minus observed."""
        return self.predicted - self.observed

    def part(self, chosen: np.ndarray) -> "Predicted":
        """Return some of the rows."""
        snr = None if self.snr is None else self.snr[chosen]
        return Predicted(self.row_id[chosen], self.observed[chosen], self.predicted[chosen], snr)

    def bin_by(self, covariance: np.ndarray) -> np.ndarray:
        """Return what recalibration bins by: the signal-to-noise ratio, or the predicted error.

        The predicted error is the geometric mean over the labels, which has no unit to choose.
        """
        if self.snr is not None and np.isfinite(self.snr).all():
            return self.snr
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        return np.exp(0.5 * np.log(np.maximum(variance, np.finfo(float).tiny)).mean(axis=1))


def join_predictions(dataset: Dataset, row_id: np.ndarray, predicted: np.ndarray) -> Predicted:
    """Put predictions of named rows beside what the data say of these rows.

    Raises
    ------
    InputError
        If the data have no such row.
    """
    place = {name: number for number, name in enumerate(dataset.row_id.tolist())}
    missing = [name for name in row_id.tolist() if name not in place]
    if missing:
        raise InputError(
            f"predictions: row {missing[0]!r} is not in the data of {dataset.name!r}; run the "
            "workflow again"
        )
    at = np.array([place[name] for name in row_id.tolist()], dtype=int)
    # Of all rows or of none: calibration and test rows are binned by the same.
    snr = dataset.row_values.get("snr")
    if snr is not None and not (np.isfinite(snr) & (snr > 0)).all():
        logger.warning("data of %r: not every row has an S/N above 0; none is used", dataset.name)
        snr = None
    observed = dataset.y.reshape(len(dataset.y), -1)[at]
    return Predicted(row_id, observed, predicted, None if snr is None else snr[at])


def recalibrate(
    rows: Predicted, covariance: np.ndarray, *, distribution: str, n_bins: int, joint: bool = True
) -> Recalibration:
    """Learn a recalibration from calibration rows; `NONE` gives one that changes nothing."""
    if distribution == NONE:
        return identity(rows.predicted.shape[1])
    return fit_recalibration(
        rows.errors,
        covariance,
        rows.bin_by(covariance),
        n_bins=n_bins,
        distribution=distribution,
        joint=joint,
    )


def budget_table(
    budget: ErrorBudget, rows: Predicted, recalibration: Recalibration
) -> pd.DataFrame:
    """Tabulate one line per row and label: prediction, truth, parts of the error, intervals.

    Parameters
    ----------
    budget : ErrorBudget
    rows : Predicted
        The same rows.
    recalibration : Recalibration
        From the calibration rows.

    Returns
    -------
    DataFrame
        ``row_id``, ``output``, ``unit``, ``snr`` (NaN where unknown), ``observed``,
        ``predicted``, the standard deviations ``noise``, ``weights``, ``intrinsic`` and
        ``total``, ``recalibrated``, which is the total times the factor of the recalibration,
        ``half_width_68`` and ``half_width_95`` of the recalibrated intervals, and
        ``correlation_<label>``.
    """
    n, k = rows.predicted.shape
    table = budget.to_table()
    snr = np.full(n, np.nan) if rows.snr is None else rows.snr
    for at, (name, values) in enumerate(
        (
            ("snr", np.repeat(snr, k)),
            ("observed", rows.observed.reshape(-1)),
            ("predicted", rows.predicted.reshape(-1)),
        )
    ):
        table.insert(3 + at, name, values)
    at = table.columns.get_loc("total") + 1
    by = rows.bin_by(budget.total)
    stretched = np.diagonal(recalibration.covariance(budget.total, by), axis1=1, axis2=2)
    table.insert(at, "recalibrated", np.sqrt(stretched).reshape(-1))
    for number, level in enumerate(LEVELS, start=1):
        half = recalibration.half_widths(budget.total, by, level)
        table.insert(at + number, f"half_width_{100 * level:g}", half.reshape(-1))
    return table
