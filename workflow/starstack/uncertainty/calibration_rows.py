"""Whether enough rows are held out to calibrate error bars: known before anything is trained."""

import numpy as np

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.holdout import validation_rows

# The factor of fewer rows has a standard error above 7 %.
MIN_ROWS = 100


def check_calibration_rows(
    dataset: Dataset, train_rows: np.ndarray, fraction: float, seed: int, where: str
) -> None:
    """Refuse a network with too few rows for a recalibration.

    Parameters
    ----------
    dataset, train_rows, fraction, seed
        As the network is trained with, see `starstack.networks.holdout.validation_rows`.
    where : str
        The network, for the message.

    Raises
    ------
    InputError
        If it holds out fewer than `MIN_ROWS` rows.
    """
    n = len(validation_rows(dataset, train_rows, fraction, seed)[1])
    if n < MIN_ROWS:
        raise InputError(
            f"{where}: {n} of {len(train_rows)} training rows are held out to recalibrate error "
            f"bars; expected at least {MIN_ROWS}: raise training.validation_fraction "
            f"({fraction:g}), or set uncertainty.recalibration: none"
        )
