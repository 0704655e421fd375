"""What a spectrum needs to know of the gas it comes from, as functions of labels and nuisances."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from starstack.spectra.atmosphere import Layer, grey_temperature, solve_layer
from starstack.spectra.constants import (
    ABSORPTION,
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRON_VOLT,
    ELEMENTARY_CHARGE,
    LIGHT_SPEED,
    SECOND_RADIATION,
)
from starstack.spectra.continuum import h_minus_opacity, hydrogen_opacity
from starstack.spectra.elements import ELEMENTS
from starstack.spectra.lines import brackett_lines

__all__ = ["GROUPS", "HYDROGEN", "NODES", "SPECIES", "Conditions", "conditions"]

# Optical depths of the layers in which the lines of metals and molecules, and those of hydrogen,
# form. The latter start 12.7 eV up, hence come from where the continuum does.
LINE_DEPTH, HYDROGEN_DEPTH = 0.5, 2.0 / 3.0
# Species whose lines share one profile: their mean mass in atomic mass units, and whether
# collisions broaden them, which for these molecules they hardly do.
GROUPS = {
    ("OH",): (17.0, False),
    ("CO", "CN"): (27.0, False),
    ("C", "Na", "Mg", "Al", "Si", "S"): (26.0, True),
    ("K", "Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni"): (54.0, True),
}
SPECIES = tuple(name for names in GROUPS for name in names)
HYDROGEN = brackett_lines()
# Natural width, and van der Waals width per hydrogen atom at 10,000 K, typical of the lines listed:
# Kurucz (2011) has log γ₆ between −7.7 and −7.0. The power of the temperature is Unsöld's.
NATURAL_WIDTH = 1e8  # s⁻¹
COLLISIONAL_WIDTH = 10.0**-7.4  # s⁻¹ cm³
CENTRE = 1.6e-4  # cm
# Wavelengths between which the continuum is interpolated, µm.
NODES = np.linspace(1.50, 1.71, 22)


@dataclass(frozen=True)
class Conditions:
    """The gas of n stars, as their spectra need it; the last axis of each array is n.

    Attributes
    ----------
    log_population : ndarray, shape (len(SPECIES), n)
        ln of the number per hydrogen atom over the partition function.
    inverse_temperature : ndarray, shape (n,)
        1/kT in eV⁻¹.
    log_continuum : ndarray, shape (len(NODES), n)
        ln of 1 − exp(−hν/kT) over the continuous absorption per hydrogen atom in cm².
    variance, damping : ndarray, shape (len(GROUPS), n)
        σ² in km² s⁻² and γ in km/s of the Voigt profiles.
    contrast : ndarray, shape (n,)
        Depth of an infinitely strong line.
    log_hydrogen : ndarray, shape (m, n)
        ln of the integral of η over each Brackett line, in km/s.
    hydrogen_variance : ndarray, shape (n,)
        σ² of hydrogen in km² s⁻².
    log_stark : ndarray, shape (m, n)
        ln of the width s of each Brackett line's Stark profile in km/s.
    """

    log_population: np.ndarray
    inverse_temperature: np.ndarray
    log_continuum: np.ndarray
    variance: np.ndarray
    damping: np.ndarray
    contrast: np.ndarray
    log_hydrogen: np.ndarray
    hydrogen_variance: np.ndarray
    log_stark: np.ndarray

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Conditions":
        """Apply a function to every array."""
        return Conditions(*(function(getattr(self, field.name)) for field in fields(self)))


def conditions(labels: np.ndarray, alpha_fe: np.ndarray, c_n: np.ndarray) -> Conditions:
    """Solve for the gas of n stars; analytic, so that labels may be complex.

    Parameters
    ----------
    labels : ndarray, shape (n, 3)
        Teff in K, log g in dex (cgs), [Fe/H] in dex.
    alpha_fe, c_n : ndarray, shape (n,)
        [α/Fe] and [C/N] in dex.

    Returns
    -------
    Conditions
    """
    teff, logg, fe_h = labels.T
    gas = solve_layer(teff, logg, fe_h, alpha_fe, c_n, depth=LINE_DEPTH)
    deep = solve_layer(teff, logg, fe_h, alpha_fe, c_n, depth=HYDROGEN_DEPTH)
    # Microturbulence of APOGEE's DR12 in km/s: Holtzman et al. 2015, AJ 150, 148.
    turbulence = (2.478 - 0.325 * logg) ** 2 / 2.0
    masses = np.array([mass for mass, _ in GROUPS.values()])[:, None]
    collide = np.array([float(atoms) for _, atoms in GROUPS.values()])[:, None]
    thermal = BOLTZMANN * gas.temperature
    collisions = gas.hydrogen_pressure / thermal * (gas.temperature / 1e4) ** 0.3
    width = NATURAL_WIDTH + COLLISIONAL_WIDTH * collisions
    surface, continuum = (
        1.0 / (np.exp(SECOND_RADIATION / (CENTRE * grey_temperature(depth) * teff)) - 1.0)
        for depth in (0.0, 2.0 / 3.0)
    )
    return Conditions(
        log_population=np.log(np.stack([gas.population(name) for name in SPECIES])),
        inverse_temperature=ELECTRON_VOLT / thermal,
        log_continuum=_log_continuum(gas, NODES),
        variance=_thermal_variance(gas, masses) + turbulence,
        damping=collide * width * CENTRE / (4.0 * np.pi) * 1e-5,
        contrast=1.0 - surface / continuum,
        log_hydrogen=_log_hydrogen(deep),
        hydrogen_variance=_thermal_variance(deep, ELEMENTS["H"].mass) + turbulence,
        log_stark=_log_stark(deep),
    )


def _log_continuum(gas: Layer, micron: np.ndarray) -> np.ndarray:
    absorption = h_minus_opacity(micron[:, None], gas.temperature) * gas.electron_pressure
    absorption = absorption + hydrogen_opacity(micron[:, None], gas.temperature)
    photon = SECOND_RADIATION * 1e4 / (micron[:, None] * gas.temperature)
    return np.log((1.0 - np.exp(-photon)) / absorption)


def _thermal_variance(gas: Layer, mass: np.ndarray | float) -> np.ndarray:
    """Return kT/m in km² s⁻²."""
    return BOLTZMANN * gas.temperature / (mass * ATOMIC_MASS) * 1e-10


def _log_hydrogen(gas: Layer) -> np.ndarray:
    strength = np.log(ABSORPTION * HYDROGEN.wavelength * 1e-13 * 10.0**HYDROGEN.log_gf)
    excitation = HYDROGEN.excitation * ELECTRON_VOLT / (BOLTZMANN * gas.temperature)
    population = np.log(gas.population("H")) - excitation
    return strength[:, None] + population + _log_continuum(gas, HYDROGEN.wavelength * 1e-4)


def _log_stark(gas: Layer) -> np.ndarray:
    """Return ln s, such that exp(−(2πsf)^{3/2}) has the wings of Griem's quasi-static profile.

    The field of the ions has Holtsmark's distribution W, with the normal field 2.603 e n_e^{2/3}.
    If a line's Stark components lie evenly between the shifts ±KF, the profile is the distribution
    of one component of the field vector, whose Fourier transform this is. With F₀ for the scale
    its wings would be 2/5 of ½ W(Δλ/KF₀), which Griem's (1960, ApJ 132, 883) constants K go with.
    """
    electrons = gas.electron_pressure / (BOLTZMANN * gas.temperature)
    field = 2.603 * ELEMENTARY_CHARGE * electrons ** (2.0 / 3.0)
    per_field = 2.5 ** (2.0 / 3.0) * HYDROGEN.stark / HYDROGEN.wavelength * LIGHT_SPEED * 1e-5
    return np.log(per_field)[:, None] + np.log(field)
