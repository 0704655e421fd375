"""The noise part of the error budget for rows of a data file, block by block."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import correlation_of
from starstack.errors import InputError
from starstack.networks.persistence import FittedNetwork
from starstack.networks.streaming import iter_blocks
from starstack.spectra.prior import SpectrumPrior
from starstack.uncertainty.denoising import denoise, fit_prior
from starstack.uncertainty.network_rows import draw_rows
from starstack.uncertainty.noise_propagation import functions_of, noise_covariance
from starstack.uncertainty.row_arrays import read_row_arrays, write_row_arrays

logger = logging.getLogger(__name__)

BLOCK_ROWS = 512
# Of the training rows, so many tell how spectra vary; their principal components change little
# with more.
PRIOR_ROWS = 3000
COVARIANCES = ("noise", "at_observed")


@dataclass(frozen=True, eq=False)
class RowCovariances:
    """Covariances that the noise of the rows causes.

    Attributes
    ----------
    row_id : ndarray of str, shape (n,)
    noise : ndarray of shape (n, k, k)
        By the chosen method, about spectra without most of their noise.
    at_observed : ndarray of shape (n, k, k)
        J Σ Jᵀ at the observed spectra, to compare with.
    """

    row_id: np.ndarray
    noise: np.ndarray
    at_observed: np.ndarray

    def of(self, row_id: np.ndarray) -> "RowCovariances":
        """Return those of some rows, in the order of their names."""
        place = {name: number for number, name in enumerate(self.row_id.tolist())}
        try:
            at = [place[name] for name in row_id.tolist()]
        except KeyError as error:
            raise InputError(
                f"noise covariances: row {error} is missing; run the rule propagate_noise again"
            ) from None
        return RowCovariances(row_id, self.noise[at], self.at_observed[at])


def prior_of_rows(
    dataset: Dataset, rows: np.ndarray, *, n_components: int, seed: int
) -> SpectrumPrior:
    """Learn how spectra vary from rows that a network was fitted to.

    Parameters
    ----------
    dataset : Dataset
        Without noise, where it knows that; else with its errors.
    rows : ndarray of int
        Positions; at most `PRIOR_ROWS` of them are drawn.
    n_components : int
        See `starstack.uncertainty.denoising.fit_prior`.
    seed : int
    """
    drawn = draw_rows(rows, PRIOR_ROWS, seed)
    known = dataset.X_noiseless is not None
    spectra = np.concatenate(list(iter_blocks(dataset.X_noiseless if known else dataset.X, drawn)))
    errors = None if known else np.concatenate(list(iter_blocks(dataset.X_error, drawn)))
    return fit_prior(
        spectra,
        errors,
        n_components=n_components,
        seed=seed,
        correlation=correlation_of(dataset),
    )


def noise_of_rows(
    network: FittedNetwork,
    dataset: Dataset,
    rows: np.ndarray,
    fit_rows: np.ndarray,
    *,
    method: str = "two_jacobians",
    n_draws: int | None = None,
    n_components: int = 60,
    seed: int = 0,
) -> RowCovariances:
    """Propagate the noise of rows to what a network predicts of them.

    Parameters
    ----------
    network : FittedNetwork
        A regression.
    dataset : Dataset
        With ``X_error``, or there is no noise: the covariances are then zero.
    rows : ndarray of int
        Positions, rising.
    fit_rows : ndarray of int
        Rows that the network was fitted to; from them the prior for denoising is learnt.
    method, n_draws
        See `starstack.uncertainty.noise_propagation.noise_covariance`.
    n_components : int
        Of the prior; 0 draws noise about the observed spectra.
    seed : int
        Of the drawn noise.
    """
    row_id = dataset.row_id[rows]
    if dataset.X_error is None:
        logger.warning("the data have no errors: the noise part of the error budget is zero")
        k = network.model.output_shape[-1]
        return RowCovariances(row_id, np.zeros((len(rows), k, k)), np.zeros((len(rows), k, k)))
    prior = None
    if n_components:
        prior = prior_of_rows(dataset, fit_rows, n_components=n_components, seed=seed)
    functions, correlation = functions_of(network), correlation_of(dataset)
    parts, plain, done = [], [], 0
    tables = (iter_blocks(table, rows, BLOCK_ROWS) for table in (dataset.X, dataset.X_error))
    for spectra, errors in zip(*tables, strict=True):
        reference = spectra if prior is None else denoise(prior, spectra, errors, correlation)
        parts.append(
            noise_covariance(
                functions,
                spectra,
                errors,
                method=method,
                reference=reference,
                n_draws=n_draws,
                correlation=correlation,
                seed=seed,
                first_row=done,
            )
        )
        first_order = noise_covariance(
            functions, spectra, errors, method="jacobian", correlation=correlation
        )
        plain.append(first_order)
        done += len(spectra)
        logger.info("noise: %d of %d rows", done, len(rows))
    return RowCovariances(row_id, np.concatenate(parts), np.concatenate(plain))


def write_covariances(
    covariances: RowCovariances, path: str | PathLike[str], attributes: Mapping[str, str]
) -> None:
    """Write to HDF5: ``row_id`` and one array per kind of covariance."""
    arrays = {name: getattr(covariances, name) for name in COVARIANCES}
    write_row_arrays(path, covariances.row_id, arrays, attributes)


def read_covariances(path: str | PathLike[str]) -> RowCovariances:
    """Read what `write_covariances` wrote.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    return RowCovariances(*read_row_arrays(path, COVARIANCES, "covariances", "propagate_noise"))
