"""The noise model: unbiased, as strong as asked for, alike to that of real spectra."""

import os
from pathlib import Path

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.apogee import CHIPS, RESOLVING_POWER, wavelength
from starstack.spectra.noise import (
    CONTINUUM_ERROR,
    OH_LINES,
    SKY_PEAK,
    NoiseProfile,
    draw_bad_pixels,
    noise_profile,
    observe,
    pixel_errors,
    sky_emission,
)

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
ALL = np.arange(7214)


def depths(n, p=7214, seed=0):
    """Spectra with lines of every depth."""
    return 1.0 - 0.5 * np.random.default_rng(seed).beta(0.3, 3.0, (n, p))


def test_median_signal_to_noise_is_the_requested_one():
    flux, snr = depths(5), np.array([10.0, 30.0, 100.0, 200.0, 1000.0])
    error = pixel_errors(flux, snr, noise_profile(ALL))
    np.testing.assert_allclose(np.median(flux / error, axis=1), snr, rtol=1e-12)


def test_variance_is_that_of_the_photons():
    flux = np.array([[1.0, 0.5, 0.25, 1.0, 1.0]])
    profile = NoiseProfile(np.array([0.0, 0.0, 0.0, 3.0, 0.0]), np.array([1.0, 1, 1, 1, 0.25]))
    error = pixel_errors(flux, np.array([50.0]), profile)[0]
    np.testing.assert_allclose(error**2 / error[0] ** 2, [1.0, 0.5, 0.25, 4.0, 4.0])


def test_a_saturated_line_keeps_a_positive_error():
    flux = np.array([[1.0, 0.0, -1e-3, 1.0, 1.0]])
    error = pixel_errors(flux, np.array([50.0]), NoiseProfile(np.zeros(5), np.ones(5)))
    assert (error > 0).all()


def test_noise_is_unbiased_and_of_unit_variance():
    flux = depths(60)
    snr = np.geomspace(10, 300, 60)
    block = observe(flux, snr, noise_profile(ALL), 7, 0, bad_pixels=0.02)
    good = np.isfinite(block["X_error"])
    z = ((block["X"] - block["X_noiseless"]) / block["X_error"])[good].astype(float)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    # Neighbours are independent, and so are spectra.
    rows = np.where(good, (block["X"] - block["X_noiseless"]) / block["X_error"], 0.0)
    for product in (rows[:, 1:] * rows[:, :-1], rows[1:] * rows[:-1]):
        assert abs(product.mean()) < 4 / np.sqrt(product.size)


def test_masked_pixels_hold_the_continuum_and_an_infinite_error():
    always = np.zeros(7214, dtype=bool)
    always[100:110] = True
    block = observe(
        depths(4), np.full(4, 50.0), noise_profile(ALL), 1, 0, bad_pixels=0.1, always_bad=always
    )
    masked = np.isinf(block["X_error"])
    assert masked[:, 100:110].all()
    assert 0.05 < masked.mean() < 0.2
    assert (block["X"][masked] == 1).all()
    assert (block["X_noiseless"][masked] == 1).all()
    assert {array.dtype for array in block.values()} == {np.dtype(np.float32)}


def test_each_spectrum_has_a_noise_of_its_own_whatever_the_block():
    flux, snr, profile = depths(6), np.full(6, 50.0), noise_profile(ALL)
    whole = observe(flux, snr, profile, 3, 10, bad_pixels=0.02)
    part = observe(flux[4:], snr[4:], profile, 3, 14, bad_pixels=0.02)
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][4:])
    same_star = observe(flux[[0, 0]], snr[:2], profile, 3, 0, bad_pixels=0.0)
    assert not np.array_equal(same_star["X"][0], same_star["X"][1])
    other_seed = observe(flux, snr, profile, 4, 10, bad_pixels=0.02)
    assert not np.array_equal(whole["X"], other_seed["X"])


