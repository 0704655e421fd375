"""A survey of spectra drawn from a Cannon model: labels of real stars, fluxes of a fit to them.

The Cannon (Ness et al. 2015, ApJ 808, 16) models the flux of each pixel as a polynomial of degree
two in the labels ℓ, here centred on a baseline, d = ℓ - ℓ₀:

    f(d) = c₀ + Σᵢ cᵢ dᵢ + Σᵢ≤ⱼ cᵢⱼ dᵢ dⱼ + noise of standard deviation `scatter`.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from starstack.data.names import not_among
from starstack.errors import InputError
from starstack.seeds import derive_seed
from starstack.spectra.apogee import wavelength
from starstack.spectra.array_files import check_file, open_npz, reason
from starstack.spectra.normalisation import check_grid, choose_pixels
from starstack.spectra.survey import Run, Survey, choose_fill, draw_snr, name_visits, observed

LABELS = ("teff", "logg", "fe_h", "alpha_fe")

# Labels are drawn between a star and one of this many neighbours, or fewer if there are fewer.
_NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class CannonModel:
    """A quadratic model of spectra.

    Attributes
    ----------
    coeffs : ndarray, shape (15, p)
        For 4 labels: constant, 4 linear and 10 quadratic terms, (0, 0), (0, 1), …, (3, 3).
    baseline : ndarray, shape (4,)
        Teff in K, logg, [Fe/H], [α/Fe] of the centre.
    scatter : ndarray, shape (p,)
        Standard deviation of real stars about the model.
    training_labels : ndarray, shape (m, 4)
        Labels of the stars that it was fitted to; it holds in their convex hull only.
    bad : ndarray of bool, shape (p,)
        Pixels that should not be used.
    """

    coeffs: np.ndarray
    baseline: np.ndarray
    scatter: np.ndarray
    training_labels: np.ndarray
    bad: np.ndarray

    def flux(self, labels: np.ndarray, kept: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the model spectra, shape (n, p), for labels of shape (n, 4)."""
        d = labels - self.baseline
        i, j = np.triu_indices(d.shape[1])
        terms = np.column_stack([np.ones(len(d)), d, d[:, i] * d[:, j]])
        return terms @ self.coeffs[:, kept].astype(np.float64)

    def derivatives(self, labels: np.ndarray, kept: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Differentiate the model spectra by the labels, exactly.

        Parameters
        ----------
        labels : ndarray of shape (n, 4)
        kept : slice or ndarray of int
            Which pixels.

        Returns
        -------
        ndarray of float64, shape (n, 4, p)
            ∂f/∂ℓᵢ = cᵢ + Σⱼ (1 + δᵢⱼ) cᵢⱼ dⱼ, with i ≤ j in the indices of c.
        """
        d = np.asarray(labels, dtype=float) - self.baseline
        k = d.shape[1]
        coeffs = self.coeffs[:, kept].astype(np.float64)
        result = np.tile(coeffs[1 : 1 + k], (len(d), 1, 1))
        pairs = zip(*np.triu_indices(k), strict=True)
        for (i, j), term in zip(pairs, coeffs[1 + k :], strict=True):
            # For i = j both lines count: the derivative of d² is 2 d.
            result[:, i] += np.outer(d[:, j], term)
            result[:, j] += np.outer(d[:, i], term)
        return result


def read_model(path: str | PathLike[str], where: str) -> CannonModel:
    """Read a model from an .npz file, without pickle.

    Raises
    ------
    InputError
        If the file is missing or damaged, an array is missing, of the wrong shape or not finite,
        there are fewer than two stars, or the wavelengths are not those of DR12.
    """
    where = f"{where}: {path}"
    names = ("coeffs", "baseline", "scatter", "training_labels", "wavelength")
    check_file(path, where)
    try:
        with open_npz(path) as file:
            for name in names:
                if name not in file:
                    raise not_among(where, "array", name, file)
            arrays = {name: file[name] for name in names}
            if "apogee_mask" in file:
                arrays["apogee_mask"] = file["apogee_mask"]
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{where}: cannot be read as .npz ({reason(error)}); copy or download it again, or "
            "correct data.path"
        ) from error
    arrays = {"apogee_mask": np.zeros(len(wavelength()), dtype=bool)} | arrays
    _check_arrays(arrays, where)
    check_grid(arrays.pop("wavelength"), wavelength(), where)
    return CannonModel(bad=arrays.pop("apogee_mask").astype(bool), **arrays)


def _check_arrays(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse arrays that do not make a model."""
    n_labels, n_pixels = len(LABELS), len(wavelength())
    n_terms = 1 + n_labels + n_labels * (n_labels + 1) // 2
    shapes = {
        "coeffs": (n_terms, n_pixels),
        "baseline": (n_labels,),
        "scatter": (n_pixels,),
        "training_labels": ("m", n_labels),
        "apogee_mask": (n_pixels,),
        "wavelength": ("p",),
    }
    for name, shape in shapes.items():
        found = arrays[name].shape
        sizes = [size for size in shape if isinstance(size, int)]
        if len(found) != len(shape) or list(found[len(shape) - len(sizes) :]) != sizes:
            expected = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
            raise InputError(
                f"{where}: {name} has shape {found}; expected ({expected}): give a model of "
                f"{', '.join(LABELS)} on the pixels of DR12"
            )
        if arrays[name].dtype.kind not in "biuf" or not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{where}: {name} holds what is not a finite number; fit the model again"
            )
    if (n_stars := len(arrays["training_labels"])) < 2:
        raise InputError(
            f"{where}: training_labels has {n_stars} stars; expected at least 2: give those that "
            "the model was fitted to"
        )


