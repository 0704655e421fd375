"""One layer of a star's atmosphere in local thermodynamic equilibrium.

The layer lies at an optical depth ``τ`` of the continuum at 1.6 µm. Its temperature is that of a
grey atmosphere in Eddington's approximation, ``T⁴ = ¾ Teff⁴ (τ + ⅔)`` (Mihalas 1978, Stellar
Atmospheres, 2nd ed., sect. 3-3). Its state follows from three conditions.

*Hydrostatic balance.* With an opacity that is constant above the layer, the pressure is that of the
column: the partial pressure ``P_H`` of free hydrogen atoms obeys ``P_H κ = g τ m``, where ``κ`` is
the continuous absorption per hydrogen atom and ``m`` the mass that goes with one hydrogen atom.

*Charge balance.* Electrons come from hydrogen, carbon, nitrogen, oxygen and fourteen metals, each
ionised once according to Saha's equation.

*Molecular equilibrium.* H₂ follows from its own law of mass action. Of the other molecules CO binds
carbon and oxygen, OH oxygen, and N₂ nitrogen; CN is a trace. In this order all have closed
solutions. Water, which binds oxygen below 3500 K at high pressure, is left out.

Every function is analytic in its arguments and runs on complex numbers. So one evaluation at
``x + ih`` with a tiny ``h`` gives derivatives to full precision (Squire & Trapp 1998, SIAM Rev. 40,
110).
"""

from dataclasses import dataclass

import numpy as np

from starstack.spectra.constants import (
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRON_MASS,
    ELECTRON_VOLT,
    PLANCK,
)
from starstack.spectra.continuum import h_minus_opacity, hydrogen_opacity
from starstack.spectra.elements import (
    DIATOMICS,
    ELEMENTS,
    HELIUM_RATIO,
    number_ratios,
    partition_function,
)

__all__ = ["Layer", "dissociation_constant", "grey_temperature", "saha", "solve_layer"]

PIVOT_MICRON = 1.6  # where τ is measured
# Mass that goes with one hydrogen atom, in atomic mass units: hydrogen and helium.
MASS_PER_HYDROGEN = ELEMENTS["H"].mass + 4.0026 * HELIUM_RATIO
# Of Newton's method; eight are enough for every star in the box. The number is fixed, so that a
# star's spectrum does not depend on how soon the stars beside it converge.
ITERATIONS = 12


@dataclass(frozen=True)
class Layer:
    """State of the gas for n stars; arrays of shape (n,).

    Attributes
    ----------
    temperature : ndarray
        K.
    electron_pressure, hydrogen_pressure : ndarray
        Partial pressures of the electrons and of free neutral hydrogen atoms, dyn cm⁻².
    nuclei_pressure : ndarray
        What the pressure of hydrogen would be if all of it were free atoms, dyn cm⁻².
    gas_pressure : ndarray
        Of hydrogen, helium and electrons, dyn cm⁻².
    pressures : dict of ndarray
        Partial pressure of each neutral atom and of CO, OH and CN, dyn cm⁻².
    """

    temperature: np.ndarray
    electron_pressure: np.ndarray
    hydrogen_pressure: np.ndarray
    nuclei_pressure: np.ndarray
    gas_pressure: np.ndarray
    pressures: dict[str, np.ndarray]

    def population(self, species: str) -> np.ndarray:
        """Return the number of a species per free hydrogen atom, over its partition function."""
        weight = self.hydrogen_pressure * partition_function(species, self.temperature)
        return self.pressures[species] / weight


