"""A study's network with its error budget, put together from the results folder for new rows.

The intrinsic part and the laws of the recalibration are fitted again to the calibration rows, whose
budgets are stored: that takes a moment, and gives the numbers of the study.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from starstack.curvature.posterior import Posterior
from starstack.curvature.structures import load
from starstack.data.dataset import Dataset
from starstack.data.new_rows import names_of, values_of
from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.networks.persistence import FittedNetwork, load_network
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.uncertainty.budget import ErrorBudget, load_budget
from starstack.uncertainty.covariances import standardised
from starstack.uncertainty.error_distributions import fit_distribution
from starstack.uncertainty.intrinsic import IntrinsicScatter, fit_intrinsic
from starstack.uncertainty.labelled_errors import Predicted, budget_table, join_predictions
from starstack.uncertainty.network_rows import scaler_digest, weights_covariance
from starstack.uncertainty.recalibration import Recalibration, identity

# Test rows that are predicted once more as error bars are read, and the relative difference from
# the study's numbers that rounding explains.
PROOF_ROWS = 20
ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class ErrorBars:
    """A network of a regression, and all that its error budget takes.

    Attributes
    ----------
    network : FittedNetwork
    posterior : Posterior
        Of its weights.
    scatter : IntrinsicScatter
    recalibration : Recalibration
        That of the study; the law of all labels together is left out.
    units : tuple of str
        Of the targets.
    calibrated_on : ndarray of str
        Names of the calibration rows.
    has_noise, has_snr : bool
        Whether the rows of the study have errors of their values, and signal-to-noise ratios.
    """

    network: FittedNetwork
    posterior: Posterior
    scatter: IntrinsicScatter
    recalibration: Recalibration
    units: tuple[str, ...]
    calibrated_on: np.ndarray
    has_noise: bool
    has_snr: bool

    def predict(self, X: Any, *, noise: Any = None, snr: Any = None) -> pd.DataFrame:
        """Predict new rows with their error budget.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            See `FittedNetwork.predict`.
        noise : array of shape (n, k, k), optional
            Covariance that the noise of each row causes, from
            `starstack.uncertainty.noise_propagation.noise_covariance`; needed if the rows of the
            study have noise.
        snr : array of shape (n,), optional
            Signal-to-noise ratios; needed if the rows of the study have them.

        Returns
        -------
        DataFrame
            The columns of ``networks/<network>.<structure>.budget.csv`` but for ``observed``; see
            `starstack.uncertainty.labelled_errors.budget_table`.

        Raises
        ------
        InputError
            If the rows cannot be predicted, or noise or signal-to-noise ratios are missing.
        """
        names, values = names_of(X), np.asarray(values_of(X, self.network.feature_names))
        predicted = self.network.predict(X)
        n, k = predicted.shape
        if not n:
            raise InputError("error bars: expected at least one row, got none; give rows")
        if self.has_noise and noise is None:
            raise InputError(
                "error bars: the rows of the study have noise, and noise is not given; give what "
                "noise_covariance makes of the errors of the new rows"
            )
        if self.has_snr:
            snr = np.full(n, np.nan) if snr is None else np.asarray(snr, float)
            if snr.shape != (n,) or not (np.isfinite(snr) & (snr > 0)).all():
                raise InputError(
                    "error bars: the study bins by S/N; expected snr, one number above 0 for each "
                    f"of {n} rows"
                )
        row_id = np.array([str(name) for name in names])
        targets = self.network.target_names
        rows = Dataset(
            name="new rows",
            task="regression",
            X=values.reshape(n, -1),
            y=np.zeros((n, k)),
            row_id=row_id,
            feature_names=self.network.feature_names,
            target_names=targets,
        )
        budget = ErrorBudget(
            row_id,
            targets,
            self.units,
            np.zeros((n, k, k)) if noise is None else noise,
            weights_covariance(self.posterior, self.network, rows, np.arange(n)),
            self.scatter.covariance(predicted),
        )
        unknown = np.full((n, k), np.nan)
        of_rows = Predicted(row_id, unknown, predicted, snr if self.has_snr else None)
        return budget_table(budget, of_rows, self.recalibration).drop(columns="observed")


def load_error_bars(folder: str | PathLike[str], network: str, structure: str) -> ErrorBars:
    """Read a network and its error budget from the results of a study.

    The budgets of some test rows are made once more: files of different runs give others than the
    study has.

    Parameters
    ----------
    folder : path
        Such as ``results/stars``.
    network : str
        Its name in the config.
    structure : str
        One of its ``uncertainty: structures:``.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the files are of different runs.
    """
    networks = Path(folder) / "networks"
    stem = f"{network}.{structure}"
    fitted = load_network(networks / f"{network}.keras", networks / f"{network}.json")
    posterior = load(networks / f"{stem}.posterior.h5", fitted.model, scaler_digest(fitted))
    stored = read_meta_predictions(networks / f"{network}.h5")
    with open_dataset(Path(folder) / "data.h5") as dataset:
        known = join_predictions(dataset, *stored["validation"])
        has_noise = dataset.X_error is not None
    budget = load_budget(networks / f"{stem}.calibration.h5")
    if not np.array_equal(budget.row_id, known.row_id):
        raise InputError(
            f"{networks / stem}.calibration.h5: is of other rows than {network}.h5; run the "
            "workflow again"
        )
    recalibration = read_recalibration(
        networks / f"{stem}.recalibration.csv", known, budget.total, budget.names
    )
    bars = ErrorBars(
        fitted,
        posterior,
        fit_intrinsic(known.errors, budget.noise + budget.weights, known.predicted),
        recalibration,
        budget.units,
        known.row_id,
        has_noise,
        known.snr is not None,
    )
    _prove(bars, Path(folder), stem)
    return bars


def _prove(bars: ErrorBars, folder: Path, stem: str) -> None:
    """Refuse error bars that are not those of the study's test rows."""
    stored = load_budget(folder / "networks" / f"{stem}.budget.h5")
    step = -(-len(stored.row_id) // PROOF_ROWS)
    row_id = stored.row_id[::step]
    table = pd.read_csv(
        folder / "networks" / f"{stem}.budget.csv",
        dtype={"row_id": str, "output": str, "unit": str},
        keep_default_na=False,
        na_values={"snr": [""]},
    )
    expected = table[table["row_id"].isin(set(row_id))]
    with open_dataset(folder / "data.h5") as dataset:
        places = {name: place for place, name in enumerate(dataset.row_id)}
        known = [places.get(name) for name in row_id]
        if None not in known and len(expected) == len(row_id) * len(stored.names):
            rows = np.stack([dataset.X[place] for place in known])
            snr = dataset.row_values["snr"][known] if bars.has_snr else None
            found = bars.predict(rows, noise=stored.noise[::step], snr=snr)
            numbers = [name for name, kind in found.dtypes.items() if kind.kind == "f"]
            if np.allclose(
                found[numbers].to_numpy(),
                expected[numbers].to_numpy(float),
                ROUNDING,
                equal_nan=True,
            ):
                return
    raise InputError(
        f"{folder}: the files of {stem} are of different runs, since they do not give the error "
        "budget of the test rows again; run the workflow to its end"
    )


def read_recalibration(
    path: str | PathLike[str], rows: Predicted, covariance: np.ndarray, names: Sequence[str]
) -> Recalibration:
    """Read bins and factors of a recalibration; fit its laws to the calibration rows again.

    Parameters
    ----------
    path : path
        What `Recalibration.table` gave, as CSV.
    rows : Predicted
        The calibration rows.
    covariance : ndarray of shape (n, k, k)
        Their predicted errors, not stretched.
    names : sequence of str, length k
        Of the labels.

    Raises
    ------
    InputError
        If the file is missing, or is of other labels.
    """
    try:
        # A label may be called NA.
        table = pd.read_csv(
            path, dtype={"output": str}, na_values={"dof": [""]}, keep_default_na=False
        )
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; run the rule error_budget") from None
    if table["output"].drop_duplicates().tolist() != list(names):
        raise InputError(f"{path}: expected the labels {', '.join(names)}; run error_budget again")
    if not table["n"].any():
        return identity(len(names))
    by_label = (len(names), -1)
    low, factors, count = (
        table[column].to_numpy(float).reshape(by_label) for column in ("low", "factor", "n")
    )
    edges, factors = low[0, 1:], factors.T
    bins = np.digitize(rows.bin_by(covariance), edges)
    z = standardised(rows.errors, covariance) / factors[bins]
    kind = table["distribution"].iloc[0]
    laws = tuple(
        tuple(fit_distribution(kind, z[bins == number, c]) for c in range(len(names)))
        for number in range(len(factors))
    )
    return Recalibration(edges, factors, laws, count[0].astype(int), joint=())