def draw_labels(model: CannonModel, n: int, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Draw labels near those of real stars, never out of their convex hull.

    Each is the labels of a star, moved towards one of its ten nearest neighbours (in units of the
    standard deviation of each label) by a part of the way that is uniform between 0 and `jitter`
    (Chawla et al. 2002, J. Artif. Intell. Res. 16, 321).

    Returns
    -------
    ndarray, shape (n, 4)

    Raises
    ------
    InputError
        If `jitter` is not between 0 and 1: beyond the neighbour, labels may leave the hull.
    """
    from scipy.spatial import cKDTree

    if not 0 <= jitter <= 1:
        raise InputError(f"jitter: is {jitter:g}; expected 0 to 1")
    labels = model.training_labels.astype(np.float64)
    spread = labels.std(axis=0)
    scaled = labels / np.where(spread > 0, spread, 1.0)
    star = rng.integers(len(labels), size=n)
    count = min(_NEIGHBOURS, len(labels) - 1)
    _, nearest = cKDTree(scaled).query(scaled[star], k=count + 1)
    neighbour = nearest[np.arange(n), rng.integers(1, count + 1, size=n)]
    part = rng.uniform(0, jitter, size=(n, 1))
    return labels[star] + part * (labels[neighbour] - labels[star])


def read_cannon(
    run: Run,
    *,
    path: str | PathLike[str],
    n_stars: int = 2000,
    visits_per_star: int = 1,
    snr: Sequence[float] = (20.0, 300.0),
    bad_pixels: float = 0.02,
    fill: str = "components",
    jitter: float = 1.0,
    scatter: bool = False,
    mask: bool = True,
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Survey:
    """Draw stars from a Cannon model, and observe them.

    Parameters
    ----------
    run : Run
    path : path
        The model, see `read_model`.
    n_stars, visits_per_star : int
        Their product is the number of spectra. The visits of a star differ by their noise.
    snr : sequence of float
        The lowest and the highest signal-to-noise ratio of the median pixel; log-uniform.
    bad_pixels : float
        Expected share of pixels that are masked, besides those that the model calls bad.
    fill : str
        What they hold, see `starstack.spectra.survey.choose_fill`.
    jitter : float
        How far labels move from those of a real star, see `draw_labels`.
    scatter : bool
        Whether noiseless spectra scatter about the model as real stars do.
    mask : bool
        Whether the pixels that the model calls bad are masked.
    chips, drop_edge_pixel, pixel_step
        See `starstack.spectra.normalisation.choose_pixels`.
    """
    pixels = choose_pixels(chips=chips, drop_edge_pixel=drop_edge_pixel, pixel_step=pixel_step)
    model = read_model(path, run.where)
    rng = np.random.default_rng(derive_seed(run.seed, "stars"))
    stars = draw_labels(model, n_stars, jitter, rng)
    labels = np.repeat(stars, visits_per_star, axis=0)
    row_id, group = name_visits(n_stars, visits_per_star)
    ratios = draw_snr(len(row_id), snr, run)
    scatter_seed = derive_seed(run.seed, "scatter")

    def synthesise(rows: slice) -> np.ndarray:
        flux = model.flux(labels[rows], pixels.kept)
        if scatter:
            # The scatter belongs to the star: all its visits have the same.
            for row, spectrum in enumerate(flux, start=rows.start):
                own = np.random.default_rng([scatter_seed, row // visits_per_star])
                spectrum += model.scatter[pixels.kept] * own.standard_normal(len(spectrum))
        return flux

    def draw(n: int, seed: int) -> np.ndarray:
        own = draw_labels(model, n, jitter, np.random.default_rng(seed))
        return model.flux(own, pixels.kept)

    return Survey(
        targets=dict(zip(LABELS[:3], labels.T[:3], strict=True)),
        pixels=pixels,
        blocks=observed(
            synthesise,
            ratios,
            pixels,
            run,
            bad_pixels=bad_pixels,
            always_bad=model.bad[pixels.kept] if mask else None,
            fill=choose_fill(fill, draw, run),
        ),
        row_id=row_id,
        group=group,
        row_values={"snr": ratios, "alpha_fe": labels[:, 3]},
        provenance={"source": "cannon", "path": str(path)},
    )