@pytest.mark.parametrize(("share", "mean_run"), [(0.02, 4.0), (0.3, 4.0), (0.1, 1.5)])
def test_bad_pixels_have_the_share_and_the_runs_asked_for(share, mean_run):
    rng = np.random.default_rng(2)
    bad = np.array([draw_bad_pixels(500, share, rng, mean_run) for _ in range(4000)])
    # The mean of one draw of 500 scatters by the length of the runs; measured over the draws.
    means = bad.mean(axis=1)
    assert abs(means.mean() - share) < 4 * means.std() / np.sqrt(len(means))
    # Stationary: no pixel is more often bad than another, also the first and the last.
    at = bad.mean(axis=0)
    assert abs(at - share).max() < 5 * np.sqrt(share * (1 - share) / len(bad))
    # The chance that a bad pixel is followed by a good one is 1 / mean run.
    ends = np.count_nonzero(bad[:, :-1] & ~bad[:, 1:]) / np.count_nonzero(bad[:, :-1])
    assert ends == pytest.approx(1 / mean_run, rel=0.05)


def test_a_large_share_takes_longer_runs():
    rng = np.random.default_rng(3)
    means = np.array([draw_bad_pixels(2000, 0.9, rng).mean() for _ in range(500)])
    assert abs(means.mean() - 0.9) < 4 * means.std() / np.sqrt(len(means))


def test_no_bad_pixels_if_none_are_asked_for():
    assert not draw_bad_pixels(1000, 0.0, np.random.default_rng(0)).any()


def test_sky_lines_have_the_instrument_s_width_and_their_strength():
    centre, intensity = OH_LINES[np.argmin(abs(OH_LINES[:, 0] - 16903.68))]
    near = np.linspace(centre - 3, centre + 3, 6001)
    emission = sky_emission(near)
    assert emission.max() == pytest.approx(SKY_PEAK * intensity, rel=1e-6)
    wide = near[emission > emission.max() / 2]
    assert np.ptp(wide) == pytest.approx(centre / RESOLVING_POWER, abs=0.003)


def test_every_sky_line_lies_in_the_spectra_and_in_order():
    assert (np.diff(OH_LINES[:, 0]) > 0).all()
    assert wavelength()[0] < OH_LINES[0, 0] < OH_LINES[-1, 0] < wavelength()[-1] + 20
    assert OH_LINES[:, 1].max() == 1.0


def test_continuum_errors_are_those_of_the_table():
    profile = noise_profile(ALL)
    no_sky = NoiseProfile(np.zeros(7214), profile.throughput)
    error = pixel_errors(np.ones((1, 7214)), np.array([100.0]), no_sky)[0]
    for chip, span in CHIPS.items():
        ends = error[span][[0, -1]]
        assert ends[0] / ends[1] == pytest.approx(
            CONTINUUM_ERROR[chip][1][0] / CONTINUUM_ERROR[chip][1][-1]
        )


def test_a_profile_of_some_pixels_is_that_part_of_the_whole():
    some = np.arange(3000, 5000, 7)
    whole, part = noise_profile(ALL), noise_profile(some)
    np.testing.assert_array_equal(part.sky, whole.sky[some])
    np.testing.assert_array_equal(part.throughput, whole.throughput[some])


def test_the_profile_is_like_that_of_real_spectra():
    path = SHARED / "apogee_apstar_dr13_24.npz"
    if not path.exists():
        pytest.skip(f"no {path}; set STARSTACK_SHARED_DATA to the folder of the real spectra")
    with np.load(path) as file:
        flux, error = file["flux"].astype(float), file["flux_err"].astype(float)
        bad = ((file["mask"] & 0xFF) != 0) | (flux <= 0)
    ratio = np.full(flux.shape, np.nan)
    for span in CHIPS.values():
        for row in range(len(flux)):
            good = ~bad[row, span]
            scale = np.median(flux[row, span][good])
            ratio[row, span] = np.where(good, error[row, span] / scale, np.nan)
    real = np.nanmedian(ratio / np.nanmedian(ratio, axis=1, keepdims=True), axis=0)
    model = pixel_errors(np.ones((1, 7214)), np.array([100.0]), noise_profile(ALL))[0]
    model = model / np.median(model)
    usable = np.isfinite(real)
    assert np.corrcoef(np.log(real[usable]), np.log(model[usable]))[0, 1] > 0.8
    quantiles = [5, 25, 50, 75, 95]
    np.testing.assert_allclose(
        np.percentile(model[usable], quantiles), np.percentile(real[usable], quantiles), rtol=0.2
    )


@pytest.mark.parametrize("share", [-0.01, 1.0, 1.5, np.nan])
def test_a_share_of_bad_pixels_that_is_none(share):
    with pytest.raises(InputError, match=r"bad_pixels: is .*; expected at least 0 and less than 1"):
        draw_bad_pixels(100, share, np.random.default_rng(0))
