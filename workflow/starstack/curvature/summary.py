"""Records, spectra and comparisons of structures as tidy tables for the workflow's CSV files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from starstack.curvature.lanczos import Eigenpairs
from starstack.curvature.record import CurvatureRecord
from starstack.curvature.spectrum import Estimate, SpectralDensity
from starstack.errors import InputError

if TYPE_CHECKING:
    from starstack.curvature.posterior import Posterior

# The mean of all probes stands beside them.
MEAN = "mean"


def record_table(records: Sequence[CurvatureRecord]) -> pd.DataFrame:
    """Lay out records, one row each.

    Returns
    -------
    DataFrame
        Columns structure, matrix, number_of_rows, smallest_prior_precision,
        largest_prior_precision (over layers), shift, largest_eigenvalue, smallest_eigenvalue,
        indefinite, gradient_norm, expected_decrease (nats), symmetry_error,
        finite_difference_error, seconds, peak_memory_gibibytes; empty where not measured.

    Examples
    --------
    >>> record = CurvatureRecord("gauss_newton", "kfac", n_rows=100, prior_precision=1.0)
    >>> table = record_table([record])
    >>> table["structure"].tolist(), table["number_of_rows"].tolist()
    (['kfac'], [100])
    """
    rows = []
    for record in records:
        prior = record.prior_precision
        priors = list(prior.values()) if isinstance(prior, Mapping) else [prior]
        proofs = record.proofs or {}
        memory = record.peak_memory
        rows.append(
            {
                "structure": record.structure,
                "matrix": record.matrix,
                "number_of_rows": record.n_rows,
                "smallest_prior_precision": min(priors),
                "largest_prior_precision": max(priors),
                "shift": record.shift,
                "largest_eigenvalue": record.lambda_max,
                "smallest_eigenvalue": record.lambda_min,
                "indefinite": record.indefinite,
                "gradient_norm": record.gradient_norm,
                "expected_decrease": record.expected_decrease,
                "symmetry_error": proofs.get("symmetry_error"),
                "finite_difference_error": proofs.get("difference_error"),
                "seconds": record.seconds,
                "peak_memory_gibibytes": None if memory is None else memory / 2**30,
            }
        )
    return pd.DataFrame(rows)


def density_table(density: SpectralDensity, n_weights: int) -> pd.DataFrame:
    """Lay out a density of eigenvalues: the mean over the probes, then each probe.

    Parameters
    ----------
    density : SpectralDensity
        From `starstack.curvature.spectrum.spectral_density`.
    n_weights : int
        Number P of eigenvalues: one of them has the height 1/(P √(2π) width).

    Returns
    -------
    DataFrame
        Columns probe (``"mean"``, ``"1"``, …), eigenvalue, density, standard_error (of the mean
        only), smoothing_width (at this eigenvalue), number_of_weights.
    """
    n_points = len(density.eigenvalue)
    parts = [(MEAN, density.density, density.standard_error)] + [
        (str(number), probe, np.full(n_points, np.nan))
        for number, probe in enumerate(density.probes, start=1)
    ]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "probe": name,
                    "eigenvalue": density.eigenvalue,
                    "density": values,
                    "standard_error": error,
                    "smoothing_width": density.width,
                    "number_of_weights": n_weights,
                }
            )
            for name, values, error in parts
        ],
        ignore_index=True,
    )


def spectrum_table(
    pairs: Eigenpairs | None = None, estimates: Mapping[str, Estimate] | None = None
) -> pd.DataFrame:
    """Lay out the largest eigenvalues, and numbers such as trace and log-determinant.

    Parameters
    ----------
    pairs : Eigenpairs, optional
        From `starstack.curvature.lanczos.largest_eigenpairs`.
    estimates : mapping of str to Estimate, optional
        By name.

    Returns
    -------
    DataFrame
        Columns quantity (``"eigenvalue"`` or the name), order (from 1 for eigenvalues, else 0),
        value, standard_error (of an eigenvalue, its residual).
    """
    rows = []
    if pairs is not None:
        for order, (value, residual) in enumerate(
            zip(pairs.values, pairs.residuals, strict=True), start=1
        ):
            rows.append(("eigenvalue", order, float(value), float(residual)))
    for name, estimate in (estimates or {}).items():
        rows.append((name, 0, float(estimate.value), float(estimate.standard_error)))
    return pd.DataFrame(rows, columns=["quantity", "order", "value", "standard_error"])


def structure_table(
    posteriors: Mapping[str, "Posterior"], x: Any, outputs: Sequence[str], exact: str = "exact"
) -> pd.DataFrame:
    """Lay out the predictive standard deviations of several structures beside the exact ones.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        By the name of the structure, the exact one among them; of one network, σ and δ.
    x : array of shape (n, …)
        Rows to predict.
    outputs : sequence of str
        Names of the k outputs.
    exact : str
        Name of the posterior to compare with.

    Returns
    -------
    DataFrame
        Columns structure, output, row (from 0), standard_deviation, exact_standard_deviation, in
        the units of the network's outputs.

    Raises
    ------
    InputError
        If the exact posterior is missing, or the outputs are not as many as the names.
    """
    if exact not in posteriors:
        raise InputError(
            f"structures: expected {exact!r} among {', '.join(posteriors) or 'none'}, to compare "
            "the others with"
        )
    deviation = {
        name: np.sqrt(np.einsum("nkk->nk", posterior.predictive_covariance(x)))
        for name, posterior in posteriors.items()
    }
    n, k = deviation[exact].shape
    if k != len(outputs):
        raise InputError(f"structures: {len(outputs)} names of outputs for {k} outputs")
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "structure": name,
                    "output": output,
                    "row": np.arange(n),
                    "standard_deviation": values[:, column],
                    "exact_standard_deviation": deviation[exact][:, column],
                }
            )
            for name, values in deviation.items()
            if name != exact
            for column, output in enumerate(outputs)
        ],
        ignore_index=True,
    )
