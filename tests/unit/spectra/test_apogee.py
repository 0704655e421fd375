"""The pixel grid: as the survey publishes it."""

import os
from pathlib import Path

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.apogee import CHIPS, GRIDS, N_PIXELS, pixel_grid, wavelength

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))


def test_chips_begin_and_end_where_the_survey_says():
    grid = wavelength()
    assert N_PIXELS == len(grid) == 7214
    edges = [(grid[chip][0], grid[chip][-1]) for chip in CHIPS.values()]
    published = [(15168.13, 15792.32), (15881.37, 16416.55), (16499.55, 16936.75)]
    np.testing.assert_allclose(edges, published, atol=0.005)


@pytest.mark.parametrize(("name", "n_pixels"), [("dr12", 7214), ("dr17", 7514)])
def test_steps_are_equal_in_log_wavelength_within_each_chip(name, n_pixels):
    grid = pixel_grid(name)
    assert len(grid.wavelength) == n_pixels
    assert sum(chip.stop - chip.start for chip in grid.chips.values()) == n_pixels
    for chip in grid.chips.values():
        steps = np.diff(np.log10(grid.wavelength[chip]))
        np.testing.assert_allclose(steps, 6e-6, rtol=1e-8)


def test_grids_agree_on_pixels_that_both_hold():
    dr12, dr17 = GRIDS["dr12"], GRIDS["dr17"]
    shared, first, second = np.intersect1d(dr12.combined, dr17.combined, return_indices=True)
    assert len(shared) > 6000
    np.testing.assert_array_equal(dr12.wavelength[first], dr17.wavelength[second])


def test_unknown_grid_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="expected one of dr12, dr17, got 'dr99'"):
        pixel_grid("dr99")


def test_grid_is_that_of_real_spectra():
    path = SHARED / "apogee_cannon_giants.npz"
    if not path.is_file():
        pytest.skip(f"no {path}: set STARSTACK_SHARED_DATA")
    np.testing.assert_allclose(wavelength(), np.load(path)["wavelength"], rtol=1e-10)
