"""What the gas is made of: abundances, ionisation energies, partition functions, molecules."""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "DIATOMICS",
    "ELEMENTS",
    "HELIUM_RATIO",
    "Diatomic",
    "Element",
    "number_ratios",
    "partition_function",
]


@dataclass(frozen=True)
class Element:
    """An element in the gas.

    Attributes
    ----------
    abundance : float
        Of the Sun: log10 of the number per 10¹² hydrogen atoms (Asplund et al. 2009, ARA&A 47,
        481, table 1).
    mass : float
        In atomic mass units (IUPAC 2013, standard atomic weights).
    ionisation : float
        Energy in eV (NIST Atomic Spectra Database).
    neutral, ion : tuple of float
        Partition functions at 3000, 5000 and 7000 K (Barklem & Collet 2016, A&A 588, A96, table 8).
    alpha : bool
        Whether its abundance follows [α/Fe].
    """

    abundance: float
    mass: float
    ionisation: float
    neutral: tuple[float, float, float]
    ion: tuple[float, float, float]
    alpha: bool = False


ELEMENTS = {
    "H": Element(12.00, 1.008, 13.598, (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)),
    "C": Element(8.43, 12.011, 11.260, (8.91124, 9.19239, 9.5777), (5.88018, 5.92772, 5.94994)),
    "N": Element(7.83, 14.007, 14.534, (4.001, 4.04106, 4.20823), (8.63, 8.83464, 9.0538)),
    "O": Element(
        8.69, 15.999, 13.618, (8.68009, 8.85532, 9.05112), (4.00003, 4.00451, 4.04186), True
    ),
    "Na": Element(6.24, 22.990, 5.139, (2.00178, 2.06447, 2.60177), (1.0, 1.0, 1.0)),
    "Mg": Element(7.60, 24.305, 7.646, (1.00025, 1.01678, 1.11004), (2.0, 2.00021, 2.00389), True),
    "Al": Element(6.45, 26.982, 5.986, (5.79075, 5.87971, 6.01456), (1.0, 1.00018, 1.00405)),
    "Si": Element(
        7.51, 28.085, 8.152, (8.62816, 9.45211, 10.1594), (5.48529, 5.68276, 5.77257), True
    ),
    "S": Element(
        7.12, 32.06, 10.360, (8.30016, 8.87684, 9.4139), (4.00804, 4.14369, 4.50914), True
    ),
    "K": Element(5.03, 39.098, 4.341, (2.01222, 2.22592, 3.39777), (1.0, 1.0, 1.0)),
    "Ca": Element(
        6.34, 40.078, 6.113, (1.00701, 1.17173, 1.85725), (2.01415, 2.19899, 2.6334), True
    ),
    "Ti": Element(
        4.95, 47.867, 6.828, (20.8195, 29.4388, 44.7243), (44.0264, 55.4152, 66.7077), True
    ),
    "V": Element(3.93, 50.942, 6.746, (34.792, 47.5479, 66.3701), (31.8263, 43.3174, 56.8018)),
    "Cr": Element(5.64, 51.996, 6.767, (7.65435, 10.3912, 15.8279), (6.08747, 7.10899, 9.94024)),
    "Mn": Element(5.43, 54.938, 7.434, (6.0114, 6.40187, 8.14747), (7.0764, 7.73916, 9.39861)),
    "Fe": Element(7.50, 55.845, 7.902, (21.9554, 27.794, 36.6787), (34.3147, 43.4176, 51.8654)),
    "Co": Element(4.99, 58.933, 7.881, (24.4719, 33.5878, 42.8114), (20.9531, 29.8901, 38.126)),
    "Ni": Element(6.22, 58.693, 7.640, (26.3546, 30.887, 34.4033), (8.29948, 10.8117, 14.052)),
}
HELIUM_RATIO = 10.0 ** (10.93 - 12.0)  # Asplund et al. 2009


@dataclass(frozen=True)
class Diatomic:
    """A molecule of two atoms.

    Attributes
    ----------
    atoms : tuple of str
    dissociation : float
        Energy D₀ in eV (Barklem & Collet 2016, table 1).
    function : tuple of float
        Partition functions at 3000, 5000 and 7000 K (same paper).
    """

    atoms: tuple[str, str]
    dissociation: float
    function: tuple[float, float, float]


DIATOMICS = {
    "H2": Diatomic(("H", "H"), 4.478007, (22.2684, 50.7619, 95.8762)),
    "CO": Diatomic(("C", "O"), 11.117, (1717.06, 4065.93, 7507.51)),
    "OH": Diatomic(("O", "H"), 4.4171, (577.7, 1288.07, 2384.61)),
    "CN": Diatomic(("C", "N"), 7.737, (3652.07, 9371.92, 19136.3)),
    "N2": Diatomic(("N", "N"), 9.75394, (789.979, 1842.33, 3371.35)),
}


def number_ratios(fe_h: np.ndarray, alpha_fe: np.ndarray, c_n: np.ndarray) -> dict[str, np.ndarray]:
    """Return the number of nuclei of each element per hydrogen nucleus.

    Parameters
    ----------
    fe_h, alpha_fe : ndarray, shape (n,)
        [Fe/H], and [α/Fe] of oxygen, magnesium, silicon, sulphur, calcium and titanium.
    c_n : ndarray, shape (n,)
        [C/N] at a sum of both that is scaled with iron: CN cycling turns one into the other.

    Returns
    -------
    dict of ndarray

    Examples
    --------
    >>> solar, mixed = (number_ratios(0.0, 0.0, c_n) for c_n in (0.0, -0.5))
    >>> round(float(np.log10(solar["C"])) + 12, 2)
    8.43
    >>> round(float((mixed["C"] + mixed["N"]) / (solar["C"] + solar["N"])), 12)
    1.0
    """
    ratios = {
        symbol: 10.0 ** (element.abundance - 12.0 + fe_h + (alpha_fe if element.alpha else 0.0))
        for symbol, element in ELEMENTS.items()
    }
    carbon_per_nitrogen = ratios["C"] / ratios["N"] * 10.0**c_n
    both = ratios["C"] + ratios["N"]
    ratios["N"] = both / (1.0 + carbon_per_nitrogen)
    ratios["C"] = ratios["N"] * carbon_per_nitrogen
    ratios["H"] = np.ones_like(both)
    return ratios


def partition_function(symbol: str, temperature: np.ndarray, *, ion: bool = False) -> np.ndarray:
    """Return the partition function of an atom, its ion, or a molecule.

    ln U is interpolated by a parabola in ln T through the three tabulated temperatures; at 4000 and
    6000 K it is off by less than 0.03, most for the alkalis.

    Examples
    --------
    >>> float(partition_function("Fe", np.array(5000.0)))
    27.794
    """
    if symbol in DIATOMICS:
        values = np.log(DIATOMICS[symbol].function)
    else:
        values = np.log(ELEMENTS[symbol].ion if ion else ELEMENTS[symbol].neutral)
    nodes = np.log([3000.0, 5000.0, 7000.0])
    x = np.log(temperature)
    total = 0.0
    for i in range(3):
        j, k = (other for other in range(3) if other != i)
        weight = (x - nodes[j]) * (x - nodes[k]) / ((nodes[i] - nodes[j]) * (nodes[i] - nodes[k]))
        total = total + values[i] * weight
    return np.exp(total)
