"""What every source of spectra delivers, and what the sources that make spectra share."""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from starstack.data.noise_correlation import noise_correlation
from starstack.errors import InputError
from starstack.seeds import derive_seed
from starstack.spectra.filling import Components, Continuum, Fill, fit_components
from starstack.spectra.noise import noise_profile, observe
from starstack.spectra.normalisation import Pixels

logger = logging.getLogger(__name__)

# Spectra that are in memory together. A constant: linear algebra may round a sum of another number
# of rows differently, and the spectra of one seed are to be the same everywhere.
BLOCK = 128

# Principal components that masked pixels are filled by, and the spectra that they are learnt from.
# With 40, labels are as good as without masks; there are ten numbers to a star.
N_COMPONENTS, N_LEARNT_FROM = 40, 1000

# Catalogues write a label that could not be determined as -9999, -9999.99, -999 and the like; no
# label is as low.
MISSING_LABEL = -999.0


@dataclass(frozen=True)
class Run:
    """What a source is told besides its options.

    Attributes
    ----------
    where : str
        The data set, for the messages.
    seed : int
        What is drawn depends on this.
    threads : int
        Blocks of spectra that are made at the same time; the spectra do not depend on it.
    noise_correlation : sequence of float
        Of pixels 1, 2, … apart; see `starstack.data.noise_correlation`.
    """

    where: str
    seed: int
    threads: int = 1
    noise_correlation: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Survey:
    """Spectra that are read or made block by block.

    Attributes
    ----------
    targets : dict of str to ndarray of float64, shape (n,)
        Labels by name.
    pixels : Pixels
        The features.
    blocks : generator of mappings
        The tables of a data set, in the order of the rows.
    row_id : ndarray of str, shape (n,)
        Names of the spectra.
    group : ndarray of str, shape (n,), or None
        Names of the stars.
    row_values : dict of str to ndarray of float64, shape (n,)
        What else is known of each spectrum.
    provenance : dict of str to str
        Where the spectra came from.
    """

    targets: Mapping[str, np.ndarray]
    pixels: Pixels
    blocks: Generator[Mapping[str, np.ndarray], None, None]
    row_id: np.ndarray
    group: np.ndarray | None = None
    row_values: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)


def complete_rows(
    targets: Mapping[str, np.ndarray], row_id: np.ndarray, drop: bool, where: str
) -> np.ndarray:
    """Return which rows have all labels, as positions.

    Parameters
    ----------
    targets : mapping of str to ndarray, shape (n,)
        Labels by name; -999 or less, or not a number, where one is missing.
    row_id : ndarray of str, shape (n,)
        Names of the rows, for the messages.
    drop : bool
        Whether rows with a missing label are left out.
    where : str
        What the messages begin with.

    Raises
    ------
    InputError
        If labels are missing and `drop` is false, or no row is left.

    Examples
    --------
    >>> teff = np.array([4500.0, -9999.0, 5100.0])
    >>> complete_rows({"teff": teff}, np.array(["a", "b", "c"]), True, "").tolist()
    [0, 2]
    """
    missing = {
        name: ~np.isfinite(values) | (values <= MISSING_LABEL) for name, values in targets.items()
    }
    either = np.logical_or.reduce(list(missing.values()))
    count, total = np.count_nonzero(either), len(either)
    if count and not drop:
        first = int(np.argmax(either))
        name = next(name for name, flags in missing.items() if flags[first])
        raise InputError(
            f"{where}: label '{name}' is {targets[name][first]:g} in row '{row_id[first]}', and "
            f"labels are missing in {count} of {total} rows; remove them, or set "
            "drop_missing_labels: true"
        )
    if count == total:
        raise InputError(f"{where}: all of the {total} rows lack a label; expected some with all")
    if count:
        logger.warning("%s: left out %d of %d rows with missing labels", where, count, total)
    return np.flatnonzero(~either)


