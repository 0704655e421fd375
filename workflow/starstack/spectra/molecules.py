"""Lines of carbon monoxide, computed from molecular constants, and of OH and CN, from a table.

CO absorbs in the H band by its second overtone, Δv = 3. A level of vibration ``v`` and rotation
``J`` has the energy

    E(v, J) = Σ_kl Y_kl (v + ½)^k [J(J + 1)]^l

with Dunham's coefficients ``Y_kl`` of Guelachvili et al. 1983, J. Mol. Spectrosc. 98, 64. A line
from (v, J) to (v + 3, J ± 1) has the strength

    gf = 8π² m_e c ν / (3 h e²) · S(m) · [R_v F_v(m)]²,

with the Hönl–London factor ``S = |m|``, ``m = J + 1`` in the R and ``−J`` in the P branch, and the
transition moment ``R_v`` with its Herman–Wallis factor ``F_v``. Moments and factors are read off
the strengths in APOGEE's list (Smith et al. 2021, AJ 161, 254), which they give back to 1 %.

¹³CO has the same moments to a few per cent; there is one ¹³C per 20 ¹²C, as in red giants before
they reach the bump (Charbonnel, Brown & Wallerstein 1998, A&A 332, 204).

``molecular_lines.csv`` holds the strongest lines of OH (vibration and rotation, 431 lines) and of
CN (the red system, 969 lines) in the same list, whose sources are Brooke et al. 2016, JQSRT 168,
142 for OH and Sneden et al. 2014, ApJS 214, 26 for CN.
"""

import numpy as np

from starstack.spectra.constants import (
    ELECTRON_MASS,
    ELEMENTARY_CHARGE,
    LIGHT_SPEED,
    PLANCK,
    WAVENUMBER_PER_EV,
)
from starstack.spectra.lines import LineList, read_lines

__all__ = ["carbon_monoxide_lines", "molecular_lines", "term_value"]

DATA_FILES = ("molecular_lines.csv",)

# Y[l][k] in cm⁻¹, k = 0, 1, …, of ¹²C¹⁶O and ¹³C¹⁶O. Guelachvili et al. 1983.
DUNHAM = {
    12: (
        (
            0.0,
            2169.813079,
            -13.28790587,
            0.01041444739,
            6.921598529e-5,
            1.657890319e-7,
            2.466226718e-9,
            -8.630071431e-10,
            1.261536024e-11,
            -8.363842545e-14,
        ),
        (
            1.931280862,
            -0.01750410135,
            5.422101371e-7,
            1.311844382e-8,
            1.401093703e-9,
            -3.829907475e-12,
            -1.434127145e-12,
        ),
        (
            -6.120747566e-6,
            9.449843093e-10,
            -1.430768382e-10,
            -2.027592559e-12,
            1.660533203e-13,
            -4.714582132e-15,
        ),
        (5.335386989e-12, -1.512462732e-13, -1.471295100e-15),
    ),
    13: (
        (
            0.0,
            2121.439427,
            -12.70207525,
            0.009733876180,
            6.324758585e-5,
            1.481162575e-7,
            2.154216361e-9,
            -7.370214014e-10,
            1.053354978e-11,
            -6.827949978e-14,
        ),
        (
            1.846151538,
            -0.01635943496,
            4.954561009e-7,
            1.172004433e-8,
            1.223836787e-9,
            -4.978830838e-12,
            -1.197464788e-12,
        ),
        (
            -5.592963902e-6,
            8.442508999e-10,
            -1.267226939e-10,
            -2.500209167e-12,
            1.386508893e-13,
            -3.848820777e-15,
        ),
        (4.852556927e-12, -1.291667338e-13, -1.228499217e-15),
    ),
}
# R_v in debye and the coefficients of F_v(m) = 1 + a m + b m² + c m³ for v = 0, …, 6.
MOMENTS = (
    (4.12001e-4, 5.8233e-3, 3.294e-5, 1.08e-7),
    (8.50476e-4, 5.6779e-3, 3.170e-5, 1.08e-7),
    (1.38676e-3, 5.5411e-3, 3.034e-5, 1.09e-7),
    (2.02007e-3, 5.4262e-3, 2.931e-5, 1.06e-7),
    (2.77214e-3, 5.2793e-3, 2.816e-5, 1.02e-7),
    (3.60482e-3, 5.1747e-3, 2.748e-5, 9.83e-8),
    (4.53608e-3, 5.0715e-3, 2.736e-5, 8.57e-8),
)
HIGHEST_ROTATION = 110
C12_PER_C13 = 20.0

DEBYE = 1e-18  # esu cm
# 8π² m_e c / (3 h e²), the gf of a line per cm⁻¹ and debye².
STRENGTH = 8.0 * np.pi**2 * ELECTRON_MASS * LIGHT_SPEED / (3.0 * PLANCK)
STRENGTH *= (DEBYE / ELEMENTARY_CHARGE) ** 2


def term_value(v: np.ndarray | int, j: np.ndarray | int, carbon: int = 12) -> np.ndarray:
    """Return the energy of a level of CO in cm⁻¹ above the bottom of its potential.

    Parameters
    ----------
    v, j : ndarray of int
        Quantum numbers of vibration and rotation; they broadcast.
    carbon : int
        Mass number of carbon, 12 or 13.

    Returns
    -------
    ndarray

    Examples
    --------
    The origin of the second overtone band, 3-0:

    >>> float(term_value(3, 0) - term_value(0, 0))
    6350.44...
    """
    vibration = np.asarray(v, dtype=np.float64) + 0.5
    rotation = np.asarray(j, dtype=np.float64) * (np.asarray(j, dtype=np.float64) + 1.0)
    powers = (np.polynomial.polynomial.polyval(vibration, row) for row in DUNHAM[carbon])
    return sum(value * rotation**power for power, value in enumerate(powers))


def carbon_monoxide_lines(carbon: int = 12) -> LineList:
    """Compute the lines of the second overtone of one isotopologue of CO.

    Parameters
    ----------
    carbon : int
        Mass number of carbon, 12 or 13. Strengths are those of a molecule of that isotope.

    Returns
    -------
    LineList
        Seven bands, 3-0 to 9-6, each with an R and a P branch up to J = 110.
    """
    parts = []
    for v, (moment, *factors) in enumerate(MOMENTS):
        for change in (1, -1):
            j = np.arange(0 if change == 1 else 1, HIGHEST_ROTATION)
            m = j + 1.0 if change == 1 else -1.0 * j
            lower = term_value(v, j, carbon)
            wavenumber = term_value(v + 3, j + change, carbon) - lower
            factor = moment * np.polynomial.polynomial.polyval(m, (1.0, *factors))
            strength = STRENGTH * wavenumber * np.abs(m) * factor**2
            excitation = (lower - term_value(0, 0, carbon)) / WAVENUMBER_PER_EV
            parts.append((1e8 / wavenumber, excitation, np.log10(strength)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return LineList(np.full(len(columns[0]), "CO"), *columns)


def molecular_lines() -> LineList:
    """Return the lines of CO, both isotopologues, OH and CN."""
    share = 1.0 / (1.0 + C12_PER_C13)
    common, rare = carbon_monoxide_lines(12), carbon_monoxide_lines(13)
    weighted = [
        LineList(lines.species, lines.wavelength, lines.excitation, lines.log_gf + np.log10(part))
        for lines, part in ((common, 1.0 - share), (rare, share))
    ]
    return weighted[0] + weighted[1] + read_lines("molecular_lines.csv")
