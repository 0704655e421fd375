"""What a trained network says of rows of a data file."""

from collections.abc import Mapping
from os import PathLike

import h5py
import numpy as np

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.persistence import FittedNetwork
from starstack.networks.streaming import iter_blocks

# Rows in memory at once.
BLOCK_ROWS = 1024

RowPredictions = dict[str, tuple[np.ndarray, np.ndarray]]


def predict_rows(
    network: FittedNetwork, dataset: Dataset, rows: Mapping[str, np.ndarray]
) -> RowPredictions:
    """Predict some rows of a data set, as observed, in bounded memory.

    Parameters
    ----------
    network : FittedNetwork
        The network.
    dataset : Dataset
        From `starstack.data.store.open_dataset`, or in memory.
    rows : mapping of str to ndarray of int
        What each part is called, such as ``test``, and its positions in rising order; empty ones
        are left out.

    Returns
    -------
    dict of str to (row ids, ndarray of shape (rows, c))
        Targets in their units, or probabilities of the classes.

    Raises
    ------
    InputError
        If a prediction is NaN or infinite.
    """
    predict = network.predict if network.task == "regression" else network.predict_proba
    found = {}
    for name, positions in rows.items():
        if not len(positions):
            continue
        blocks = iter_blocks(dataset.X, positions, BLOCK_ROWS)
        values = np.concatenate([predict(block) for block in blocks])
        if not np.isfinite(values).all():
            raise InputError(
                f"the network predicts NaN or infinity for {name} rows; train it with a lower "
                "learning_rate, and look for values in X far from those of the training rows"
            )
        found[name] = dataset.row_id[positions], values
    return found


def write_predictions(
    predictions: RowPredictions, path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write predictions to HDF5 as those of meta-learners: ``/<rows>/{row_id, values}``."""
    with h5py.File(path, "w") as file:
        for key, value in sorted(attributes.items()):
            file.attrs[key] = value
        for rows, (row_id, values) in predictions.items():
            group = file.create_group(rows)
            group.create_dataset("row_id", data=np.char.encode(row_id.astype(str), "utf-8"))
            group.create_dataset("values", data=values)
