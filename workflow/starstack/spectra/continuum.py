"""Continuous absorption near 1.6 µm: the ion H⁻, and neutral hydrogen in hot stars.

Every function is analytic in the temperature and runs on complex numbers.
"""

import numpy as np

from starstack.spectra.constants import SECOND_RADIATION
from starstack.spectra.elements import ELEMENTS

__all__ = ["h_minus_opacity", "hydrogen_opacity"]

# John 1988, A&A 193, 189: free-free absorption of H⁻ for λ > 0.3645 µm. Rows: n = 2, …, 6; columns:
# the coefficients A to F of λ², 1, λ⁻¹, λ⁻², λ⁻³ and λ⁻⁴, λ in µm. (The row n = 1 is zero.)
FREE_FREE = np.array(
    [
        [2483.346, 285.827, -2054.291, 2827.776, -1341.537, 208.952],
        [-3449.889, -1158.382, 8746.523, -11485.632, 5303.609, -812.939],
        [2200.040, 2427.719, -13651.105, 16755.524, -7510.494, 1132.738],
        [-696.271, -1841.400, 8624.970, -10051.530, 4400.067, -655.020],
        [88.283, 444.517, -1863.864, 2095.288, -901.788, 132.985],
    ]
)
# John (1988): photo-detachment cross-section of H⁻, and its threshold in µm.
BOUND_FREE = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)
DETACHMENT_MICRON = 1.6419


def h_minus_opacity(micron: np.ndarray | float, temperature: np.ndarray) -> np.ndarray:
    """Return the absorption of H⁻ per hydrogen atom and unit electron pressure, in cm⁴ dyn⁻¹.

    Free-free and bound-free absorption with stimulated emission as fitted by John (1988).

    Parameters
    ----------
    micron : float or ndarray
        Wavelength in µm.
    temperature : ndarray
        In K; broadcasts with the wavelength.

    Returns
    -------
    ndarray

    Examples
    --------
    Beyond 1.64 µm free-free absorption is alone; Bell & Berrington (1987) tabulate 2.17e-26 here.

    >>> round(float(h_minus_opacity(1.8227, np.array(5040.0)) * 1e26), 2)
    2.17
    """
    micron = np.asarray(micron, dtype=np.float64)
    root = np.sqrt(5040.0 / temperature)
    powers = np.stack([micron**power for power in (2, 0, -1, -2, -3, -4)])
    terms = np.tensordot(FREE_FREE, powers, axes=1)
    free = sum(term * root ** (n + 1) for n, term in enumerate(terms, start=2))
    excess = np.clip(1.0 / micron - 1.0 / DETACHMENT_MICRON, 0.0, None)
    series = sum(value * excess ** (n / 2.0) for n, value in enumerate(BOUND_FREE))
    cross_section = 1e-18 * micron**3 * excess**1.5 * series
    quantum = 1e4 * SECOND_RADIATION  # µm K
    bound = (
        0.750
        * temperature**-2.5
        * np.exp(quantum / (DETACHMENT_MICRON * temperature))
        * (1.0 - np.exp(-quantum / (micron * temperature)))
    )
    return 1e-29 * free + bound * cross_section


def hydrogen_opacity(micron: np.ndarray | float, temperature: np.ndarray) -> np.ndarray:
    """Return the absorption of neutral hydrogen per atom, in cm², with stimulated emission.

    Bound-free absorption from the levels n = 5, 6 and 7 one by one and from all higher ones as an
    integral, and free-free absorption, all with Gaunt factors of one (Gray 2005, The Observation
    and Analysis of Stellar Photospheres, 3rd ed., eqs. 8.4–8.10). Valid between the thresholds of
    n = 4 and 5, 1.46 to 2.28 µm.

    Parameters
    ----------
    micron : float or ndarray
        Wavelength in µm.
    temperature : ndarray
        In K; broadcasts with the wavelength.

    Returns
    -------
    ndarray
    """
    angstrom = 1e4 * np.asarray(micron, dtype=np.float64)
    ionisation = 5040.0 / temperature * ELEMENTS["H"].ionisation
    levels = sum(10.0 ** (-ionisation * (1.0 - n**-2)) / n**3 for n in (5, 6, 7))
    # The integral over the levels from n = 8 up, and what it lacks to the free-free continuum.
    higher = np.log10(np.e) / (2.0 * ionisation) * 10.0 ** (-ionisation * (1.0 - 8**-2.0))
    photon = 1.0 - np.exp(-1e8 * SECOND_RADIATION / (angstrom * temperature))
    return 1.0449e-26 * angstrom**3 * (levels + higher) * photon
