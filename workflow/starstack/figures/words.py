"""Words of the figures: targets and their units, structures, kinds of scores, numbers."""

import re
from collections.abc import Mapping

import numpy as np

# Words for names that the library gives. Each kind has a table of its own, because people may call
# a model "network" or a class "test": their names are shown as they are.
TARGETS = {"teff": "Teff (K)", "logg": "log g (dex)", "fe_h": "[Fe/H] (dex)"}
STRUCTURES = {
    "kfac": "KFAC",
    "ekfac": "EKFAC",
    "cg": "conjugate gradients",
    "last_layer": "last layer",
    "low_rank": "low rank",
    "function_space": "function space",
}
FIGURE_WORDS = {
    "out-of-fold": "out-of-fold",
    "cross-validated": "cross-validated",
    "test": "test",
    "in-sample": "in-sample (leaks)",
}


def target_words(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Look up words and unit of a target: those that the config gives, or those of a star's label.

    Examples
    --------
    >>> target_words("teff"), target_words("mass", {"mass": "Mass (kg)"}), target_words("age")
    ('Teff (K)', 'Mass (kg)', 'age')
    """
    return (labels or {}).get(name) or TARGETS.get(name, name)


def structure_words(structure: str) -> str:
    """Look up the words for a structure of the curvature."""
    return STRUCTURES.get(structure, structure)


def method_words(method: str) -> str:
    """Write the name of a way to predict errors: a structure, and what was done with it.

    Examples
    --------
    >>> method_words("last_layer, probit"), method_words("kfac, Student t")
    ('last layer, probit', 'KFAC, Student t')
    """
    structure, comma, rest = method.partition(", ")
    return structure_words(structure) + comma + rest


def name_and_unit(words: str) -> tuple[str, str]:
    """Part words for a target from the unit that they end with.

    Examples
    --------
    >>> name_and_unit("Teff (K)"), name_and_unit("redshift")
    (('Teff', 'K'), ('redshift', ''))
    """
    found = re.fullmatch(r"(.*?) \((.*)\)", words)
    return (found[1], found[2]) if found else (words, "")


def unit_of(words: str) -> str:
    """Return the unit that words for a target end with, its brackets and the space before them.

    Examples
    --------
    >>> unit_of("Teff (K)"), unit_of("redshift")
    (' (K)', '')
    """
    unit = name_and_unit(words)[1]
    return f" ({unit})" if unit else ""


def rounded(value: float, scale: float) -> str:
    """Write a number to the decimals of three digits of a scale.

    Examples
    --------
    >>> rounded(4253.2, 3500), rounded(-0.1011, 2.5), rounded(-0.001, 2.5)
    ('4253', '−0.10', '0.00')
    """
    if not (np.isfinite(value) and np.isfinite(scale)) or scale == 0:
        return "–" if not np.isfinite(value) else f"{value:.3g}".replace("-", "−")
    decimals = int(np.clip(2 - np.floor(np.log10(scale)), 0, 8))
    # Zero without a sign.
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")
