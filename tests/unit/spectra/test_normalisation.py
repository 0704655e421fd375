"""Pixels, chips, medians and masks, against numpy by hand."""

from dataclasses import replace

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.apogee import pixel_grid, wavelength
from starstack.spectra.normalisation import (
    all_pixels,
    check_grid,
    choose_pixels,
    features,
    normalise,
)

IDS = np.array(["s0", "s1", "s2"])
PIXELS = all_pixels(6, None)


def make(**changes):
    rng = np.random.default_rng(4)
    flux = rng.uniform(50, 150, (3, 6))
    return {"flux": flux, "error": 0.1 * flux, "bad": np.zeros((3, 6), bool)} | changes


def test_all_chips_are_the_grid():
    pixels = choose_pixels()
    np.testing.assert_array_equal(pixels.kept, np.arange(7214))
    np.testing.assert_array_equal(pixels.wavelength, wavelength())
    assert len(set(pixels.names)) == 7214


def test_chips_are_kept_in_the_order_of_wavelength():
    pixels = choose_pixels(chips=["red", "blue"], pixel_step=3, drop_edge_pixel=True)
    both = np.concatenate([np.arange(2920), np.arange(5320, 7214)])
    np.testing.assert_array_equal(pixels.kept, both[::3][:-1])
    np.testing.assert_array_equal(pixels.wavelength, wavelength()[pixels.kept])
    assert pixels.names[0] == "15168.129"


def test_without_the_edge_pixel_there_are_7213():
    np.testing.assert_array_equal(choose_pixels(drop_edge_pixel=True).kept, np.arange(7213))


def test_another_grid_has_its_own_chips():
    pixels = choose_pixels(pixel_grid("dr17"), chips=["green"])
    assert (pixels.width, len(pixels.kept)) == (7514, 2495)


def test_an_unknown_chip_is_named():
    with pytest.raises(InputError, match="there is no chip 'gren'; did you mean 'green'"):
        choose_pixels(chips=["gren"])


def test_medians_of_each_chip_over_its_good_pixels():
    bad = np.zeros((3, 6), bool)
    bad[0, 1] = bad[2, 4] = bad[2, 5] = True
    data = make(bad=bad)
    chips = [slice(0, 3), slice(3, 6)]
    scaled, error = normalise(data["flux"], data["error"], bad, chips)
    for row in range(3):
        for chip in chips:
            good = data["flux"][row, chip][~bad[row, chip]]
            np.testing.assert_allclose(scaled[row, chip], data["flux"][row, chip] / np.median(good))
    # The signal-to-noise ratio of a pixel is no matter of units.
    np.testing.assert_allclose(scaled / error, data["flux"] / data["error"])


def test_a_chip_without_continuum_is_masked():
    data = make()
    data["flux"][1, 3:] = [-1.0, -2.0, 5.0]
    data["bad"][2, :3] = True
    block = features(
        **data,
        pixels=replace(PIXELS, chips=(slice(0, 3), slice(3, 6))),
        row_id=IDS,
        where="set",
        method="chip-median",
    )
    masked = np.isinf(block["X_error"])
    expected = np.zeros((3, 6), bool)
    expected[1, 3:] = expected[2, :3] = True
    np.testing.assert_array_equal(masked, expected)
    assert (block["X"][masked] == 1).all()


def test_what_is_not_a_number_is_masked():
    data = make()
    data["flux"][0, 2] = np.nan
    data["flux"][1, 3] = np.inf
    data["error"][1, 0] = np.nan
    data["error"][2, 5] = np.inf
    data["bad"][2, 1] = True
    data["error"][2, 1] = 0.0  # of a bad pixel, which does not matter
    block = features(**data, pixels=PIXELS, row_id=IDS, where="set", method="none")
    masked = {(0, 2), (1, 3), (1, 0), (2, 5), (2, 1)}
    assert set(map(tuple, np.argwhere(np.isinf(block["X_error"])).tolist())) == masked
    assert all(block["X"][at] == 1 for at in masked)
    good = np.isfinite(block["X_error"])
    np.testing.assert_array_equal(block["X"][good], data["flux"][good].astype(np.float32))
    np.testing.assert_array_equal(block["X_error"][good], data["error"][good].astype(np.float32))


