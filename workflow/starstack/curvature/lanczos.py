r"""Lanczos tridiagonalisation of a symmetric operator, and its largest eigenpairs.

After K steps from a unit vector q₁, the rows q₁ … q_K of Q are orthonormal and

    A Qᵀ = Qᵀ T + r e_Kᵀ,      T = tridiag(β, α, β),      Q r = 0

(Golub & Van Loan 2013, *Matrix Computations*, §10.1). Basis and recurrence are float64 whatever
the precision of the products: the products are the expensive part, the basis is the fragile one.
Each new vector is orthogonalised against all earlier ones twice, after which no copy of a converged
eigenvalue can come back as a ghost ("twice is enough": Giraud, Langou & Rozložník 2005, *Computers
& Mathematics with Applications* 50, 1069).

Where the Krylov space is exhausted (a repeated eigenvalue is seen once per starting vector), the
recurrence goes on with a random vector orthogonal to the basis and β = 0, so that K = n steps give
every eigenvalue with its multiplicity.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

from starstack.curvature.options import check_options, count
from starstack.errors import InputError

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 8 * 2**30  # bytes
# Vectors beside the basis: the product, its copy in the operator's precision, a random restart.
WORKING_VECTORS = 4
# Columns of the basis that are rotated at a time, so that no second basis is held.
_BLOCK = 65_536

Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """K steps of Lanczos.

    Attributes
    ----------
    diagonal : ndarray of shape (K,)
        α.
    off_diagonal : ndarray of shape (K - 1,)
        β; zero where the recurrence began anew.
    residual : ndarray of shape (n,)
        r, the part of the last product outside the basis.
    basis : ndarray of shape (K, n) or None
        Q; None if it was not kept.
    """

    diagonal: np.ndarray
    off_diagonal: np.ndarray
    residual: np.ndarray
    basis: np.ndarray | None

    def eigh(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the eigenvalues θ of T, rising, and its eigenvectors as columns (K, K)."""
        return eigh_tridiagonal(self.diagonal, self.off_diagonal)


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenpairs of a symmetric operator, the largest eigenvalue first.

    Attributes
    ----------
    values : ndarray of shape (r,)
        Eigenvalues θ.
    vectors : ndarray of shape (r, n)
        Orthonormal rows.
    residuals : ndarray of shape (r,)
        Bounds of ‖A v - θ v‖, and so of the distance from θ to the nearest eigenvalue.
    n_products : int
        How many products with the operator were taken.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    n_products: int


