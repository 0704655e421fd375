"""How predictions answer to the true labels: J·G = I + D.

With J = ∂prediction/∂input of a network and G = ∂input/∂label of the objects that it looks at, the
product says how a prediction changes with the true labels. An estimator without bias has the unit
matrix; the diagonal of D is its regression towards the mean, and what stands beside the diagonal is
cross-talk, such as K of temperature per dex of metallicity.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from starstack.autodiff.batches import Batches
from starstack.autodiff.jacobian import InputJacobian

if TYPE_CHECKING:
    import keras


def label_response(
    model: "keras.Model",
    X: Any,
    rows: np.ndarray,
    derivatives: np.ndarray,
    *,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    input_scale: np.ndarray | float | None = None,
    target_scale: np.ndarray | float | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Multiply the input Jacobian of each row by the derivatives of its inputs.

    Parameters
    ----------
    model, input_scale, target_scale
        See `starstack.autodiff.jacobian.input_jacobian`.
    X : array or h5py dataset of shape (n, p)
        Raw rows.
    rows : ndarray of int
        Positions of the rows to use.
    derivatives : ndarray of shape (len(rows), labels, p)
        ∂raw input/∂label of each of these rows.
    transform : callable, optional
        From raw rows to what the model takes.
    batch_size : int
        Rows at once.

    Returns
    -------
    ndarray of float64, shape (len(rows), k, labels)

    Raises
    ------
    InputError
        For what `input_jacobian` refuses; rows are named by their position in X.
    """
    data = Batches(X, rows=rows, transform=transform, batch_size=batch_size)
    function = InputJacobian(
        model, input_scale=input_scale, target_scale=target_scale, batch_size=data.batch_size
    )
    found, start = [], 0
    for batch in data:
        ((_, inputs),) = function.batches(batch.x, rows[start:])
        jacobian = function.of_batch(inputs)[: batch.n]
        change = derivatives[start : start + batch.n]
        found.append(np.einsum("nkp,nlp->nkl", jacobian, change, optimize=True))
        start += batch.n
    return np.concatenate(found).astype(np.float64)


def response_table(
    response: np.ndarray, names: tuple[str, ...], units: Mapping[str, str]
) -> pd.DataFrame:
    """Summarise J·G over objects.

    Parameters
    ----------
    response : ndarray of shape (n, k, k)
        From `label_response`.
    names : tuple of str
        The labels, in the order of the model's outputs.
    units : mapping of str to str
        Their units.

    Returns
    -------
    DataFrame
        A row per pair of ``output`` (whose prediction) and ``label`` (which true label changes):
        mean, standard_error of the mean, spread (standard deviation over objects), n, and unit.

    Examples
    --------
    >>> response = np.stack([np.eye(2), [[1.0, 20.0], [0.0, 0.8]]])
    >>> table = response_table(response, ("teff", "logg"), {"teff": "K", "logg": "dex"})
    >>> print(table[["output", "label", "mean", "unit"]].to_string(index=False))
    output label  mean    unit
      teff  teff   1.0     K/K
      teff  logg  10.0   K/dex
      logg  teff   0.0   dex/K
      logg  logg   0.9 dex/dex
    """
    n = len(response)
    spread = response.std(axis=0, ddof=1) if n > 1 else np.full(response.shape[1:], np.nan)
    mean = response.mean(axis=0)
    return pd.DataFrame(
        [
            {
                "output": output,
                "label": label,
                "mean": mean[i, j],
                "standard_error": spread[i, j] / np.sqrt(n),
                "spread": spread[i, j],
                "n": n,
                "unit": f"{units[output]}/{units[label]}",
            }
            for i, output in enumerate(names)
            for j, label in enumerate(names)
        ]
    )
