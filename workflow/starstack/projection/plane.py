"""A fitted projection of rank two as a plane: where rows lie, and the regions of the classes."""

from typing import Any

import numpy as np
import pandas as pd

from starstack.errors import InputError
from starstack.projection.projected_logistic import ProjectedLogisticRegression

# Columns of the projection shorter than this share of the longest count as zero.
_NEGLIGIBLE = 1e-4
_GRID = 150
_MARGIN = 0.06


def project_rows(
    model: Any, X: np.ndarray, y: np.ndarray, row_id: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Place rows in the plane of a projection, and colour the plane by the model's classes.

    For two classes with a penalty the projection has rank one. The second axis then is the first
    principal component of what is left of the rows when the learned direction is taken out; the
    model does not use it.

    Parameters
    ----------
    model : estimator
        A fitted `ProjectedLogisticRegression` of rank two, or a pipeline that ends in one.
    X : ndarray of shape (n, F)
        Rows, as the model takes them.
    y : ndarray of shape (n,)
        Their classes, of the kind that the model predicts.
    row_id : ndarray of str, shape (n,)
        Their names.

    Returns
    -------
    rows : DataFrame
        ``row_id``, ``class``, ``predicted``, ``first``, ``second`` (coordinates) and ``axis``: what
        the second axis is, "learned" or "rest".
    regions : DataFrame
        ``first``, ``second`` of a grid, the ``class`` there, and its ``margin``: by how much its
        output exceeds that of the next class. Outputs are linear, so that borders of two classes
        can be drawn straight through the points between which the margin is zero.

    Raises
    ------
    InputError
        If the model is another one.
    """
    steps = getattr(model, "steps", [("model", model)])
    fitted = steps[-1][1]
    if not isinstance(fitted, ProjectedLogisticRegression) or fitted.projection_.shape[1] != 2:
        raise InputError(
            "expected a ProjectedLogisticRegression of rank 2, which can be drawn in a plane; got "
            f"{type(fitted).__name__}"
        )
    Z = np.asarray(model[:-1].transform(X) if len(steps) > 1 else X, dtype=np.float64)
    lengths = np.linalg.norm(fitted.projection_, axis=0)
    learned = bool(lengths[1] > _NEGLIGIBLE * lengths[0])
    plane = Z @ fitted.projection_
    if not learned:
        plane[:, 1] = _first_component_of_the_rest(Z, fitted.projection_[:, 0])
    rows = pd.DataFrame(
        {
            "row_id": row_id,
            "class": y,
            "predicted": model.predict(X),
            "first": plane[:, 0],
            "second": plane[:, 1],
            "axis": "learned" if learned else "rest",
        }
    )
    return rows, _regions(fitted, plane, learned)


def _first_component_of_the_rest(Z: np.ndarray, direction: np.ndarray) -> np.ndarray:
    unit = direction / np.linalg.norm(direction)
    rest = Z - np.outer(Z @ unit, unit)
    rest = rest - rest.mean(axis=0)
    _, _, right = np.linalg.svd(rest, full_matrices=False)
    sign = np.sign(right[0][np.abs(right[0]).argmax()])
    return sign * (rest @ right[0])


def _regions(fitted: ProjectedLogisticRegression, plane: np.ndarray, learned: bool) -> pd.DataFrame:
    low, high = plane.min(axis=0), plane.max(axis=0)
    pad = _MARGIN * (high - low)
    axes = [np.linspace(low[i] - pad[i], high[i] + pad[i], _GRID) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    seen = grid if learned else grid * [1.0, 0.0]
    outputs = seen @ fitted.weights_ + fitted.intercept_
    if outputs.shape[1] == 1:
        outputs = np.column_stack([np.zeros(len(outputs)), outputs])
    next_best, best = np.sort(outputs, axis=1)[:, -2:].T
    return pd.DataFrame(
        {
            "first": grid[:, 0],
            "second": grid[:, 1],
            "class": fitted.classes_[outputs.argmax(axis=1)],
            "margin": best - next_best,
        }
    )