def draw_snr(n: int, snr: Sequence[float], run: Run) -> np.ndarray:
    """Draw signal-to-noise ratios, log-uniform between two, shape (n,).

    Raises
    ------
    InputError
        If they are not two numbers above 0 in ascending order.
    """
    if len(snr) != 2 or not 0 < snr[0] <= snr[1]:
        raise InputError(
            f"{run.where}: snr is {list(snr)}; expected the lowest and the highest, above 0"
        )
    rng = np.random.default_rng(derive_seed(run.seed, "snr"))
    return np.exp(rng.uniform(np.log(snr[0]), np.log(snr[1]), n))


def name_visits(n_stars: int, visits: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the names of the spectra, and those of their stars if a star has several.

    Examples
    --------
    >>> row_id, group = name_visits(2, 2)
    >>> row_id.tolist(), group.tolist()
    (['star-0-1', 'star-0-2', 'star-1-1', 'star-1-2'], ['star-0', 'star-0', 'star-1', 'star-1'])
    """
    digits = len(str(n_stars - 1))
    stars = np.array([f"star-{star:0{digits}d}" for star in range(n_stars)])
    if visits == 1:
        return stars, None
    rows = np.array([f"{star}-{visit}" for star in stars for visit in range(1, visits + 1)])
    return rows, np.repeat(stars, visits)


def choose_fill(kind: str, draw: Callable[[int, int], np.ndarray], run: Run) -> Fill:
    """Return what masked pixels hold.

    Parameters
    ----------
    kind : str
        ``continuum``, or ``components``: what the other pixels of the spectrum predict.
    draw : callable
        Makes noise-free spectra, of their number and a seed, shape (n, p). They are drawn for
        this purpose alone: no spectrum of the study has a part in what fills another.
    run : Run

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if kind == "continuum":
        return Continuum()
    if kind != "components":
        raise InputError(f"{run.where}: fill is {kind!r}; expected continuum or components")
    flux = draw(N_LEARNT_FROM, derive_seed(run.seed, "fill"))
    found: Components = fit_components(flux, N_COMPONENTS)
    logger.info("masked pixels are filled by %d components", len(found.prior.variance))
    return found


def observed(
    synthesise: Callable[[slice], np.ndarray],
    snr: np.ndarray,
    pixels: Pixels,
    run: Run,
    *,
    bad_pixels: float,
    always_bad: np.ndarray | None = None,
    fill: Fill | None = None,
) -> Generator[Mapping[str, np.ndarray], None, None]:
    """Make noiseless spectra and observe them, block after block.

    Parameters
    ----------
    synthesise : callable
        Returns the noiseless flux of some rows, shape (rows, p).
    snr : ndarray, shape (n,)
        Signal-to-noise ratio of the median pixel of each spectrum.
    pixels : Pixels
    run : Run
    bad_pixels : float
        Expected share of pixels that are masked.
    always_bad : ndarray of bool, shape (p,), optional
        Pixels that are masked in every spectrum.
    fill : Fill, optional
        What masked pixels hold; the continuum by default.
    """
    profile = noise_profile(pixels.kept)
    seed = derive_seed(run.seed, "noise")
    correlation = noise_correlation(run.noise_correlation, len(pixels.kept), pixels.wavelength)

    def make(first: int) -> Mapping[str, np.ndarray]:
        rows = slice(first, min(first + BLOCK, len(snr)))
        return observe(
            synthesise(rows),
            snr[rows],
            profile,
            seed,
            first,
            bad_pixels=bad_pixels,
            always_bad=always_bad,
            fill=fill,
            correlation=correlation,
        )

    firsts = iter(range(0, len(snr), BLOCK))
    with ThreadPoolExecutor(run.threads) as pool:
        # One block more than there are threads waits for the file; more would fill the memory.
        waiting: list[Future] = []
        for first in firsts:
            waiting.append(pool.submit(make, first))
            if len(waiting) > run.threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
