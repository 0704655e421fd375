"""The data file of a study of spectra, from wherever the configuration says, block by block."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from os import PathLike
from typing import Any

import numpy as np

from starstack.data.band_spectrum import check_correlation
from starstack.data.checks import check_block, check_header
from starstack.data.dataset import Dataset
from starstack.data.names import not_among
from starstack.data.sources import check_options
from starstack.data.store import write_dataset_blocks
from starstack.spectra.arrays import read_arrays
from starstack.spectra.cannon import read_cannon
from starstack.spectra.fits import read_fits
from starstack.spectra.simulated import read_simulated
from starstack.spectra.starnet import read_starnet
from starstack.spectra.survey import Run, Survey

logger = logging.getLogger(__name__)

SPECTRA_SOURCES: dict[str, Callable[..., Survey]] = {
    "simulated-spectra": read_simulated,
    "cannon": read_cannon,
    "starnet-hdf5": read_starnet,
    "spectra-arrays": read_arrays,
    "apogee-fits": read_fits,
}

# Those that draw something, and take a seed of their own.
_DRAWN = ("simulated-spectra", "cannon")

# How often progress is logged.
_REPORTS = 20


def write_spectra(
    name: str,
    data: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    seed: int,
    threads: int = 1,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Read or make spectra, check them, and write them, a block in memory at a time.

    Parameters
    ----------
    name : str
        Name of the study.
    data : mapping
        ``source``, a key of `SPECTRA_SOURCES`, and the options of that source; a source that
        draws stars and noise also takes a ``seed``, and every one ``noise_correlation``, see
        `starstack.data.noise_correlation`.
    path : path
        The data file, see `starstack.data.store`.
    seed : int
        Used where `data` has no seed.
    threads : int
        Blocks that are made at the same time; the bytes of the file do not depend on it.
    provenance : mapping of str to str, optional
        What is recorded besides what the source says of itself.

    Raises
    ------
    InputError
        If the spectra cannot be read or used; see the sources and
        `starstack.data.checks.check_dataset`.
    """
    where = f"data set '{name}'"
    options = dict(data)
    source = options.pop("source", None)
    if source not in SPECTRA_SOURCES:
        raise not_among(where, "source", source, SPECTRA_SOURCES)
    own_seed = options.pop("seed", None) if source in _DRAWN else None
    correlation = options.pop("noise_correlation", ())
    check_correlation(correlation, where)
    check_options(SPECTRA_SOURCES[source], source, options, where)
    run = Run(where, seed if own_seed is None else own_seed, threads, correlation)
    survey = SPECTRA_SOURCES[source](run, **options)
    columns = [np.asarray(values, dtype=np.float64) for values in survey.targets.values()]
    header = Dataset(
        name=name,
        task="regression",
        X=None,
        y=columns[0] if len(columns) == 1 else np.column_stack(columns),
        row_id=survey.row_id,
        feature_names=survey.pixels.names,
        target_names=tuple(survey.targets),
        group=survey.group,
        wavelength=survey.pixels.wavelength,
        noise_correlation=np.array(correlation, dtype=np.float64) if len(correlation) else None,
        row_values=survey.row_values,
        provenance=survey.provenance | dict(provenance or {}),
    )
    check_header(header)
    logger.info(
        "%s: %d spectra of %d pixels, %s",
        where,
        header.n_rows,
        len(header.feature_names),
        ", ".join(header.target_names),
    )
    # After a fault, threads that make blocks are to end here, not when the garbage is collected.
    with closing(survey.blocks):
        write_dataset_blocks(header, _checked(survey.blocks, header, where), path)


def _checked(
    blocks: Iterator[Mapping[str, np.ndarray]], header: Dataset, where: str
) -> Iterator[Mapping[str, np.ndarray]]:
    """Check each block, and log how far it is."""
    done = reported = 0
    for block in blocks:
        rows = header.row_id[done : done + len(block["X"])]
        check_block(block, rows, header.feature_names, where)
        yield block
        done += len(rows)
        if done - reported >= header.n_rows / _REPORTS or done == header.n_rows:
            logger.info("%s: %d of %d spectra", where, done, header.n_rows)
            reported = done
