"""Whether any noise can have some correlations, without NumPy: it is asked of every configuration.

The spectrum of a band matrix that is constant along its diagonals, ρ₀ = 1, ρ₁, …, ρ_m, is
1 + 2 Σ ρ_l cos(l ω). Such a matrix is positive definite for any number of columns exactly where it
is nowhere below zero (Grenander & Szegő 1958, *Toeplitz Forms and Their Applications*, §5.2).
"""

import math
from collections.abc import Sequence

from starstack.errors import InputError

N_STEPS = 4096


def check_correlation(values: Sequence[float], where: str) -> None:
    """Refuse correlations that no noise can have.

    Parameters
    ----------
    values : sequence of float
        ρ₁, ρ₂, …: of neighbours, of those two apart, and so on.
    where : str
        What the message begins with.

    Raises
    ------
    InputError
        If the spectrum touches zero.

    Examples
    --------
    >>> check_correlation([0.4, 0.1], "data")
    >>> check_correlation([0.6], "data")
    Traceback (most recent call last):
    ...
    starstack.errors.InputError: data: noise_correlation is [0.6], which no noise can have (the \
spectrum 1 + 2 Σ ρ_l cos(l ω) is -0.2 at its least); give smaller correlations, or more lags
    """
    values = [float(value) for value in values]
    least = min(
        1 + 2 * sum(value * math.cos(lag * omega) for lag, value in enumerate(values, start=1))
        for omega in (math.pi * step / N_STEPS for step in range(N_STEPS + 1))
    )
    if not least > 1e-6:
        raise InputError(
            f"{where}: noise_correlation is {values}, which no noise can have (the spectrum "
            f"1 + 2 Σ ρ_l cos(l ω) is {least:.3g} at its least); give smaller correlations, or "
            "more lags"
        )