def test_large_errors_are_masked_in_units_of_the_continuum():
    data = make(flux=np.full((3, 6), 100.0), error=np.full((3, 6), 10.0))
    data["error"][1, 2] = 650.0
    options = {"pixels": PIXELS, "row_id": IDS, "where": "set", "method": "chip-median"}
    block = features(**data, **options, max_error=6.0)
    assert np.argwhere(np.isinf(block["X_error"])).tolist() == [[1, 2]]
    assert np.isfinite(features(**data, **options)["X_error"]).all()


def test_only_the_kept_pixels_are_returned_but_all_count_for_the_median():
    data = make()
    pixels = all_pixels(6, np.arange(6) + 15000.0, pixel_step=2)
    block = features(**data, pixels=pixels, row_id=IDS, where="set", method="chip-median")
    expected = data["flux"] / np.median(data["flux"], axis=1, keepdims=True)
    np.testing.assert_allclose(block["X"], expected[:, ::2], rtol=1e-6)
    assert pixels.names == ("15000.000", "15002.000", "15004.000")


def test_without_errors_there_are_none():
    data = make(error=None)
    data["flux"][0, 0] = np.nan
    block = features(**data, pixels=PIXELS, row_id=IDS, where="set", method="none")
    assert list(block) == ["X"]
    assert block["X"][0, 0] == 1


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (
            (1, 2),
            0.0,
            r"set: the error of column 'x2' is 0 in row 's1', and not above 0 in 1 value",
        ),
        ((2, 0), -3.0, "set: the error of column 'x0' is -3 in row 's2'"),
    ],
)
def test_an_error_that_is_not_positive_is_refused(at, value, message):
    data = make()
    data["error"][at] = value
    with pytest.raises(InputError, match=message):
        features(**data, pixels=PIXELS, row_id=IDS, where="set", method="none")


def test_a_spectrum_without_a_good_pixel_is_refused():
    data = make()
    data["flux"][1] = np.nan
    with pytest.raises(InputError, match=r"row 's1' has no good pixel, .* have 1 of these 3"):
        features(**data, pixels=PIXELS, row_id=IDS, where="set", method="chip-median")


def test_the_same_grid_passes_and_another_does_not():
    check_grid(wavelength() * (1 + 1e-9), wavelength(), "file")
    with pytest.raises(InputError, match="has 7213 wavelengths; expected 7214"):
        check_grid(wavelength()[1:], wavelength(), "file")
    shifted = 10 ** (np.log10(wavelength()) + 6e-6)  # by one pixel, as some versions are
    with pytest.raises(InputError, match=r"grid differs: pixel \d+ is at [\d.]+ Å, expected"):
        check_grid(shifted, wavelength(), "file")
    air = wavelength() / 1.000273
    with pytest.raises(InputError, match="grid differs"):
        check_grid(air, wavelength(), "file")
    with pytest.raises(InputError, match="grid differs: pixel 5 is at nan"):
        check_grid(np.where(np.arange(7214) == 5, np.nan, wavelength()), wavelength(), "file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chips": []}, "chips: is empty; expected some of blue, green, red"),
        ({"pixel_step": 0}, "pixel_step: is 0; expected 1 or more"),
    ],
)
def test_a_choice_of_no_pixels_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        choose_pixels(**options)


def test_an_error_counts_only_where_the_pixel_is_kept():
    data = make()
    data["error"][1, 3] = -1.0
    lam = np.arange(6) + 15000.0
    options = {"row_id": IDS, "where": "set", "method": "chip-median"}
    features(**data, pixels=all_pixels(6, lam, pixel_step=2), **options)
    with pytest.raises(InputError, match=r"the error of column '15003\.000' is -1 in row 's1'"):
        features(**data, pixels=all_pixels(6, lam, pixel_step=3), **options)
