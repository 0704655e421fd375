"""Cramér–Rao bounds of rows of a simulated data set, and the inequality of a network's Jacobian."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from starstack.data.dataset import Dataset
from starstack.networks.persistence import FittedNetwork
from starstack.spectra.response import pixels_of, stars_of
from starstack.spectra.simulator import NUISANCES, label_derivatives
from starstack.uncertainty.cramer_rao import (
    PRIOR_SPREADS,
    biased_bound,
    cramer_rao_bound,
    least_excess,
    nuisance_derivatives,
)
from starstack.uncertainty.network_rows import read_blocks
from starstack.uncertainty.noise_covariance import functions_of, propagate

logger = logging.getLogger(__name__)

KNOWN, UNKNOWN = "known physics", "unknown nuisances"
BLOCK_ROWS = 64


def bounds_of_rows(dataset: Dataset, rows: np.ndarray, threads: int = 1) -> dict[str, np.ndarray]:
    """Return the least covariances of the labels of simulated stars, each at its own noise.

    Parameters
    ----------
    dataset : Dataset
        Simulated spectra.
    rows : ndarray of int
        Positions, rising.
    threads : int
        Blocks of stars at work at once.

    Returns
    -------
    dict of str to ndarray of shape (n, 3, 3)
        `KNOWN`: all but the labels is known. `UNKNOWN`: the nuisances are known within their
        spreads, as to a network that has seen many stars.
    """
    stars, pixels = stars_of(dataset), pixels_of(dataset)
    blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
    errors = [read_blocks(dataset, "X_error", block) for block in blocks]
    spreads = [PRIOR_SPREADS[name] for name in NUISANCES]

    def bounds(block: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = stars[block]
        labels = label_derivatives(own, pixels=pixels)
        nuisances = nuisance_derivatives(own, pixels=pixels)
        known = cramer_rao_bound(labels, error)
        unknown = cramer_rao_bound(labels, error, nuisances=nuisances, prior_spreads=spreads)
        return known, unknown

    found = []
    with ThreadPoolExecutor(threads) as pool:
        for pair in pool.map(bounds, blocks, errors):
            found.append(pair)
            done = min(len(found) * BLOCK_ROWS, len(rows))
            logger.info("Cramér–Rao bounds: %d of %d stars", done, len(rows))
    known, unknown = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {KNOWN: known, UNKNOWN: unknown}


def excess_of_network(network: FittedNetwork, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return how far J Σ Jᵀ of a network exceeds (J Gᵀ) F⁻¹ (J Gᵀ)ᵀ in the closest direction.

    Parameters
    ----------
    network : FittedNetwork
        A regression on simulated spectra.
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
    derivatives = label_derivatives(stars_of(dataset)[rows], pixels=pixels_of(dataset))
    jacobian = functions_of(network).jacobian(spectra).astype(float)
    bound = biased_bound(jacobian, derivatives, errors)
    return least_excess(propagate(jacobian, errors), bound)
