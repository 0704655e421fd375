"""The rows of a network and what it does to them: which it was fitted to, and how they are scaled.

The rows that training validated with are neither fitted nor tested on: what error bars are
calibrated with. They did choose the epoch, by their mean loss, which is one number of thousands.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.curvature.posterior import Posterior
from starstack.data.dataset import Dataset
from starstack.networks.holdout import validation_rows
from starstack.networks.persistence import FittedNetwork
from starstack.networks.streaming import iter_blocks
from starstack.seeds import derive_seed
from starstack.splits.split import Split

logger = logging.getLogger(__name__)

BLOCK_ROWS = 1024
# Structures whose every error bar is a solution, and so many rows take a while.
SOLVED, SOLVED_ROWS = ("cg",), 8
SECONDS_BETWEEN_LOGS = 15


@dataclass(frozen=True, eq=False)
class NetworkRows:
    """Positions of rows, rising.

    Attributes
    ----------
    fit : ndarray of int
        Rows that the weights were fitted to.
    calibration : ndarray of int
        Validation rows of the training.
    test : ndarray of int
        Test rows of the split.
    """

    fit: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def rows_of_network(
    dataset: Dataset, split: Split, validation_fraction: float, seed: int
) -> NetworkRows:
    """Find the rows of a network again, from what it was trained with.

    Parameters
    ----------
    dataset, split
        Of the study.
    validation_fraction : float
        Of its training.
    seed : int
        Of the network, as for `starstack.networks.training.train_network`.
    """
    fit, held_out = validation_rows(dataset, split.train_rows(), validation_fraction, seed)
    return NetworkRows(fit, held_out, np.flatnonzero(split.is_test))


def draw_rows(rows: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """Draw some of the rows without replacement, rising; all of them if there are no more, or None.

    Examples
    --------
    >>> draw_rows(np.array([3, 5, 8]), None, seed=1).tolist()
    [3, 5, 8]
    """
    if n is None or n >= len(rows):
        return rows
    return np.sort(np.random.default_rng(derive_seed(seed, "rows")).choice(rows, n, replace=False))


def scaled_batches(
    network: FittedNetwork,
    dataset: Dataset,
    rows: np.ndarray,
    *,
    fitted: np.ndarray | None = None,
    batch_size: int = 256,
) -> Batches:
    """Give rows as the network takes them, with targets as it was trained on them.

    Parameters
    ----------
    network : FittedNetwork
    dataset : Dataset
        From `starstack.data.store.open_dataset`: rows are read a batch at a time.
    rows : ndarray of int
        Positions, rising.
    fitted : ndarray of int, optional
        All rows that the network was fitted to, from which these were drawn. Each counts for so
        many of them, times its ``sample_weight`` over their mean one: in the loss that was
        minimised. By default each row counts once, as rows that were held out do: the error of a
        prediction knows no weight.
    batch_size : int
        Rows at once.
    """
    kind = network.model.inputs[0].dtype

    def transform(block: np.ndarray) -> np.ndarray:
        flat = np.asarray(block).reshape(len(block), -1)
        return network.input_scaler.transform(flat).astype(kind).reshape(-1, *network.input_shape)

    y, targets = dataset.y, None
    if network.task == "regression":
        y = y.reshape(len(y), -1)
        targets = network.target_scaler.transform
    weight = None
    if fitted is not None:
        own = dataset.sample_weight
        weight = np.ones(len(y)) if own is None else own / own[fitted].mean()
        weight = weight * (len(fitted) / len(rows))
    return Batches(
        dataset.X,
        y,
        weight,
        rows=rows,
        transform=transform,
        target_transform=targets,
        batch_size=batch_size,
    )


def scaler_digest(network: FittedNetwork) -> str:
    """Name the scales of a network's inputs and targets, to keep a posterior with its network."""
    scales = [network.input_scaler.to_json(), network.target_scaler.to_json()]
    return hashlib.sha256(json.dumps(scales, sort_keys=True).encode()).hexdigest()


def iter_error_bars(
    posterior: Posterior, network: FittedNetwork, dataset: Dataset, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows as the network takes them and the covariance of its outputs, in blocks.

    The log says how many of the rows are done.
    """
    size, done = (SOLVED_ROWS if posterior.structure in SOLVED else BLOCK_ROWS), 0
    last = time.monotonic()
    for batch in scaled_batches(network, dataset, rows, batch_size=size):
        # Of a row that only fills up its batch, an answer that is solved for costs as much.
        x = batch.x[: batch.n]
        yield x, posterior.predictive_covariance(x)
        done += batch.n
        if done == len(rows) or time.monotonic() - last > SECONDS_BETWEEN_LOGS:
            last = time.monotonic()
            logger.info("error bars of %s: %d of %d rows", posterior.structure, done, len(rows))


def weights_covariance(
    posterior: Posterior, network: FittedNetwork, dataset: Dataset, rows: np.ndarray
) -> np.ndarray:
    """Return the covariance of a regression's predictions that its uncertain weights cause.

    Parameters
    ----------
    posterior : Posterior
        Of the network's weights.
    network : FittedNetwork
    dataset : Dataset
    rows : ndarray of int
        Positions, rising.

    Returns
    -------
    ndarray of float64, shape (n, k, k)
        In the units of the targets.
    """
    parts = [covariance for _, covariance in iter_error_bars(posterior, network, dataset, rows)]
    k = parts[0].shape[1]
    scale = np.broadcast_to(np.asarray(network.target_scaler.scale, float), (k,))
    # A covariance of rounding has a slightly negative variance where it is zero.
    covariance = np.concatenate(parts) * np.outer(scale, scale)
    variance = np.einsum("nkk->nk", covariance)
    np.maximum(variance, 0.0, out=np.einsum("nkk->nk", covariance))
    return covariance


def read_blocks(dataset: Dataset, name: str, rows: np.ndarray) -> np.ndarray:
    """Read some rows of a table of the data set into memory."""
    return np.concatenate(list(iter_blocks(getattr(dataset, name), rows, BLOCK_ROWS)))
