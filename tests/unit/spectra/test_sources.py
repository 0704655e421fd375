"""The table of sources, and the simulated one from its options to the data file."""

import json
import logging
import threading

import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra import survey
from starstack.spectra.simulator import NUISANCES, synthesise
from starstack.spectra.sources import SPECTRA_SOURCES, write_spectra
from starstack.spectra.stars import make_stars

TABLES = ("X", "X_error", "X_noiseless")
SMALL = {"source": "simulated-spectra", "n_stars": 140, "pixel_step": 30}


@pytest.fixture(autouse=True)
def few_spectra_to_learn_the_fill_from(monkeypatch):
    """What masked pixels hold is learnt from fewer spectra: nothing here is about how well."""
    monkeypatch.setattr(survey, "N_LEARNT_FROM", 60)


@pytest.fixture
def load(tmp_path):
    def load(seed=1, threads=1, **changes):
        path = tmp_path / "data.h5"
        write_spectra("stars", SMALL | changes, path, seed=seed, threads=threads)
        return read_dataset(path, TABLES)

    return load


def test_simulated_spectra_are_those_of_their_stars(load):
    dataset = load(chips=["green"], bad_pixels=0.0, pixel_step=5)
    kept = np.arange(2920, 5320, 5)
    stars = make_stars(dataset.y, **{name: dataset.row_values[name] for name in NUISANCES})
    np.testing.assert_allclose(dataset.X_noiseless, synthesise(stars, pixels=kept), rtol=1e-6)
    assert dataset.target_names == ("teff", "logg", "fe_h")
    assert (dataset.X.dtype, dataset.X.shape) == (np.float32, (140, 480))
    assert dataset.wavelength.shape == (480,)
    assert dataset.group is None
    snr = dataset.row_values["snr"]
    ratio = np.median(dataset.X_noiseless / dataset.X_error, axis=1)
    np.testing.assert_allclose(ratio, snr, rtol=1e-5)
    assert 20 <= snr.min() < snr.max() <= 300
    z = (dataset.X - dataset.X_noiseless) / dataset.X_error
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)


def test_visits_share_the_star_but_not_the_night(load):
    dataset = load(n_stars=30, visits_per_star=3)
    assert dataset.X.shape == (90, 241)
    assert np.unique(dataset.group, return_counts=True)[1].tolist() == [3] * 30
    by_star = {name: values.reshape(30, 3) for name, values in dataset.row_values.items()}
    for name in ("alpha_fe", "c_n", "v_macro"):
        assert (np.ptp(by_star[name], axis=1) == 0).all()
    for name in ("radial_velocity", "tilt_blue", "tilt_green", "tilt_red", "snr"):
        assert (np.ptp(by_star[name], axis=1) > 0).all()
    assert (np.ptp(dataset.y.reshape(30, 3, 3), axis=1) == 0).all()


def test_share_of_giants(load):
    assert (load(giants=1.0).y[:, 1] < 3.9).all()
    assert (load(giants=0.0).y[:, 1] > 3.7).all()


def test_the_seed_and_nothing_else_decides(load, tmp_path):
    def content(**options):
        load(**options)
        return (tmp_path / "data.h5").read_bytes()

    first = content()
    assert content(threads=3) == first
    assert content(seed=2) != first


def test_a_seed_of_the_source_comes_before_that_of_the_study(tmp_path):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5", tmp_path / "c.h5"]
    for path, own, seed in zip(paths, (7, 7, None), (1, 2, 7), strict=True):
        write_spectra("stars", SMALL | {"seed": own}, path, seed=seed)
    assert len({path.read_bytes() for path in paths}) == 1


def test_noise_of_neighbouring_pixels_is_correlated_where_asked_for(tmp_path):
    def read(**options):
        data = {"source": "simulated-spectra", "n_stars": 40, "pixel_step": 10} | options
        write_spectra("stars", data, tmp_path / "data.h5", seed=1)
        return read_dataset(tmp_path / "data.h5", ("X", "X_error", "X_noiseless"))

    plain, own = read(fill="continuum"), read(fill="continuum", noise_correlation=[0.4, 0.1])
    assert plain.noise_correlation is None and own.noise_correlation.tolist() == [0.4, 0.1]
    np.testing.assert_array_equal(own.X_error, plain.X_error)
    np.testing.assert_array_equal(own.X_noiseless, plain.X_noiseless)
    error = own.X_error.astype(float)
    z = (own.X - own.X_noiseless) / error  # zero where masked
    good = np.isfinite(error)
    for lag, expected in ((1, 0.4), (2, 0.1), (3, 0.0)):
        both = good[:, lag:] & good[:, :-lag]
        found = (z[:, lag:] * z[:, :-lag])[both].mean()
        # Two pairs of 720 columns lie on either side of a gap.
        assert found == pytest.approx(expected, abs=5 / np.sqrt(both.sum()) + 0.003 * lag)
    assert z[good].std() == pytest.approx(1.0, abs=0.02)
    with pytest.raises(InputError, match=r"stars': noise_correlation is \[0\.7\], which"):
        read(noise_correlation=[0.7])


def test_progress_and_provenance(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "data.h5"
    write_spectra("stars", SMALL, path, seed=1, provenance={"rule": "load_spectra"})
    assert "data set 'stars': 140 spectra of 241 pixels, teff, logg, fe_h" in caplog.text
    assert "data set 'stars': 128 of 140 spectra" in caplog.text
    assert "data set 'stars': 140 of 140 spectra" in caplog.text
    provenance = read_dataset(path).provenance
    assert provenance["source"] == "simulated-spectra"
    assert provenance["rule"] == "load_spectra"
    assert json.loads(provenance["options"])["n_stars"] == 140


def test_sources_are_the_documented_ones():
    assert list(SPECTRA_SOURCES) == [
        "simulated-spectra",
        "cannon",
        "starnet-hdf5",
        "spectra-arrays",
        "apogee-fits",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": "simulated"}, "no source 'simulated'; did you mean 'simulated-spectra'"),
        ({}, "no source 'None'; expected one of simulated-spectra, cannon"),
        ({"source": "cannon"}, "source cannon needs 'path'"),
        ({"source": "starnet-hdf5", "path": "x", "seed": 1}, "there is no option 'seed'"),
        (SMALL | {"stars": 3}, "there is no option 'stars'; did you mean 'n_stars'"),
        (SMALL | {"snr": [300, 20]}, "expected the lowest and the highest, above 0"),
        (SMALL | {"chips": ["infrared"]}, "there is no chip 'infrared'"),
        (SMALL | {"bad_pixels": 0.9999}, "has no good pixel, all are missing or masked"),
    ],
)
def test_wrong_options(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        write_spectra("stars", data, tmp_path / "data.h5", seed=1)
    assert "\n" not in str(caught.value)


def test_no_thread_outlives_a_fault(tmp_path):
    before = threading.active_count()
    data = SMALL | {"n_stars": 800, "bad_pixels": 0.9999}
    with pytest.raises(InputError, match="has no good pixel") as caught:
        write_spectra("stars", data, tmp_path / "data.h5", seed=1, threads=2)
    assert caught.tb is not None  # which keeps the generator of the blocks alive
    assert threading.active_count() == before
