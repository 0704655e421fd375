"""A survey of simulated stars."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from starstack.seeds import derive_seed
from starstack.spectra.normalisation import choose_pixels
from starstack.spectra.simulator import synthesise
from starstack.spectra.stars import LABELS, draw_stars
from starstack.spectra.survey import Run, Survey, choose_fill, draw_snr, name_visits, observed

# What differs between the visits of a star.
OF_A_VISIT = ("radial_velocity", "tilt_blue", "tilt_green", "tilt_red")


def read_simulated(
    run: Run,
    *,
    n_stars: int = 2000,
    giants: float = 0.7,
    visits_per_star: int = 1,
    snr: Sequence[float] = (20.0, 300.0),
    bad_pixels: float = 0.02,
    fill: str = "components",
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Survey:
    """Draw stars, compute their spectra, and observe them.

    The visits of a star share its labels and its atmosphere; each has a radial velocity, a
    continuum and a noise of its own.

    Parameters
    ----------
    run : Run
    n_stars, visits_per_star : int
        Their product is the number of spectra.
    giants : float
        Share of giants.
    snr : sequence of float
        The lowest and the highest signal-to-noise ratio of the median pixel; log-uniform.
    bad_pixels : float
        Expected share of pixels that are masked.
    fill : str
        What they hold, see `starstack.spectra.survey.choose_fill`.
    chips, drop_edge_pixel, pixel_step
        See `starstack.spectra.normalisation.choose_pixels`.
    """
    pixels = choose_pixels(chips=chips, drop_edge_pixel=drop_edge_pixel, pixel_step=pixel_step)
    stars = draw_stars(n_stars, seed=derive_seed(run.seed, "stars"), giants=giants)
    stars = stars[np.repeat(np.arange(n_stars), visits_per_star)]
    row_id, group = name_visits(n_stars, visits_per_star)
    if visits_per_star > 1:
        visits = draw_stars(len(row_id), seed=derive_seed(run.seed, "visits"), giants=giants)
        own = {name: visits.nuisances[name] for name in OF_A_VISIT}
        stars = replace(stars, nuisances=stars.nuisances | own)
    ratios = draw_snr(len(row_id), snr, run)

    options = {"n_stars": n_stars, "visits_per_star": visits_per_star, "giants": giants}
    options |= {"snr": list(snr), "bad_pixels": bad_pixels, "fill": fill}
    return Survey(
        targets=dict(zip(LABELS, stars.labels.T, strict=True)),
        pixels=pixels,
        blocks=observed(
            lambda rows: synthesise(stars[rows], pixels=pixels.kept),
            ratios,
            pixels,
            run,
            bad_pixels=bad_pixels,
            fill=choose_fill(
                fill,
                lambda n, seed: synthesise(
                    draw_stars(n, seed=seed, giants=giants), pixels=pixels.kept
                ),
                run,
            ),
        ),
        row_id=row_id,
        group=group,
        row_values={"snr": ratios} | dict(stars.nuisances),
        provenance={"source": "simulated-spectra", "options": json.dumps(options)},
    )
