"""What each baseline says of calibration and test rows: means, and covariances of their errors.

The networks of an ensemble, or the draws of a dropout, scatter by what the weights leave open; of
the noise of the spectra they know nothing. A predicted variance holds all of it, and no covariance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.options import TrainingOptions
from starstack.networks.training import train_network
from starstack.seeds import derive_seed
from starstack.uncertainty.baselines import (
    mc_dropout_predictions,
    sample_moments,
    train_ensemble,
    train_variance_network,
)
from starstack.uncertainty.network_rows import NetworkRows, read_blocks
from starstack.uncertainty.row_arrays import read_row_arrays, write_row_arrays

DROPOUT_RATE, DROPOUT_DRAWS = 0.1, 50


@dataclass(frozen=True, eq=False)
class BaselineRows:
    """Predictions of one baseline.

    Attributes
    ----------
    row_id : ndarray of str, shape (n,)
    mean : ndarray of shape (n, k)
    covariance : ndarray of shape (n, k, k)
        In the units of the targets.
    """

    row_id: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def of(self, row_id: np.ndarray) -> "BaselineRows":
        """Return those of some rows, in the order of their names."""
        place = {name: number for number, name in enumerate(self.row_id.tolist())}
        at = [place[name] for name in row_id.tolist()]
        return BaselineRows(row_id, self.mean[at], self.covariance[at])


def train_baseline(
    kind: str,
    dataset: Dataset,
    train_rows: np.ndarray,
    rows: NetworkRows,
    options: TrainingOptions,
    *,
    seed: int,
    build_params: Mapping[str, Any],
    **arguments: Any,
) -> BaselineRows:
    """Train one kind of baseline and predict calibration and test rows.

    Parameters
    ----------
    kind : str
        A key of `BASELINES`.
    dataset : Dataset
        Of a regression.
    train_rows : ndarray of int
        Training rows of the split.
    rows : NetworkRows
        Of the network that the baseline is compared with: its calibration rows are trained on by
        none of the networks.
    options : TrainingOptions
        Those of that network.
    seed : int
    build_params, **arguments
        As for `starstack.networks.training.train_network`.

    Raises
    ------
    InputError
        If the kind is unknown.
    """
    if kind not in BASELINES:
        raise InputError(f"baseline {kind!r}: expected one of {', '.join(BASELINES)}")
    # Every member must leave the calibration rows alone, so that they are taken out beforehand.
    free = np.setdiff1d(train_rows, rows.calibration)
    wanted = np.sort(np.concatenate([rows.calibration, rows.test]))
    # As many rows as the network was fitted to: the weights of the last epoch are kept.
    if options.schedule != "reduce_on_plateau":
        options = replace(options, validation_fraction=0.0, patience=None)
    X = read_blocks(dataset, "X", wanted)
    mean, covariance = BASELINES[kind](
        dataset, free, options, X, seed=seed, build_params=dict(build_params), **arguments
    )
    return BaselineRows(dataset.row_id[wanted], mean, covariance)


def _ensemble(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    X: np.ndarray,
    *,
    seed: int,
    **arguments: Any,
) -> tuple[np.ndarray, np.ndarray]:
    members = train_ensemble(dataset, train_rows, options, seed=seed, **arguments)
    return sample_moments(np.stack([member.predict(X) for member in members]))


def _dropout(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    X: np.ndarray,
    *,
    seed: int,
    build_params: dict[str, Any],
    **arguments: Any,
) -> tuple[np.ndarray, np.ndarray]:
    # Noise in a layer would be drawn with the dropout; that of the spectra is drawn outside.
    params = {key: value for key, value in build_params.items() if key != "input_noise"}
    params["dropout"] = params.get("dropout") or DROPOUT_RATE
    network, _ = train_network(
        dataset, train_rows, options, seed=seed, build_params=params, **arguments
    )
    own = derive_seed(seed, "dropout draws")
    return sample_moments(mc_dropout_predictions(network, X, n_draws=DROPOUT_DRAWS, seed=own))


def _variance(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    X: np.ndarray,
    *,
    device: object = None,
    allowed_packages: object = None,
    **arguments: Any,
) -> tuple[np.ndarray, np.ndarray]:
    return train_variance_network(dataset, train_rows, options, **arguments).predict(X)


BASELINES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "ensemble": _ensemble,
    "dropout": _dropout,
    "variance": _variance,
}


def write_baseline(
    found: BaselineRows, path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write to HDF5: ``row_id``, ``mean``, ``covariance``."""
    arrays = {"mean": found.mean, "covariance": found.covariance}
    write_row_arrays(path, found.row_id, arrays, attributes)


def read_baseline(path: str | PathLike[str]) -> BaselineRows:
    """Read what `write_baseline` wrote.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    parts = read_row_arrays(path, ("mean", "covariance"), "a baseline", "train_baseline")
    return BaselineRows(*parts)