def solve_layer(
    teff: np.ndarray,
    logg: np.ndarray,
    fe_h: np.ndarray,
    alpha_fe: np.ndarray,
    c_n: np.ndarray,
    *,
    depth: float,
) -> Layer:
    """Solve for pressures, ionisation and molecules.

    Parameters
    ----------
    teff, logg, fe_h : ndarray, shape (n,)
        Effective temperature in K, log10 of the gravity in cm s⁻², and [Fe/H].
    alpha_fe, c_n : ndarray, shape (n,)
        [α/Fe] and [C/N], see `starstack.spectra.elements.number_ratios`.
    depth : float
        Optical depth τ of the layer.

    Returns
    -------
    Layer

    Examples
    --------
    The Sun's photosphere:

    >>> labels = (np.array([value]) for value in (5772.0, 4.438, 0.0, 0.0, 0.0))
    >>> sun = solve_layer(*labels, depth=0.5)
    >>> sun.temperature.round().tolist()
    [5582.0]
    >>> np.log10(sun.gas_pressure).round(1).tolist()
    [5.1]
    >>> np.log10(sun.electron_pressure).round(1).tolist()
    [1.1]
    """
    temperature = grey_temperature(depth) * teff
    abundances = number_ratios(fe_h, alpha_fe, c_n)
    column = 10.0**logg * depth * MASS_PER_HYDROGEN * ATOMIC_MASS
    electron, hydrogen, nuclei = _solve_pressures(temperature, column, abundances)
    pressures = {
        symbol: nuclei * abundances[symbol] / (1.0 + saha(symbol, temperature) / electron)
        for symbol in ELEMENTS
    }
    pressures |= _molecular_balance(temperature, hydrogen, nuclei, electron, abundances)
    pressures["H"] = hydrogen
    for name in ("CO", "OH", "CN"):
        first, second = (pressures[symbol] for symbol in DIATOMICS[name].atoms)
        pressures[name] = first * second / dissociation_constant(name, temperature)
    protons = hydrogen * saha("H", temperature) / electron
    free = hydrogen + protons
    gas = 0.5 * (nuclei + free) + nuclei * HELIUM_RATIO + electron
    return Layer(temperature, electron, hydrogen, nuclei, gas, pressures)


def grey_temperature(depth: float) -> float:
    """Return T / Teff in a grey atmosphere, Eddington's approximation.

    Examples
    --------
    >>> round(grey_temperature(2 / 3), 12)
    1.0
    """
    return (0.75 * (depth + 2.0 / 3.0)) ** 0.25


def saha(symbol: str, temperature: np.ndarray) -> np.ndarray:
    """Return Saha's ``P_e N₁/N₀ = (2π m_e)^{3/2} (kT)^{5/2} h⁻³ (2U₁/U₀) exp(−χ/kT)``, dyn cm⁻².

    Examples
    --------
    Hydrogen at 5040 K:

    >>> round(float(np.log10(saha("H", np.array(5040.0)))), 2)
    -4.82
    """
    thermal = BOLTZMANN * temperature
    quantum = (2.0 * np.pi * ELECTRON_MASS) ** 1.5 / PLANCK**3 * thermal**2.5
    weights = 2.0 * partition_function(symbol, temperature, ion=True)
    weights = weights / partition_function(symbol, temperature)
    return quantum * weights * np.exp(-ELEMENTS[symbol].ionisation * ELECTRON_VOLT / thermal)


def dissociation_constant(name: str, temperature: np.ndarray) -> np.ndarray:
    """Return the ``P_A P_B / P_AB`` of a molecule's law of mass action, in dyn cm⁻².

    ``kT (2πμkT/h²)^{3/2} U_A U_B / Q_AB exp(−D₀/kT)`` with the reduced mass μ.

    Examples
    --------
    CO at 4000 K; Barklem & Collet (2016) tabulate -0.875 for its logarithm.

    >>> round(float(np.log10(dissociation_constant("CO", np.array(4000.0)))), 2)
    -0.88
    """
    molecule = DIATOMICS[name]
    first, second = molecule.atoms
    masses = ELEMENTS[first].mass, ELEMENTS[second].mass
    reduced = masses[0] * masses[1] / (masses[0] + masses[1]) * ATOMIC_MASS
    thermal = BOLTZMANN * temperature
    translation = thermal * (2.0 * np.pi * reduced * thermal / PLANCK**2) ** 1.5
    weights = partition_function(first, temperature) * partition_function(second, temperature)
    weights = weights / partition_function(name, temperature)
    return translation * weights * np.exp(-molecule.dissociation * ELECTRON_VOLT / thermal)


