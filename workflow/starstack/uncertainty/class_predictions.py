"""Probabilities of classes by every way to make them, before and after a change of temperature."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import softmax

from starstack.curvature.posterior import Posterior
from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.networks.heads import head_of
from starstack.networks.persistence import FittedNetwork
from starstack.uncertainty.classification import (
    MONTE_CARLO,
    PLAIN,
    PROBIT,
    both_logits,
    monte_carlo_predictive,
    probit_predictive,
)
from starstack.uncertainty.network_rows import iter_error_bars
from starstack.uncertainty.temperature import Temperature, fit_temperature

# Single precision, with its errors added up over layers.
AGREEMENT = 1e-4


def logits_of_rows(
    posterior: Posterior, network: FittedNetwork, dataset: Dataset, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of all classes, and their covariance that uncertain weights cause.

    Parameters
    ----------
    posterior : Posterior
        Of the network's weights, under a cross-entropy.
    network : FittedNetwork
        A classifier that ends in a sigmoid or a softmax.
    dataset : Dataset
    rows : ndarray of int
        Positions, rising.

    Returns
    -------
    logits : ndarray of shape (n, c)
        In the order of ``network.classes``; of two classes the first is 0.
    covariance : ndarray of shape (n, c, c)

    Raises
    ------
    InputError
        If the posterior is that of a regression, or its outputs are no logits of the network's
        probabilities.
    """
    if posterior.likelihood.is_gaussian:
        raise InputError("logits: expected the posterior of a classifier, got one of a regression")
    logits, covariances, stated = [], [], []
    decode = head_of("classification", len(network.classes)).decode
    for x, covariance in iter_error_bars(posterior, network, dataset, rows):
        logits.append(posterior.outputs(x))
        covariances.append(covariance)
        stated.append(decode(np.asarray(network.model(x, training=False))))
    found, covariance = np.concatenate(logits), np.concatenate(covariances)
    # A covariance of rounding has a slightly negative variance where it is zero.
    variance = np.einsum("nkk->nk", covariance)
    np.maximum(variance, 0.0, out=variance)
    if found.shape[1] == 1:
        found, covariance = both_logits(found, covariance)
    off = np.abs(softmax(found, axis=1) - np.concatenate(stated)).max(initial=0.0)
    if off > AGREEMENT:
        raise InputError(
            f"logits: their softmax differs from the network's probabilities by {off:.2g}; "
            "expected a network that ends in a sigmoid or a softmax of them"
        )
    return found, covariance


def predict_classes(
    posteriors: Mapping[str, Posterior],
    network: FittedNetwork,
    dataset: Dataset,
    rows: np.ndarray,
    *,
    n_draws: int,
    seed: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the probabilities of some rows by each method, and the errors of those that draw.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        Of the network's weights, by structure.
    network, dataset, rows
        See `logits_of_rows`.
    n_draws, seed : int
        See `starstack.uncertainty.classification.monte_carlo_predictive`.

    Returns
    -------
    probabilities : dict of str to ndarray of shape (n, c)
        `PLAIN`, at the trained weights, and of each structure, such as ``kfac``, the methods
        ``kfac, probit`` and ``kfac, Monte Carlo``.
    standard_errors : dict of str to ndarray of shape (n, c)
        Of the drawn ones.
    """
    probabilities: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for structure, posterior in posteriors.items():
        logits, covariance = logits_of_rows(posterior, network, dataset, rows)
        probabilities.setdefault(PLAIN, softmax(logits, axis=1))
        probabilities[f"{structure}, {PROBIT}"] = probit_predictive(logits, covariance)
        drawn = f"{structure}, {MONTE_CARLO}"
        probabilities[drawn], errors[drawn] = monte_carlo_predictive(
            logits, covariance, n_draws=n_draws, seed=seed
        )
    return probabilities, errors


def fit_temperatures(
    probabilities: Mapping[str, np.ndarray], codes: np.ndarray
) -> dict[str, Temperature]:
    """Choose a temperature for each method, by calibration rows."""
    return {name: fit_temperature(p, codes, name) for name, p in probabilities.items()}


def probability_table(
    dataset: Dataset,
    rows: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    standard_errors: Mapping[str, np.ndarray],
    temperatures: Mapping[str, Temperature],
) -> pd.DataFrame:
    """Tabulate one line per method, row and class.

    Parameters
    ----------
    dataset : Dataset
    rows : ndarray of int
        Positions of the n rows.
    probabilities : mapping of str to ndarray of shape (n, c)
        By method.
    standard_errors : mapping of str to ndarray of shape (n, c)
        Of methods that draw.
    temperatures : mapping of str to Temperature
        By method.

    Returns
    -------
    DataFrame
        ``method``, ``row_id``, ``output`` (the class), ``observed`` (1 for the row's class, else
        0), ``probability``, ``standard_error`` (NaN where nothing is drawn) and
        ``probability_scaled`` (at the temperature of the calibration rows).
    """
    n, c = len(rows), len(dataset.classes)
    observed = np.eye(c, dtype=int)[dataset.y[rows]]
    parts = [
        pd.DataFrame(
            {
                "method": name,
                "row_id": np.repeat(dataset.row_id[rows], c),
                "output": np.tile(np.array(dataset.classes, dtype=object), n),
                "observed": observed.ravel(),
                "probability": values.ravel(),
                "standard_error": standard_errors.get(name, np.full((n, c), np.nan)).ravel(),
                "probability_scaled": temperatures[name].apply(values).ravel(),
            }
        )
        for name, values in probabilities.items()
    ]
    return pd.concat(parts, ignore_index=True)


def temperature_table(temperatures: Mapping[str, Temperature]) -> pd.DataFrame:
    """Tabulate temperatures: method, temperature, standard_error, log losses, n."""
    rows = [
        (name, t.value, t.standard_error, t.log_loss_before, t.log_loss_after, t.n)
        for name, t in temperatures.items()
    ]
    columns = ["method", "temperature", "standard_error", "log_loss_before", "log_loss_after", "n"]
    return pd.DataFrame(rows, columns=columns)
