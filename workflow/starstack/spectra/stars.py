"""Stars as APOGEE sees them: giants, clump giants and dwarfs, and what else shapes a spectrum."""

from dataclasses import dataclass

import numpy as np

from starstack.errors import InputError

__all__ = ["BOX", "LABELS", "NUISANCES", "Stars", "draw_stars", "make_stars"]

LABELS = ("teff", "logg", "fe_h")
# Within these limits the simulator is checked; its partition functions are tabulated for them.
BOX = {"teff": (3500.0, 7000.0), "logg": (0.0, 5.0), "fe_h": (-2.5, 0.5)}
NUISANCES = (
    "alpha_fe",
    "c_n",
    "v_macro",
    "radial_velocity",
    "tilt_blue",
    "tilt_green",
    "tilt_red",
)


@dataclass(frozen=True)
class Stars:
    """Labels of n stars, and the nuisances that shape their spectra besides.

    Attributes
    ----------
    labels : ndarray, shape (n, 3)
        Effective temperature in K, log10 of the surface gravity in cm s⁻², and [Fe/H] in dex.
    nuisances : dict of ndarray, each of shape (n,)
        ``alpha_fe``: [α/Fe] in dex; ``c_n``: [C/N] in dex at the star's sum of both; ``v_macro``:
        macroturbulence and rotation as one Gaussian, full width at half maximum in km/s;
        ``radial_velocity``: what is left of it after the shift to rest, in km/s, positive to the
        red; ``tilt_blue``, ``tilt_green``, ``tilt_red``: relative rise of the continuum from the
        middle of a chip to its red end.

    Raises
    ------
    InputError
        If a label lies outside `BOX` or is not finite, or nuisances are missing, of another shape
        or not finite, or ``v_macro`` is negative.

    Examples
    --------
    >>> Stars(np.array([[9000.0, 4.0, 0.0]]), {})
    Traceback (most recent call last):
    starstack.errors.InputError: teff: expected 3500 to 7000, got 9000 for star 0
    """

    labels: np.ndarray
    nuisances: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.shape[1] != len(LABELS):
            raise InputError(
                f"labels: expected shape (n, 3) for {', '.join(LABELS)}, got {self.labels.shape}"
            )
        for name, column in zip(LABELS, self.labels.T, strict=True):
            low, high = BOX[name]
            outside = np.flatnonzero(~((column >= low) & (column <= high)))
            if outside.size:
                star = outside[0]
                raise InputError(
                    f"{name}: expected {low:g} to {high:g}, got {column[star]:g} for star {star}"
                )
        if set(self.nuisances) != set(NUISANCES):
            raise InputError(
                f"nuisances: expected {', '.join(NUISANCES)}, got "
                f"{', '.join(self.nuisances) or 'none'}"
            )
        for name, values in self.nuisances.items():
            if values.shape != (len(self),) or not np.isfinite(values).all():
                raise InputError(
                    f"{name}: expected {len(self)} finite numbers, one for each star, got shape "
                    f"{values.shape}"
                )
        if (self.nuisances["v_macro"] < 0).any():
            raise InputError(
                f"v_macro: is {self.nuisances['v_macro'].min():g} km/s; expected 0 or more"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> "Stars":
        """Return some of the stars."""
        return Stars(
            self.labels[rows], {name: values[rows] for name, values in self.nuisances.items()}
        )


def make_stars(labels: np.ndarray, **nuisances: float | np.ndarray) -> Stars:
    """Make stars of given labels, with typical nuisances where none are given.

    Parameters
    ----------
    labels : ndarray, shape (n, 3)
    **nuisances : float or ndarray of shape (n,)
        Names as in `NUISANCES`. By default [α/Fe], tilts and velocity are zero, and [C/N] and
        ``v_macro`` are typical of the labels.

    Returns
    -------
    Stars

    Examples
    --------
    >>> stars = make_stars([[4750.0, 2.4, 0.0], [5772.0, 4.44, 0.0]], alpha_fe=0.05)
    >>> stars.nuisances["c_n"].round(2).tolist()
    [-0.35, 0.0]
    """
    labels = np.array(labels, dtype=np.float64, ndmin=2)
    unknown = sorted(set(nuisances) - set(NUISANCES))
    if unknown:
        raise InputError(
            f"nuisances: expected some of {', '.join(NUISANCES)}, got {', '.join(unknown)}"
        )
    values = dict.fromkeys(NUISANCES, 0.0)
    values["c_n"] = typical_carbon_to_nitrogen(labels[:, 1])
    values["v_macro"] = typical_macroturbulence(*labels.T)
    values |= nuisances
    filled = {
        name: np.array(np.broadcast_to(value, len(labels)), dtype=np.float64)
        for name, value in values.items()
    }
    return Stars(labels, filled)


def typical_carbon_to_nitrogen(logg: np.ndarray) -> np.ndarray:
    """Return [C/N]: solar before the first dredge-up, −0.35 after it.

    The step near log g = 3.3 and its size are those of solar-mass giants in Martig et al. 2016,
    MNRAS 456, 3655.
    """
    return -0.35 / (1.0 + np.exp((logg - 3.3) / 0.1))


def typical_macroturbulence(teff: np.ndarray, logg: np.ndarray, fe_h: np.ndarray) -> np.ndarray:
    """Return macroturbulence and rotation as a full width at half maximum in km/s.

    Giants: Holtzman et al. 2018, AJ 156, 125. Dwarfs below the Kraft break at 6250 K rotate at 3
    km/s, and faster above it (Kraft 1967, ApJ 150, 551).
    """
    giants = 10.0 ** (0.741 - 0.0998 * logg - 0.225 * fe_h)
    dwarfs = 4.0 + 0.02 * np.clip(teff - 6250.0, 0.0, None)
    return np.where(logg < 3.8, giants, dwarfs)


def draw_stars(n: int, *, seed: int, giants: float = 0.7) -> Stars:
    """Draw stars with the labels of a survey of the Milky Way's disc.

    Two thirds of the giants lie along the red-giant branch and one third in the red clump; dwarfs
    lie along the main sequence and rise from it by their age. The metallicities are those of disc
    and halo, hence with a long tail of metal-poor stars.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Of the random numbers; the same seed gives the same stars.
    giants : float
        Share of the giants, ``0 <= giants <= 1``; the others are dwarfs.

    Returns
    -------
    Stars

    Raises
    ------
    InputError
        If ``n`` is less than one or ``giants`` not a share.

    Examples
    --------
    >>> stars = draw_stars(1000, seed=1)
    >>> stars.labels.shape, round(float((stars.labels[:, 1] < 3.8).mean()), 1)
    ((1000, 3), 0.7)
    """
    if n < 1:
        raise InputError(f"number of stars: expected at least 1, got {n}")
    if not 0.0 <= giants <= 1.0:
        raise InputError(f"share of giants: expected 0 to 1, got {giants}")
    rng = np.random.default_rng(seed)
    n_giants = round(giants * n)
    n_clump = n_giants // 3
    counts = (n_giants - n_clump, n_clump, n - n_giants)
    kinds = zip((_branch, _clump, _dwarfs), counts, strict=True)
    labels = rng.permutation(np.concatenate([draw(count, rng) for draw, count in kinds]))
    for column, (low, high) in zip(labels.T, BOX.values(), strict=True):
        np.clip(column, low, high, out=column)
    teff, logg, fe_h = labels.T
    # α-rich metal-poor stars and two sequences in between (Hayden et al. 2015, ApJ 808, 132).
    rich = rng.random(n) < np.clip(0.15 - 0.8 * fe_h, 0.05, 1.0)
    plateau = np.clip(0.12 - 0.25 * fe_h, 0.0, 0.3)
    ridge = np.where(rich, plateau, np.clip(-0.15 * fe_h, 0.0, 0.1))
    return make_stars(
        labels,
        alpha_fe=rng.normal(ridge, 0.03),
        c_n=rng.normal(typical_carbon_to_nitrogen(logg), 0.12),
        v_macro=typical_macroturbulence(teff, logg, fe_h) * np.exp(rng.normal(0.0, 0.2, n)),
        radial_velocity=rng.uniform(-1.0, 1.0, n),
        **{f"tilt_{chip}": rng.normal(0.0, 0.005, n) for chip in ("blue", "green", "red")},
    )


def _metallicity(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw [Fe/H]: 82 % thin disc, 14 % thick disc, 4 % halo."""
    component = rng.choice(3, size=n, p=(0.82, 0.14, 0.04))
    mean = np.array([-0.05, -0.55, -1.5])[component]
    spread = np.array([0.22, 0.28, 0.45])[component]
    return np.clip(rng.normal(mean, spread), -2.5, 0.45)


def _branch(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw red giants: fewer high up, cooler where richer in metals.

    The ridge is a parabola through 1801 giants of APOGEE DR10 (Ness et al. 2015, ApJ 808, 16).
    """
    fe_h = _metallicity(n, rng)
    logg = rng.triangular(0.2, 3.2, 3.7, n)
    above = logg - 2.5
    ridge = 4730.0 + 430.0 * above - 57.0 * above**2 - 190.0 * fe_h
    return np.stack([rng.normal(ridge, 70.0), logg, fe_h], axis=1)


def _clump(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw red-clump giants (Bovy et al. 2014, ApJ 790, 127): one gravity, 100 K off the branch."""
    fe_h = _metallicity(n, rng)
    logg = rng.normal(2.45, 0.08, n)
    return np.stack([rng.normal(4830.0 - 220.0 * fe_h, 80.0), logg, fe_h], axis=1)


def _dwarfs(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw dwarfs: solar-like ones have left the zero-age sequence, cool ones have not.

    The sequence runs through the Sun and the stars of Pecaut & Mamajek 2013, ApJS 208, 9.
    """
    fe_h = _metallicity(n, rng)
    teff = rng.uniform(3700.0, 6800.0, n)
    sequence = np.interp(teff, (3500.0, 4500.0, 5770.0, 6800.0), (4.85, 4.63, 4.50, 4.30))
    age = rng.random(n) * np.clip((teff - 5000.0) / 1000.0, 0.02, 1.0)
    return np.stack([teff, sequence - 0.45 * age**2 - 0.05 * fe_h, fe_h], axis=1)
