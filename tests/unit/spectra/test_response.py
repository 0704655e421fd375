"""Derivatives of spectra as a network sees them, against differences of observed spectra."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra import survey
from starstack.spectra.response import (
    pixels_of,
    seen_derivatives,
    simulated_fill,
    stars_of,
)
from starstack.spectra.simulator import synthesise
from starstack.spectra.sources import write_spectra

SEED = 3
ROWS = np.array([1, 4, 9])


@pytest.fixture(scope="module", autouse=True)
def few_spectra_to_learn_the_fill_from():
    """What masked pixels hold is learnt from fewer spectra: nothing here is about how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "N_LEARNT_FROM", 60)
        yield


def spectra(path, **options):
    data = {"n_stars": 16, "pixel_step": 40, "bad_pixels": 0.1} | options
    write_spectra("made", {"source": "simulated-spectra"} | data, path, seed=SEED)
    return read_dataset(path, ("X", "X_error", "X_noiseless")), data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return spectra(tmp_path_factory.mktemp("response") / "data.h5", seed=11)


def test_they_are_differences_of_spectra_that_are_filled_again(made):
    dataset, options = made
    fill = simulated_fill(dataset, options, SEED)
    found = seen_derivatives(dataset, ROWS, fill)
    stars, pixels = stars_of(dataset)[ROWS], pixels_of(dataset)
    error = dataset.X_error[ROWS].astype(float)
    bad = np.isinf(error)
    assert bad.any()
    for label, step in enumerate((0.5, 1e-3, 1e-3)):
        ends = []
        for sign in (1, -1):
            labels = stars.labels.copy()
            labels[:, label] += sign * step
            flux = synthesise(replace(stars, labels=labels), pixels=pixels)
            ends.append(fill(flux, error, bad))
        difference = (ends[0] - ends[1]) / (2 * step)
        scale = np.abs(difference).max()
        assert np.abs(found[:, label] - difference).max() < 1e-4 * scale
        assert np.abs(difference[bad]).max() > 0.01 * scale  # what is filled in answers, too


def test_the_continuum_does_not_answer(tmp_path):
    dataset, options = spectra(tmp_path / "data.h5", fill="continuum")
    found = seen_derivatives(dataset, ROWS, simulated_fill(dataset, options, SEED))
    bad = np.isinf(dataset.X_error[ROWS])
    assert not np.swapaxes(found, 1, 2)[bad].any()
    assert np.abs(np.swapaxes(found, 1, 2)[~bad]).min(axis=0).max() > 0


def test_another_fill_is_noticed(made):
    dataset, options = made
    with pytest.raises(InputError, match="masked pixels hold something else"):
        simulated_fill(dataset, options | {"fill": "continuum"}, SEED)
    with pytest.raises(InputError, match="masked pixels hold something else"):
        simulated_fill(dataset, options | {"seed": 12}, SEED)


def test_other_data_are_refused(made):
    dataset, _ = made
    with pytest.raises(InputError, match="expected simulated spectra"):
        stars_of(replace(dataset, row_values={}))
    with pytest.raises(InputError, match="not those of the simulator's pixels"):
        pixels_of(replace(dataset, wavelength=dataset.wavelength + 0.05))
    with pytest.raises(InputError, match="expected spectra without noise"):
        seen_derivatives(replace(dataset, X_noiseless=None), ROWS, None)
