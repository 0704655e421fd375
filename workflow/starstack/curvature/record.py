"""What is known about a curvature that was inverted: which matrix, how, and with what proofs."""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from starstack.curvature.lanczos import extreme_eigenvalues
from starstack.errors import InputError

MATRICES = ("gauss_newton", "hessian")
# A smallest eigenvalue is negative only beyond the rounding of the products: this many units of
# the precision they were computed in, times the largest.
ROUNDING_UNITS = 100


@dataclass(frozen=True)
class CurvatureRecord:
    """What goes with every inverse Hessian. Quantities that were not measured are None.

    Attributes
    ----------
    matrix : str
        ``"gauss_newton"`` or ``"hessian"``, of the summed negative log-likelihood.
    structure : str
        A key of `starstack.curvature.structures.STRUCTURES`.
    n_rows : int
        Rows that were summed over.
    noise : list of float or None
        σ of each output, by which the likelihood was scaled; None for a cross-entropy.
    prior_precision : float or dict of str to float
        δ, the damping: added to the diagonal, one number or one by the name of the layer.
    shift : float
        What was added to the diagonal beyond δ to make the matrix invertible, because the caller
        asked for it; 0 otherwise.
    lambda_max, lambda_min : float or None
        Largest and smallest Ritz value of the Hessian of the negative log-likelihood, with neither
        δ nor the shift, whichever matrix was inverted.
    indefinite : bool or None
        Whether `lambda_min` is negative beyond rounding. True is a proof; False is not, since a
        Ritz value lies inside the spectrum.
    eigenvalue_rows : int or None
        Rows behind the eigenvalues, each counted for several where they are fewer than `n_rows`.
    gradient_norm : float or None
        ‖g‖ of the negative log-posterior at the weights: zero at its minimum.
    data_gradient_norm, prior_gradient_norm : float or None
        Norms of the parts of g: of the negative log-likelihood, and δθ of the prior. At a minimum
        they are equal.
    expected_decrease : float or None
        ½ gᵀ H⁻¹ g: how much lower, in nats, the quadratic model puts the minimum (James & Roos
        1975, *Computer Physics Communications* 10, 343: MINUIT's estimated distance to minimum).
    log_determinant_error : float or None
        Standard error of log det P where it is an estimate (``cg``), set once it was asked for; the
        log marginal likelihood has half of it.
    proofs : dict or None
        Errors of symmetry and against finite differences, from `starstack.autodiff.proofs`.
    seconds : float or None
        Wall-clock time of the fit.
    peak_memory : int or None
        Largest resident memory of the process so far, bytes.

    Examples
    --------
    >>> record = CurvatureRecord("gauss_newton", "kfac", n_rows=100, prior_precision=1.0)
    >>> CurvatureRecord.from_json(record.to_json()) == record
    True
    """

    matrix: str
    structure: str
    n_rows: int
    prior_precision: float | dict[str, float]
    noise: list[float] | None = None
    shift: float = 0.0
    lambda_max: float | None = None
    lambda_min: float | None = None
    indefinite: bool | None = None
    eigenvalue_rows: int | None = None
    gradient_norm: float | None = None
    data_gradient_norm: float | None = None
    prior_gradient_norm: float | None = None
    expected_decrease: float | None = None
    log_determinant_error: float | None = None
    proofs: dict[str, float | str] | None = None
    seconds: float | None = None
    peak_memory: int | None = None

    def __post_init__(self) -> None:
        if self.matrix not in MATRICES:
            raise InputError(
                f"curvature: matrix is {self.matrix!r}; expected one of {', '.join(MATRICES)}"
            )

    def to_json(self) -> str:
        """Write the record as one JSON object."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "CurvatureRecord":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def describe_curvature(
    *,
    matrix: str,
    structure: str,
    n_rows: int,
    prior_precision: float | Mapping[str, float],
    noise: np.ndarray | None = None,
    shift: float = 0.0,
    operator: LinearOperator | None = None,
    eigenvalue_rows: int | None = None,
    precision: type = np.float64,
    gradient: np.ndarray | None = None,
    prior_gradient: np.ndarray | None = None,
    inverse_product: Callable[[np.ndarray], np.ndarray] | None = None,
    proofs: object | None = None,
    started: float | None = None,
    n_steps: int = 30,
    seed: int = 0,
) -> CurvatureRecord:
    """Fill a record from what is at hand.

    Parameters
    ----------
    matrix, structure, n_rows, prior_precision, noise, shift
        As in `CurvatureRecord`.
    operator : LinearOperator of shape (P, P), optional
        The Hessian, for its extreme eigenvalues: `n_steps` products.
    eigenvalue_rows : int, optional
        Rows behind the operator; `n_rows` by default.
    precision : dtype
        In which the products are computed: the rounding that `lambda_min` is judged by.
    gradient : ndarray of shape (P,), optional
        Of the negative log-posterior, δ's part included.
    prior_gradient : ndarray of shape (P,), optional
        δ's part of it.
    inverse_product : callable, optional
        v ↦ H⁻¹ v, for the expected decrease.
    proofs : Proofs, optional
        From `starstack.autodiff.proofs.prove`.
    started : float, optional
        ``time.perf_counter()`` when the fit began.
    n_steps, seed : int
        Of `starstack.curvature.lanczos.extreme_eigenvalues`.

    Returns
    -------
    CurvatureRecord
        With None for what was not given.

    Examples
    --------
    On a quadratic ½ xᵀ A x the expected decrease is what a Newton step gains.

    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> A, x = np.diag([1.0, 4.0]), np.array([3.0, -1.0])
    >>> record = describe_curvature(
    ...     matrix="hessian",
    ...     structure="exact",
    ...     n_rows=1,
    ...     prior_precision=0.0,
    ...     operator=aslinearoperator(A),
    ...     gradient=A @ x,
    ...     inverse_product=lambda v: np.linalg.solve(A, v),
    ... )
    >>> record.expected_decrease, record.indefinite
    (6.5, False)
    """
    smallest = largest = indefinite = None
    if operator is None:
        eigenvalue_rows = None
    else:
        eigenvalue_rows = int(n_rows if eigenvalue_rows is None else eigenvalue_rows)
        smallest, largest = extreme_eigenvalues(operator, n_steps=n_steps, seed=seed)
        indefinite = is_negative(smallest, largest, precision)
    decrease = None
    if gradient is not None and inverse_product is not None:
        decrease = 0.5 * float(gradient @ inverse_product(gradient))
    by_layer = isinstance(prior_precision, Mapping)
    return CurvatureRecord(
        matrix=matrix,
        structure=structure,
        n_rows=int(n_rows),
        prior_precision=dict(prior_precision) if by_layer else float(prior_precision),
        noise=None if noise is None else np.asarray(noise, dtype=np.float64).tolist(),
        shift=float(shift),
        lambda_max=largest,
        lambda_min=smallest,
        indefinite=indefinite,
        eigenvalue_rows=eigenvalue_rows,
        gradient_norm=_norm(gradient),
        data_gradient_norm=None if prior_gradient is None else _norm(gradient - prior_gradient),
        prior_gradient_norm=_norm(prior_gradient),
        expected_decrease=decrease,
        proofs=None if proofs is None else dataclasses.asdict(proofs),
        seconds=None if started is None else time.perf_counter() - started,
        peak_memory=peak_memory(),
    )


def _norm(vector: np.ndarray | None) -> float | None:
    return None if vector is None else float(np.linalg.norm(vector))


def is_negative(smallest: float, largest: float, precision: type = np.float64) -> bool:
    """Tell whether an eigenvalue is negative beyond the rounding of its products.

    Examples
    --------
    >>> is_negative(-1e-15, 1.0), is_negative(-1e-3, 1.0), is_negative(-1e-6, 1.0, "float32")
    (False, True, False)
    """
    scale = max(abs(smallest), abs(largest))
    return bool(smallest < -ROUNDING_UNITS * np.finfo(precision).eps * scale)


def peak_memory() -> int:
    """Give the largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024  # Linux counts in KiB
