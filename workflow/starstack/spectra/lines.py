"""Lines of atoms, from published tables, and of hydrogen, from Rydberg's formula.

``atomic_lines.csv`` holds 200 lines of neutral atoms, each with its source:

S13
    Smith et al. 2013, ApJ 765, 16, tables 2 and 5: lines chosen for abundances in the H band, their
    oscillator strengths calibrated on the Sun and Arcturus.
K
    Kurucz 2011, Can. J. Phys. 89, 417 (kurucz.harvard.edu), as collected in linemake (Placco et al.
    2021, RNAAS 5, 92): the lines that are strongest, after those above, in a layer of gas
    (`starstack.spectra.atmosphere`) of any of ten stars between 3800 and 7000 K.

No strength is fitted to observations here.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from starstack.spectra.constants import RYDBERG_HYDROGEN, WAVENUMBER_PER_EV

__all__ = ["Brackett", "LineList", "atomic_lines", "brackett_lines", "read_lines", "to_vacuum"]

DATA_FILES = ("atomic_lines.csv",)


@dataclass(frozen=True)
class LineList:
    """Spectral lines, in any order.

    Attributes
    ----------
    species : ndarray of str, shape (m,)
        The atom or molecule.
    wavelength : ndarray, shape (m,)
        In vacuum, Å.
    excitation : ndarray, shape (m,)
        Energy of the lower level, eV.
    log_gf : ndarray, shape (m,)
        log10 of the statistical weight of the lower level times the oscillator strength.
    """

    species: np.ndarray
    wavelength: np.ndarray
    excitation: np.ndarray
    log_gf: np.ndarray

    def __len__(self) -> int:
        return len(self.wavelength)

    def __add__(self, other: "LineList") -> "LineList":
        return LineList(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS)
        )

    def only(self, *species: str) -> "LineList":
        """Return the lines of some species."""
        chosen = np.isin(self.species, species)
        return LineList(*(getattr(self, name)[chosen] for name in _COLUMNS))


_COLUMNS = ("species", "wavelength", "excitation", "log_gf")


@dataclass(frozen=True)
class Brackett:
    """Lines of hydrogen from the level n = 4 to the levels ``upper``.

    Attributes
    ----------
    upper : ndarray of int, shape (m,)
    wavelength : ndarray, shape (m,)
        In vacuum, Å.
    excitation : float
        Energy of the level n = 4, eV.
    log_gf : ndarray, shape (m,)
    stark : ndarray, shape (m,)
        Griem's (1960, ApJ 132, 883, eq. 33) constants: shift in Å per unit (cgs) of the electric
        field.
    """

    upper: np.ndarray
    wavelength: np.ndarray
    excitation: float
    log_gf: np.ndarray
    stark: np.ndarray


def to_vacuum(air: np.ndarray | float) -> np.ndarray:
    """Convert wavelengths in standard air to vacuum, in Å (Ciddor 1996, Appl. Opt. 35, 1566).

    Examples
    --------
    Brackett 11:

    >>> float(to_vacuum(16806.538))
    16811.1...
    """
    air = np.asarray(air, dtype=np.float64)
    squared = (1e4 / air) ** 2
    return air * (1.0 + 0.05792105 / (238.0185 - squared) + 0.00167917 / (57.362 - squared))


def read_lines(name: str) -> LineList:
    """Read a table of lines that lies beside this module; its wavelengths are those in air."""
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = {
        column: np.array([float(row[column]) for row in rows])
        for column in ("wavelength_air", "excitation", "log_gf")
    }
    return LineList(
        species=np.array([row["species"] for row in rows]),
        wavelength=to_vacuum(numbers["wavelength_air"]),
        excitation=numbers["excitation"],
        log_gf=numbers["log_gf"],
    )


def atomic_lines() -> LineList:
    """Return the lines of neutral atoms other than hydrogen."""
    return read_lines("atomic_lines.csv")


def brackett_lines() -> Brackett:
    """Return Brackett lines 10 to 23, those within or near the H band.

    Oscillator strengths are Kramers' with the Gaunt factor of Menzel & Pekeris (1935, MNRAS 96,
    77) to second order.

    Examples
    --------
    >>> lines = brackett_lines()
    >>> dict(zip(lines.upper.tolist(), lines.wavelength.round(1).tolist()))[11]
    16811.2
    """
    lower, upper = 4.0, np.arange(10, 24)
    difference = lower**-2 - 1.0 / upper**2
    ratio = (lower / upper) ** 2
    scale = lower * (1.0 - ratio)
    gaunt = 1.0 - 0.1728 * (1.0 + ratio) / scale ** (2.0 / 3.0)
    gaunt -= 0.0496 * (1.0 + 4.0 / 3.0 * ratio + ratio**2) / scale ** (4.0 / 3.0)
    kramers = 32.0 / (3.0 * np.pi * np.sqrt(3.0)) / (lower**5 * upper**3.0 * difference**3)
    return Brackett(
        upper=upper,
        wavelength=1e8 / (RYDBERG_HYDROGEN * difference),
        excitation=RYDBERG_HYDROGEN * (1.0 - lower**-2) / WAVENUMBER_PER_EV,
        log_gf=np.log10(2.0 * lower**2 * kramers * gaunt),
        stark=5.5e-5 * (lower * upper) ** 4 / (upper**2 - lower**2),
    )
