"""What is known of each approximation of a network's curvature, as a table of a paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from starstack.errors import InputError
from starstack.tables.measurement import Measurement

# Of the record, and what a reader sees.
_NUMBERS = {
    "gradient_norm": "Gradient norm",
    "expected_decrease": "Expected decrease (nats)",
    "held_out_log_likelihood": "Held-out log likelihood",
    "seconds": "Time (s)",
}
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
        Index Network, Structure, rows; the matrix, the prior precision, what was added to the
        diagonal beyond it, gradient norm and expected decrease, time, and largest eigenvalue,
        smallest one that was seen, and trace of the Hessian.

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
        prior = record["prior_precision"]
        values = prior.values() if isinstance(prior, Mapping) else [prior]
        cells: dict[str, object] = {
            "Matrix": record["matrix"].replace("_", "–"),
            "Prior precision": " to ".join(f"{v:.3g}" for v in sorted({min(values), max(values)})),
            "Shift": f"{record['shift']:.3g}",
        }
        for key, words in _NUMBERS.items():
            value = record.get(key)
            cells[words] = None if value is None else f"{value:.3g}".replace("-", "−")
        top = own[(own["quantity"] == "eigenvalue") & (own["order"] == 1)]
        low = own[own["quantity"] == "smallest_node"]
        for words, found in (("Largest λ", top), ("Smallest λ seen", low)):
            value = found["value"].iloc[0] if len(found) else None
            cells[words] = None if value is None else f"{value:.3g}".replace("-", "−")
        for quantity, words in _ESTIMATES.items():
            found = own[own["quantity"] == quantity]
            pair = found[["value", "standard_error"]].iloc[0] if len(found) else None
            cells[words] = None if pair is None else Measurement(*pair)
        rows.append(cells)
        index.append((record["network"], record["structure"].replace("_", " "), record["n_rows"]))
    names = ["Network", "Structure", "Rows"]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=names), dtype=object)
