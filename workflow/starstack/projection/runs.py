"""Many joint fits of one data set: every start, with and without escape, by every solver."""

import logging
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from starstack.projection.certificates import certify
from starstack.projection.newton import DENSE_LIMIT
from starstack.projection.objective import JointObjective
from starstack.projection.solvers import Trace, minimise
from starstack.projection.starts import STARTS

logger = logging.getLogger(__name__)

# As the estimator's default: of the gradient's norm over the sum of the weights.
TOLERANCE = 1e-6


def trace_fits(
    X: np.ndarray,
    y: np.ndarray,
    *,
    rank: int,
    alphas: Sequence[float],
    intercepts: Sequence[bool],
    inits: Sequence[str],
    solvers: Sequence[str],
    max_iter: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Run every combination, each without and with escapes, and note the way and the end.

    Parameters
    ----------
    X : ndarray of shape (n, F)
        Features.
    y : ndarray of int, shape (n,)
        Class codes 0, 1, …
    rank : int
        Columns of the projection.
    alphas, intercepts, inits, solvers : sequence
        The combinations.
    max_iter : int
        Iterations of each run, at most.
    seed : int
        Of the starts.

    Returns
    -------
    dict of str to DataFrame
        ``history`` (loss and gradient norm per iteration), ``eigenvalues`` (all of the Hessian, at
        start and end; none beyond `starstack.projection.newton.DENSE_LIMIT` parameters) and
        ``certificates`` (one row per run). The first columns say which run: ``alpha``,
        ``intercept``, ``init``, ``escape``, ``solver``.
    """
    one_hot = np.eye(int(y.max()) + 1)[y]
    Y = one_hot[:, 1:] if one_hot.shape[1] == 2 else one_hot
    tables: dict[str, list[pd.DataFrame]] = {"history": [], "eigenvalues": [], "certificates": []}
    for alpha, intercept in product(alphas, intercepts):
        objective = JointObjective(
            X, Y, np.ones(len(X)), rank=rank, alpha=float(alpha), fit_intercept=intercept
        )
        for init in inits:
            start = STARTS[init](objective, np.random.default_rng(seed))
            start_eigenvalues = _eigenvalues(objective, start)
            for solver in solvers:
                for escape, result in _both(objective, start, solver, max_iter, seed).items():
                    run = {
                        "alpha": float(alpha),
                        "intercept": "yes" if intercept else "no",
                        "init": init,
                        "escape": escape,
                        "solver": solver,
                    }
                    tables["history"].append(_history(run, result["trace"]))
                    tables["certificates"].append(_certificates(run, result))
                    ends = {"start": start_eigenvalues, "end": result["eigenvalues"]}
                    tables["eigenvalues"] += [
                        pd.DataFrame(run | {"point": point, "eigenvalue": values})
                        for point, values in ends.items()
                    ]
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _both(
    objective: JointObjective, start: np.ndarray, solver: str, max_iter: int, seed: int
) -> dict[str, dict]:
    """Run without and with escapes; a run that meets no saddle is both."""
    results: dict[str, dict] = {}
    for escape in (False, True):
        if escape and not results["no"]["trace"].saddles:
            return results | {"yes": results["no"]}
        gtol = objective.gradient_tolerance(TOLERANCE)
        flat, curvature, trace = minimise(
            objective,
            start,
            solver=solver,
            escape=escape,
            max_iter=max_iter,
            gtol=gtol,
            seed=seed,
        )
        results["yes" if escape else "no"] = {
            "trace": trace,
            "certificates": certify(objective, flat, curvature, gtol=gtol),
            "eigenvalues": _eigenvalues(objective, flat),
        }
    return results


def _eigenvalues(objective: JointObjective, flat: np.ndarray) -> np.ndarray:
    if objective.size > DENSE_LIMIT:
        return np.empty(0)
    return np.linalg.eigvalsh(objective.hessian(flat))


def _history(run: dict, trace: Trace) -> pd.DataFrame:
    columns = {
        "iteration": np.arange(len(trace.losses)),
        "loss": trace.losses,
        "gradient_norm": trace.gradient_norms,
    }
    return pd.DataFrame(run | columns)


def _certificates(run: dict, result: dict) -> pd.DataFrame:
    trace, found = result["trace"], dict(result["certificates"])
    found["is_global"] = "yes" if found["is_global"] else "no"
    found["has_minimum"] = {True: "yes", False: "no", None: "unknown"}[found["has_minimum"]]
    counts = {"iterations": trace.n_iter, "saddles": len(trace.saddles)}
    return pd.DataFrame([run | counts | found])
