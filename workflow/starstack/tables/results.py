"""The result tables of a study: their columns, and CSV files that give back what was written.

A result table is long: one number per row, what it belongs to in the columns before it. Figures
and readable tables are made from these files and from nothing else.
"""

from pathlib import Path

import pandas as pd

from starstack.errors import InputError

# Columns in order; those with a type hold numbers, the others text.
RESULT_TABLES: dict[str, dict[str, type]] = {
    "scores": {
        "study": str,
        "estimator": str,
        "role": str,
        "figure": str,
        "metric": str,
        "output": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "differences": {
        "study": str,
        "meta_learner": str,
        "base_model": str,
        "metric": str,
        "output": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "weights": {
        "study": str,
        "meta_learner": str,
        "trained_on": str,
        "model": str,
        "meta_feature": str,
        "output": str,
        "weight": float,
        "standardised": float,
    },
    "diversity": {
        "study": str,
        "statistic": str,
        "model_a": str,
        "model_b": str,
        "value": float,
        "n": int,
    },
    "predictions": {
        "study": str,
        "estimator": str,
        "role": str,
        "row_id": str,
        "output": str,
        "observed": float,
        "predicted": float,
    },
    "reliability": {
        "study": str,
        "estimator": str,
        "role": str,
        "output": str,
        "bin": int,
        "mean_predicted": float,
        "observed_frequency": float,
        "standard_error": float,
        "n": int,
    },
    "errors": {
        "study": str,
        "estimator": str,
        "role": str,
        "output": str,
        "snr": str,
        "statistic": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "history": {
        "study": str,
        "network": str,
        "epoch": int,
        "quantity": str,
        "value": float,
    },
    "jacobian_identity": {
        "study": str,
        "network": str,
        "output": str,
        "label": str,
        "mean": float,
        "standard_error": float,
        "spread": float,
        "n": int,
        "unit": str,
    },
    "projection_history": {
        "study": str,
        "alpha": float,
        "intercept": str,
        "init": str,
        "escape": str,
        "solver": str,
        "iteration": int,
        "loss": float,
        "gradient_norm": float,
    },
    "projection_eigenvalues": {
        "study": str,
        "alpha": float,
        "intercept": str,
        "init": str,
        "escape": str,
        "solver": str,
        "point": str,
        "eigenvalue": float,
    },
    "projection_certificates": {
        "study": str,
        "alpha": float,
        "intercept": str,
        "init": str,
        "escape": str,
        "solver": str,
        "iterations": int,
        "saddles": int,
        "status": str,
        "has_minimum": str,
        "loss": float,
        "gradient_norm": float,
        "smallest_eigenvalue": float,
        "largest_eigenvalue": float,
        "eigenvalue_error": float,
        "gauge_directions": int,
        "gauge_residual": float,
        "null_directions_derived": int,
        "null_directions_found": int,
        "product_rank": int,
        "nuclear_norm": float,
        "matching_c": float,
        "dual_norm": float,
        "is_global": str,
    },
    "projection_rows": {
        "study": str,
        "row_id": str,
        "class": str,
        "predicted": str,
        "first": float,
        "second": float,
        "axis": str,
    },
    "projection_regions": {
        "study": str,
        "first": float,
        "second": float,
        "class": str,
        "margin": float,
    },
    "error_budget": {
        "study": str,
        "estimator": str,
        "structure": str,
        "row_id": str,
        "output": str,
        "unit": str,
        "snr": float,
        "observed": float,
        "predicted": float,
        "noise": float,
        "weights": float,
        "intrinsic": float,
        "total": float,
        "recalibrated": float,
        "half_width_68": float,
        "half_width_95": float,
    },
    "calibration": {
        "study": str,
        "estimator": str,
        "method": str,
        "output": str,
        "snr": str,
        "statistic": str,
        "value": float,
        "standard_error": float,
        "n": int,
        "guarantee": float,
    },
    "error_reliability": {
        "study": str,
        "estimator": str,
        "method": str,
        "output": str,
        "bin": int,
        "predicted_error": float,
        "rms_error": float,
        "standard_error": float,
        "n": int,
    },
    "error_histograms": {
        "study": str,
        "estimator": str,
        "method": str,
        "output": str,
        "quantity": str,
        "low": float,
        "high": float,
        "count": int,
        "n": int,
    },
    "efficiency": {
        "study": str,
        "estimator": str,
        "bound": str,
        "output": str,
        "snr": str,
        "statistic": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "class_probabilities": {
        "study": str,
        "estimator": str,
        "method": str,
        "row_id": str,
        "output": str,
        "observed": int,
        "probability": float,
        "standard_error": float,
        "probability_scaled": float,
    },
    "temperatures": {
        "study": str,
        "estimator": str,
        "method": str,
        "temperature": float,
        "standard_error": float,
        "log_loss_before": float,
        "log_loss_after": float,
        "n": int,
    },
    "class_calibration": {
        "study": str,
        "estimator": str,
        "method": str,
        "temperature": str,
        "statistic": str,
        "value": float,
        "standard_error": float,
        "n": int,
    },
    "class_reliability": {
        "study": str,
        "estimator": str,
        "method": str,
        "temperature": str,
        "bin": int,
        "low": float,
        "high": float,
        "mean_confidence": float,
        "right": float,
        "interval_low": float,
        "interval_high": float,
        "n": int,
    },
    "eigenvalues": {
        "study": str,
        "network": str,
        "quantity": str,
        "order": int,
        "value": float,
        "standard_error": float,
    },
    "eigenvalue_density": {
        "study": str,
        "network": str,
        "probe": str,
        "eigenvalue": float,
        "density": float,
        "standard_error": float,
        "smoothing_width": float,
        "number_of_weights": int,
        "number_of_rows": int,
    },
    "structure_comparison": {
        "study": str,
        "network": str,
        "structure": str,
        "output": str,
        "row": int,
        "standard_deviation": float,
        "exact_standard_deviation": float,
    },
    "runtime": {
        "study": str,
        "rule": str,
        "job": str,
        "seconds": float,
        "cpu_seconds": float,
        "max_rss_mb": float,
        "threads": int,
    },
}


def empty_table(name: str) -> pd.DataFrame:
    """Make a result table without rows, for a study that has nothing to put in it."""
    columns = RESULT_TABLES[name].items()
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns})


def write_csv(table: pd.DataFrame, path: str | Path, *, index: bool = False) -> None:
    """Write a table as CSV: the same table gives the same bytes on every platform.

    Floats are written with the fewest digits that give the same float back, lines end in LF, text
    is UTF-8, and a missing number is an empty field.

    Parameters
    ----------
    table : DataFrame
        Column names of several levels are joined by ", ", line breaks in them by a space.
    path : str or Path
        The file; it is overwritten.
    index : bool
        Whether to write the row names as well.
    """
    keys = [key if isinstance(key, tuple) else (key,) for key in table.columns]
    names = [", ".join(str(part) for part in key if part != "").replace("\n", " ") for key in keys]
    table = table.set_axis(names, axis="columns")
    with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
        table.to_csv(stream, index=index, lineterminator="\n")


def read_table(path: str | Path, name: str) -> pd.DataFrame:
    """Read a result table as it was written.

    Text stays text: a class called ``0`` or ``NA`` comes back as that string, an empty field as
    the empty string. Floats come back bit for bit (pandas' default parser may be off by one bit).

    Parameters
    ----------
    path : str or Path
        A CSV file.
    name : str
        A key of :data:`RESULT_TABLES`.

    Returns
    -------
    DataFrame
        The columns of the result table, in its order.

    Raises
    ------
    InputError
        If columns are missing.
    """
    text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    columns = RESULT_TABLES[name]
    missing = [column for column in columns if column not in text.columns]
    if missing:
        raise InputError(
            f"{path}: expected the columns of {name}.csv, missing {', '.join(missing)}; "
            "run the rule that writes this file again"
        )
    return pd.DataFrame(
        {
            column: text[column]
            if kind is str
            else text[column].replace("", "nan").astype(float).astype(kind)
            for column, kind in columns.items()
        }
    )
