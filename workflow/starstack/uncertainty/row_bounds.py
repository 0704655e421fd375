"""Cramér–Rao bounds of rows of a data set, and the inequality of a network's Jacobian."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import correlation_of
from starstack.networks.persistence import FittedNetwork
from starstack.uncertainty.cramer_rao import biased_bound, cramer_rao_bound, least_excess
from starstack.uncertainty.flux_models import FluxModel
from starstack.uncertainty.network_rows import read_blocks
from starstack.uncertainty.noise_propagation import functions_of, propagate

logger = logging.getLogger(__name__)

WITH_SCATTER = "{}, with scatter"
BLOCK_ROWS = 64


def bounds_of_rows(
    model: FluxModel, dataset: Dataset, rows: np.ndarray, threads: int = 1
) -> dict[str, np.ndarray]:
    """Return the least covariances of the labels of spectra, each at its own noise.

    Parameters
    ----------
    model : FluxModel
        What the spectra were made from, see `starstack.uncertainty.flux_models.FLUX_MODELS`.
    dataset : Dataset
    rows : ndarray of int
        Positions, rising.
    threads : int
        Blocks of stars at work at once.

    Returns
    -------
    dict of str to ndarray of shape (n, k, k)
        ``model.known``: all but the labels is known. ``model.unknown``: the nuisances are known
        within their spreads, as to a network that has seen many stars. Where the model knows how
        real spectra scatter about it, both also ``with scatter``: with s² as further noise of each
        pixel, which for real stars it is.
    """
    blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
    errors = [read_blocks(dataset, "X_error", block) for block in blocks]
    correlation = correlation_of(dataset)
    kinds = {model.known: (False, None), model.unknown: (True, None)}
    if model.scatter is not None:
        kinds |= {
            WITH_SCATTER.format(name): (free, model.scatter) for name, (free, _) in kinds.items()
        }

    def bounds(block: np.ndarray, error: np.ndarray) -> list[np.ndarray]:
        labels, nuisances = model.derivatives(block)
        return [
            cramer_rao_bound(
                labels,
                error,
                nuisances=nuisances if free else None,
                prior_spreads=model.prior_spreads if free else (),
                correlation=correlation,
                scatter=scatter,
            )
            for free, scatter in kinds.values()
        ]

    found = []
    with ThreadPoolExecutor(threads) as pool:
        for each in pool.map(bounds, blocks, errors):
            found.append(each)
            done = min(len(found) * BLOCK_ROWS, len(rows))
            logger.info("Cramér–Rao bounds: %d of %d stars", done, len(rows))
    parts = (np.concatenate(each) for each in zip(*found, strict=True))
    return dict(zip(kinds, parts, strict=True))


def excess_of_network(
    network: FittedNetwork, model: FluxModel, dataset: Dataset, rows: np.ndarray
) -> np.ndarray:
    """Return how far J Σ Jᵀ of a network exceeds (J Gᵀ) F⁻¹ (J Gᵀ)ᵀ in the closest direction.

    Parameters
    ----------
    network : FittedNetwork
        A regression on these spectra.
    model : FluxModel
        What they were made from.
    dataset : Dataset
        The spectra.
    rows : ndarray of int
        Positions, rising.

    Returns
    -------
    ndarray of shape (n,)
        Relative to J Σ Jᵀ; not negative, up to rounding.
    """
    spectra, errors = (read_blocks(dataset, name, rows) for name in ("X", "X_error"))
    derivatives, _ = model.derivatives(rows)
    correlation = correlation_of(dataset)
    jacobian = functions_of(network).jacobian(spectra).astype(float)
    bound = biased_bound(jacobian, derivatives, errors, correlation=correlation)
    return least_excess(propagate(jacobian, errors, correlation=correlation), bound)
