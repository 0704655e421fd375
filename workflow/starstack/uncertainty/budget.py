"""The parts of the error of every prediction, as covariances in the units of the labels."""

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from starstack.curvature.covariance_faults import covariance_fault
from starstack.errors import InputError

PARTS = ("noise", "weights", "intrinsic")
FORMAT = "starstack error budget 1"
# A part with a standard deviation below this part of the total's may be nothing but the rounding
# of a covariance that is zero.
NOTHING = 1e-3


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """Covariances of n predictions of k labels.

    Attributes
    ----------
    row_id : ndarray of str, shape (n,)
        Names of the rows.
    names, units : tuple of str, length k
        Labels, and their units ("" for none).
    noise : ndarray of shape (n, k, k)
        From the noise of the spectrum, see `starstack.uncertainty.noise_propagation`.
    weights : ndarray of shape (n, k, k)
        From the uncertainty of the weights: a posterior's predictive covariance.
    intrinsic : ndarray of shape (n, k, k)
        Scatter that neither explains, see `starstack.uncertainty.intrinsic`.
    provenance : dict of str to str
        How it was made.

    Raises
    ------
    InputError
        If shapes do not agree, or a matrix cannot be a covariance: a number is not finite or not
        real, a variance or an eigenvalue is below 0 by more than rounding, or it is not symmetric.

    Examples
    --------
    >>> part = np.full((1, 1, 1), 4.0)
    >>> budget = ErrorBudget(np.array(["a"]), ("teff",), ("K",), part, 0 * part, 3 * part)
    >>> budget.standard_deviations().tolist()
    [[4.0]]
    """

    row_id: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    noise: np.ndarray
    weights: np.ndarray
    intrinsic: np.ndarray
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self._arrays().items():
            # The only way to set a field of a frozen dataclass.
            object.__setattr__(self, name, values)
        n, k = len(self.row_id), len(self.names)
        if len(self.units) != k:
            raise InputError(
                f"error budget: {k} labels have {len(self.units)} units; give one each"
            )
        for name in PARTS:
            part = getattr(self, name)
            if part.shape != (n, k, k):
                raise InputError(
                    f"error budget: {name} has shape {part.shape}; expected {(n, k, k)}, one "
                    "matrix for each row"
                )
        variance = np.diagonal(self.total, axis1=1, axis2=2)
        least = NOTHING * np.sqrt(np.where(np.isfinite(variance), np.maximum(variance, 0), 0))
        for name in PARTS:
            if fault := covariance_fault(getattr(self, name), least):
                row, words = fault
                raise InputError(f"error budget: {name} of row '{self.row_id[row]}' {words}")

    def _arrays(self) -> dict[str, np.ndarray | tuple[str, ...]]:
        """Return the fields as arrays of numbers, names as text; lists may be given for all."""
        found = {"row_id": np.asarray(self.row_id)}
        found |= {name: tuple(getattr(self, name)) for name in ("names", "units")}
        for name in PARTS:
            try:
                part = np.asarray(getattr(self, name))
                kind = str(part.dtype)
            except ValueError:
                kind = "lists of unequal lengths"
            if kind.rstrip("0123456789") not in ("bool", "int", "uint", "float"):
                raise InputError(
                    f"error budget: {name}: expected real numbers of shape (n, k, k), got {kind}; "
                    "give one covariance for each row"
                )
            found[name] = part.astype(np.result_type(part.dtype, np.float32), copy=False)
        return found

    @property
    def total(self) -> np.ndarray:
        """Sum of the parts, shape (n, k, k)."""
        return self.noise + self.weights + self.intrinsic

    def _part(self, name: str) -> np.ndarray:
        if name not in (*PARTS, "total"):
            raise InputError(
                f"error budget: part is {name!r}; expected one of {', '.join(PARTS)}, total"
            )
        return getattr(self, name)

    def standard_deviations(self, part: str = "total") -> np.ndarray:
        """Return the errors of one part or of the total, shape (n, k)."""
        variance = np.diagonal(self._part(part), axis1=1, axis2=2)
        # What is negative by rounding is 0.
        return np.sqrt(np.maximum(variance, 0))

    def correlations(self, part: str = "total") -> np.ndarray:
        """Return the correlations of the labels' errors, shape (n, k, k); NaN for no error."""
        sigma = self.standard_deviations(part)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._part(part) / (sigma[:, :, np.newaxis] * sigma[:, np.newaxis, :])

    def to_table(self) -> pd.DataFrame:
        """Tabulate one line per row and label.

        Returns
        -------
        DataFrame
            ``row_id``, ``output``, ``unit``, the standard deviations ``noise``, ``weights``,
            ``intrinsic`` and ``total``, and the correlation of the total with each label,
            ``correlation_<label>``.
        """
        n, k = len(self.row_id), len(self.names)
        table = pd.DataFrame(
            {
                "row_id": np.repeat(self.row_id, k),
                "output": np.tile(np.array(self.names, dtype=object), n),
                "unit": np.tile(np.array(self.units, dtype=object), n),
            }
        )
        for part in (*PARTS, "total"):
            table[part] = self.standard_deviations(part).reshape(-1)
        correlations = self.correlations()
        for column, name in enumerate(self.names):
            table[f"correlation_{name}"] = correlations[:, :, column].reshape(-1)
        return table

    def save(self, path: str | PathLike[str]) -> None:
        """Write to HDF5; the same budget gives the same bytes.

        Raises
        ------
        InputError
            If the folder is missing.
        """
        if not (folder := Path(path).parent).is_dir():
            raise InputError(
                f"error budget {path}: expected a folder that is there, got {folder}; make it first"
            )
        with h5py.File(path, "w") as file:
            file.attrs["format"] = FORMAT
            for key, value in sorted(self.provenance.items()):
                file.attrs[f"provenance_{key}"] = str(value)
            for name in ("row_id", "names", "units"):
                text = np.char.encode(np.array(getattr(self, name), dtype=np.str_), "utf-8")
                width = max(text.dtype.itemsize, 1)
                stored = text.astype(h5py.string_dtype("utf-8", width))
                file.create_dataset(name, data=stored, track_times=False)
            for name in PARTS:
                values = np.asarray(getattr(self, name), dtype="<f8")
                file.create_dataset(name, data=values, track_times=False)


def load_budget(path: str | PathLike[str]) -> ErrorBudget:
    """Read what `ErrorBudget.save` wrote.

    Raises
    ------
    InputError
        If the file is missing, damaged or holds something else.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path}: holds no error budget; expected {FORMAT!r}")
            text = {name: file[name].asstr()[...] for name in ("row_id", "names", "units")}
            parts = {name: file[name][...] for name in PARTS}
            prefix = "provenance_"
            provenance = {
                key.removeprefix(prefix): str(value)
                for key, value in file.attrs.items()
                if key.startswith(prefix)
            }
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; run the rule that writes it") from None
    except (OSError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as an error budget ({reason})") from error
    return ErrorBudget(
        row_id=text["row_id"].astype(np.str_),
        names=tuple(text["names"].tolist()),
        units=tuple(text["units"].tolist()),
        **parts,
        provenance=provenance,
    )