def _solve_pressures(
    temperature: np.ndarray, column: np.ndarray, abundances: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pressures of electrons, of free hydrogen atoms, and of all hydrogen nuclei.

    ``column`` is ``g τ m``. Newton's method in ``x = ln P_e`` on ``ln(charges(x)) − x``, which
    falls: more electrons make the gas more opaque, hence its column thinner.
    """
    h_minus = h_minus_opacity(PIVOT_MICRON, temperature)
    h_neutral = hydrogen_opacity(PIVOT_MICRON, temperature)
    h2 = dissociation_constant("H2", temperature)
    metals = [symbol for symbol in ELEMENTS if symbol != "H"]
    ratio = np.stack([abundances[symbol] for symbol in metals])
    balance = np.stack([saha(symbol, temperature) for symbol in metals])
    ionised = saha("H", temperature)
    x = np.zeros_like(temperature * column * ratio[0])
    for _ in range(ITERATIONS):
        electron = np.exp(x)
        opacity = h_minus * electron + h_neutral
        hydrogen = column / opacity
        slope = -h_minus * electron / opacity
        protons = hydrogen * ionised / electron
        nuclei = hydrogen + 2.0 * hydrogen**2 / h2 + protons
        share = balance / (balance + electron)
        ions = (ratio * share).sum(axis=0)
        charges = nuclei * ions + protons
        nuclei_slope = (hydrogen + 4.0 * hydrogen**2 / h2) * slope + protons * (slope - 1.0)
        ions_slope = -(ratio * share * (1.0 - share)).sum(axis=0)
        charges_slope = nuclei_slope * ions + nuclei * ions_slope + protons * (slope - 1.0)
        x = x + (np.log(charges) - x) / (1.0 - charges_slope / charges)
    electron = np.exp(x)
    hydrogen = column / (h_minus * electron + h_neutral)
    nuclei = hydrogen + 2.0 * hydrogen**2 / h2 + hydrogen * ionised / electron
    return electron, hydrogen, nuclei


def _molecular_balance(
    temperature: np.ndarray,
    hydrogen: np.ndarray,
    nuclei: np.ndarray,
    electron: np.ndarray,
    abundances: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return the pressures of free neutral C, N and O atoms."""
    constants = {name: dissociation_constant(name, temperature) for name in DIATOMICS}
    # What goes with one free neutral atom besides CO and N₂: its ions, and OH.
    with_one = {symbol: 1.0 + saha(symbol, temperature) / electron for symbol in "CNO"}
    with_one["O"] = with_one["O"] + hydrogen / constants["OH"]
    carbon, nitrogen, oxygen = (nuclei * abundances[symbol] for symbol in "CNO")
    # From C w_C + CO = carbon, O w_O + CO = oxygen and CO = C O / K: a quadratic equation for O.
    unbound = with_one["C"] * constants["CO"]
    half = 0.5 * (carbon - oxygen + with_one["O"] * unbound)
    free_oxygen = _positive_root(with_one["O"], half, unbound * oxygen)
    free_carbon = carbon / (with_one["C"] + free_oxygen / constants["CO"])
    free_nitrogen = _positive_root(2.0 / constants["N2"], 0.5 * with_one["N"], nitrogen)
    return {"C": free_carbon, "N": free_nitrogen, "O": free_oxygen}


def _positive_root(a: np.ndarray, half_b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Solve ``a x² + 2 half_b x = c`` for x > 0, without cancellation for either sign of b."""
    root = np.sqrt(half_b**2 + a * c)
    # Both branches are evaluated; the larger of the two sums keeps each free of division by zero.
    larger = root + np.where(half_b.real > 0.0, half_b, -half_b)
    return np.where(half_b.real > 0.0, c / larger, larger / a)