def tridiagonalise(
    operator: LinearOperator,
    n_steps: int,
    *,
    start: np.ndarray | None = None,
    seed: int = 0,
    keep_basis: bool = True,
    basis_path: str | PathLike[str] | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> Tridiagonal:
    """Run K steps of Lanczos.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        Symmetric.
    n_steps : int
        K; at most n.
    start : ndarray of shape (n,), optional
        First vector, of any length; random signs by default.
    seed : int
        Of the first vector and of those that begin a new Krylov space.
    keep_basis : bool
        Without the basis three vectors are enough. Nothing is then re-orthogonalised and converged
        eigenvalues come back as ghosts: the quadrature of `starstack.curvature.spectrum` is
        indifferent to them (the copies share one weight), lists of eigenvalues are not.
    basis_path : path, optional
        File of K × n × 8 bytes that holds the basis in place of memory.
    memory_limit : int
        Bytes that basis and working vectors may take.

    Returns
    -------
    Tridiagonal
        The matrix T, the residual and, if kept, the basis.

    Raises
    ------
    InputError
        If n_steps is out of range, the start is zero, or the basis does not fit in the limit.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> steps = tridiagonalise(aslinearoperator(np.diag([1.0, 2.0, 2.0, 5.0])), 4)
    >>> np.allclose(steps.eigh()[0], [1, 2, 2, 5])
    True
    """
    n, n_steps = operator.shape[0], count(n_steps, "Lanczos: n_steps")
    if not 1 <= n_steps <= n:
        raise InputError(f"Lanczos: {n_steps} steps for an operator of size {n}; take 1 to {n}")
    rng = np.random.default_rng(seed)
    first = rng.choice([-1.0, 1.0], size=n) if start is None else np.array(start, np.float64)
    if not np.linalg.norm(first) > 0:
        raise InputError("Lanczos: the first vector is zero; give one that is not")
    if not keep_basis:
        return _three_term(operator, n_steps, first)
    basis = _allocate(n_steps, n, basis_path, memory_limit)
    projected = np.zeros((n_steps, n_steps))
    basis[0] = first / np.linalg.norm(first)
    residual = _expand(operator.matvec, basis, projected, 0, rng)
    return Tridiagonal(np.diag(projected).copy(), np.diag(projected, 1).copy(), residual, basis)


def largest_eigenpairs(
    operator: LinearOperator,
    rank: int,
    *,
    n_basis: int | None = None,
    tolerance: float = 1e-10,
    max_restarts: int = 100,
    seed: int = 0,
    basis_path: str | PathLike[str] | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> Eigenpairs:
    """Find the algebraically largest eigenpairs, repeated eigenvalues with their multiplicity.

    Thick-restart Lanczos (Wu & Simon 2000, *SIAM Journal on Matrix Analysis* 22, 602): the basis
    is cut back to the best Ritz vectors whenever it is full, so that memory is `n_basis` vectors
    however long convergence takes. After convergence one more round from a random vector must find
    nothing larger: a single Krylov space holds one copy of a repeated eigenvalue only, and ARPACK
    (``scipy.sparse.linalg.eigsh``) can miss the others.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        Symmetric.
    rank : int
        How many, at most n.
    n_basis : int, optional
        Vectors held at a time, more than `rank` unless that is n; ``2 rank + 20`` by default.
    tolerance : float
        Of the residuals, relative to the largest |θ|; 1e-5 suits products in float32.
    max_restarts : int
        Rounds before giving up.
    seed, basis_path, memory_limit
        As for `tridiagonalise`.

    Returns
    -------
    Eigenpairs
        ``rank`` of them; `vectors` lies in the file if there is one.

    Raises
    ------
    InputError
        If rank or n_basis is out of range, the basis does not fit in the limit, or the residuals
        do not fall below the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> pairs = largest_eigenpairs(aslinearoperator(np.diag([3.0, 3.0, 3.0, 2.0, 1.0])), 4)
    >>> np.allclose(pairs.values, [3, 3, 3, 2])
    True
    """
    options = {
        "rank": rank,
        "n_basis": n_basis,
        "tolerance": tolerance,
        "max_restarts": max_restarts,
        "seed": seed,
        "memory_limit": memory_limit,
    }
    rank, n_basis, tolerance, max_restarts, seed, memory_limit = check_options(
        largest_eigenpairs, options, "Lanczos"
    ).values()
    n = operator.shape[0]
    n_basis = min(n, 2 * rank + 20 if n_basis is None else n_basis)
    if rank > n:
        raise InputError(f"Lanczos: rank {rank} for an operator of size {n}; take 1 to {n}")
    if n_basis < min(n, rank + 2):
        raise InputError(
            f"Lanczos: a basis of {n_basis} vectors for {rank} eigenpairs; take {rank + 2} or more"
        )
    rng = np.random.default_rng(seed)
    basis = _allocate(n_basis, n, basis_path, memory_limit)
    projected = np.zeros((n_basis, n_basis))
    basis[0] = _random_direction(basis[:0], n, rng)
    kept, n_products, settled, neglected = 0, 0, None, 0.0
    for restart in range(max_restarts + 1):
        residual = _expand(operator.matvec, basis, projected, kept, rng)
        n_products += n_basis - kept
        values, rotation = eigh((projected + projected.T) / 2)
        values, rotation = values[::-1], rotation[:, ::-1]
        scale = np.abs(values).max()
        residuals = np.linalg.norm(residual) * np.abs(rotation[-1, :rank])
        logger.info(
            "Lanczos: round %d, %d products, largest %.4g, residual %.1e of it",
            restart + 1,
            n_products,
            values[0],
            residuals.max() / scale if scale > 0 else 0.0,
        )
        converged = residuals.max() <= tolerance * scale
        if n_basis == n or (converged and _same(settled, values[:rank], tolerance * scale)):
            _rotate(basis, rotation[:, :rank])
            return Eigenpairs(values[:rank].copy(), basis[:rank], residuals + neglected, n_products)
        settled = values[:rank].copy() if converged else None
        # Pairs beyond the rank are kept too: without them convergence is slow where the eigenvalue
        # after the last wanted one is close to it. A random vector begins anew, so that what is
        # kept then must be converged: its residual leaves the basis.
        kept = rank if converged else rank + (n_basis - rank) // 3
        _rotate(basis, rotation[:, :kept])
        projected[:] = 0
        projected[range(kept), range(kept)] = values[:kept]
        if converged:
            neglected += np.linalg.norm(residuals)
            basis[kept] = _random_direction(basis[:kept], n, rng)
        else:
            basis[kept] = residual / np.linalg.norm(residual)
    raise InputError(
        f"Lanczos: after {n_products} products the residual of an eigenpair is still "
        f"{residuals.max() / scale:.1e} of the largest eigenvalue (tolerance {tolerance:.1e}); "
        "give a larger basis or tolerance, or a smaller rank"
    )


def extreme_eigenvalues(
    operator: LinearOperator,
    *,
    n_steps: int = 30,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate the smallest and the largest eigenvalue by their Ritz values.

    Both lie inside the spectrum: a negative estimate proves that the operator is indefinite, a
    positive one makes it likely that it is not. Three vectors are held: ghosts are copies of
    eigenvalues, so that the extremes do not change by them.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        Symmetric.
    n_steps : int
        Steps of Lanczos; n if that is fewer.
    seed : int
        Of the first vector.

    Returns
    -------
    smallest, largest : float
        Ritz values.
    """
    options = {"n_steps": n_steps, "seed": seed}
    n_steps, seed = check_options(extreme_eigenvalues, options, "Lanczos").values()
    n_steps = min(n_steps, operator.shape[0])
    values, _ = tridiagonalise(operator, n_steps, seed=seed, keep_basis=False).eigh()
    return float(values[0]), float(values[-1])


def _allocate(
    n_vectors: int, n: int, path: str | PathLike[str] | None, memory_limit: int
) -> np.ndarray:
    held = WORKING_VECTORS + (n_vectors if path is None else 0)
    if held * n * 8 > memory_limit:
        raise InputError(
            f"Lanczos: {n_vectors} vectors of {n:,} numbers need {held * n * 8 / 2**30:.3g} GiB, "
            f"the limit is {memory_limit / 2**30:.3g} GiB; take fewer vectors, give a file for the "
            "basis, or raise memory_limit"
        )
    if path is None:
        return np.empty((n_vectors, n))
    try:
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(n_vectors, n))
    except OSError as error:
        raise InputError(
            f"Lanczos: expected a file that can be written for the basis, got {path} "
            f"({error.strerror or error}); give one in a folder that is there"
        ) from error


def _expand(
    product: Product,
    basis: np.ndarray,
    projected: np.ndarray,
    first: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fill basis and projected matrix from the vector at `first` on; return the last residual."""
    n_vectors, n = basis.shape
    beta = 0.0
    for step in range(first, n_vectors):
        vector = np.array(product(basis[step]), np.float64).reshape(n)
        if not np.isfinite(vector).all():
            raise InputError("Lanczos: a product holds NaN or infinity; scale the data")
        length = np.linalg.norm(vector)
        known = basis[: step + 1]
        coefficients = np.zeros(step + 1)
        for _ in range(2):
            overlap = known @ vector
            vector -= overlap @ known
            coefficients += overlap
        projected[: step + 1, step] = projected[step, : step + 1] = coefficients
        if step > first:
            projected[step - 1, step] = projected[step, step - 1] = beta
        beta = np.linalg.norm(vector)
        exhausted = beta <= 10 * np.finfo(float).eps * np.sqrt(n) * max(
            length, np.abs(projected).max()
        )
        if step + 1 == n_vectors:
            return np.zeros(n) if exhausted and n_vectors == n else vector
        if exhausted:
            beta, basis[step + 1] = 0.0, _random_direction(known, n, rng)
        else:
            basis[step + 1] = vector / beta
    raise AssertionError("the basis was already full")


def _three_term(operator: LinearOperator, n_steps: int, first: np.ndarray) -> Tridiagonal:
    """Run the recurrence with three vectors, until the Krylov space is exhausted at the latest."""
    diagonal, off_diagonal = [], []
    previous, vector = np.zeros_like(first), first / np.linalg.norm(first)
    beta = 0.0
    for step in range(n_steps):
        residual = np.array(operator.matvec(vector), np.float64).reshape(len(first))
        if not np.isfinite(residual).all():
            raise InputError("Lanczos: a product holds NaN or infinity; scale the data")
        residual -= beta * previous
        alpha = vector @ residual
        residual -= alpha * vector
        diagonal.append(alpha)
        beta = np.linalg.norm(residual)
        scale = max(map(abs, diagonal + off_diagonal))
        if step + 1 == n_steps or beta <= 10 * np.finfo(float).eps * np.sqrt(len(first)) * scale:
            break
        off_diagonal.append(beta)
        previous, vector = vector, residual / beta
    return Tridiagonal(np.array(diagonal), np.array(off_diagonal), residual, None)


def _random_direction(known: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(n)
    for _ in range(2):
        vector -= (known @ vector) @ known
        vector /= np.linalg.norm(vector)
    return vector


def _rotate(basis: np.ndarray, rotation: np.ndarray) -> None:
    """Put the rotated vectors into the first rows of the basis."""
    for start in range(0, basis.shape[1], _BLOCK):
        columns = slice(start, start + _BLOCK)
        basis[: rotation.shape[1], columns] = rotation.T @ basis[:, columns]


def _same(before: np.ndarray | None, values: np.ndarray, tolerance: float) -> bool:
    return before is not None and bool(np.all(np.abs(values - before) <= tolerance))
