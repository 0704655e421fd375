"""What is known of each approximation of a network's curvature, as a table of a paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from starstack.errors import InputError
from starstack.tables.measurement import Measurement

# Of the record, and what a reader sees.
_NUMBERS = {
    "gradient_norm": "Gradient norm",
    "data_gradient_norm": "Gradient norm, data",
    "prior_gradient_norm": "Gradient norm, prior",
    "expected_decrease": "Expected decrease (nats)",
    "held_out_log_likelihood": "Held-out log likelihood",
    "seconds": "Time (s)",
}
# Of the largest: what products in single precision leave of an eigenvalue of zero.
ROUNDING = 1e-5
_ESTIMATES = {"trace": "Trace"}


def curvature_table(
    records: Sequence[Mapping[str, Any]], eigenvalues: pd.DataFrame
) -> pd.DataFrame:
    """Lay out records with one row per network and structure.

    Parameters
    ----------
    records : sequence of mapping
        What the rule fit_curvature wrote of each, and ``network``.
    eigenvalues : DataFrame
        Rows of eigenvalues.csv of the networks: of the Hessian, whatever the structure.

    Returns
    -------
    DataFrame
        Index Network, Structure, rows; the matrix, the prior precision and whether it is an end of
        the grid or was chosen by another structure, whose held-out likelihood is left out, what
        was added to the diagonal beyond it, gradient norm and expected decrease, time, and of the
        Hessian the largest and the smallest eigenvalue that was seen, whether it is indefinite,
        and the trace.

    Raises
    ------
    InputError
        If there is no record.
    """
    if not records:
        raise InputError("curvature: there is no record; run the rule fit_curvature")
    rows, index = [], []
    for record in records:
        own = eigenvalues[eigenvalues["network"] == record["network"]]
        cells: dict[str, object] = {
            "Matrix": record["matrix"].replace("_", "–"),
            "Prior precision": _prior(record),
            "Shift": f"{record['shift']:.3g}",
        }
        for key, words in _NUMBERS.items():
            cells[words] = _short(record.get(key))
        if _other_chooser(record) is not None:
            cells[_NUMBERS["held_out_log_likelihood"]] = None
        cells |= _spectrum(record, own)
        for quantity, words in _ESTIMATES.items():
            found = own[own["quantity"] == quantity]
            pair = found[["value", "standard_error"]].iloc[0] if len(found) else None
            cells[words] = None if pair is None else Measurement(*pair)
        rows.append(cells)
        index.append((record["network"], record["structure"].replace("_", " "), record["n_rows"]))
    names = ["Network", "Structure", "Rows"]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=names), dtype=object)


def _prior(record: Mapping[str, Any]) -> str:
    """Write δ, or its range over the layers, and in words where it is from."""
    prior = record["prior_precision"]
    values = prior.values() if isinstance(prior, Mapping) else [prior]
    words = [" to ".join(f"{v:.3g}" for v in sorted({min(values), max(values)}))]
    if (chooser := _other_chooser(record)) is not None:
        words.append(f"by {chooser.replace('_', ' ')}")
    if record.get("prior_precision_at_edge"):
        words.append("end of grid")
    return ", ".join(words)


def _other_chooser(record: Mapping[str, Any]) -> str | None:
    chooser = record.get("prior_precision_chosen_by")
    return None if chooser == record["structure"] else chooser


def _spectrum(record: Mapping[str, Any], eigenvalues: pd.DataFrame) -> dict[str, object]:
    """Lay out the extreme eigenvalues; of the record where the longer run for them is missing."""
    top = eigenvalues[(eigenvalues["quantity"] == "eigenvalue") & (eigenvalues["order"] == 1)]
    low = eigenvalues[eigenvalues["quantity"] == "smallest_node"]
    largest, smallest = (
        found["value"].iloc[0] if len(found) else record.get(key)
        for found, key in ((top, "lambda_max"), (low, "lambda_min"))
    )
    indefinite = record.get("indefinite")
    if None not in (largest, smallest):
        # One negative Ritz value is a proof, whichever run it is of.
        indefinite = bool(indefinite or smallest < -ROUNDING * max(largest, -smallest))
    return {
        "Largest λ": _short(largest),
        "Smallest λ seen": _short(smallest),
        "Indefinite": None if indefinite is None else ("no", "yes")[indefinite],
    }


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}".replace("-", "−")
