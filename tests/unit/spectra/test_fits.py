"""Folders of FITS files in the layout of the SDSS data model."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra.apogee import pixel_grid
from starstack.spectra.fits import BAD_BITS
from starstack.spectra.sources import write_spectra

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
GRID = pixel_grid().combined
STARS = ("2M0001", "2M0002", "2M0003")


def images(visits, seed=0):
    """Flux, error and mask of one star: two combinations and the visits, or the one visit."""
    rng = np.random.default_rng(seed)
    rows = visits + 2 if visits > 1 else 1
    covered = np.zeros(8575, bool)
    covered[GRID] = True
    flux = np.where(covered, rng.uniform(80, 120, (rows, 8575)), 0.0).astype(np.float32)
    error = np.where(covered, rng.uniform(0.5, 2.0, (rows, 8575)), 0.0).astype(np.float32)
    mask = np.where(covered, 0, 1).astype(np.int32) * np.ones((rows, 1), np.int32)
    return flux, error, mask


def write_star(path, star, flux, error, third, header=(), snr=100.0):
    """Write HDU 0 to 3 as the pipeline does; one row is written without its axis."""
    primary = fits.PrimaryHDU()
    primary.header["OBJID"] = star
    primary.header["SNR"] = snr
    for visit in range(1, len(flux) - 1):
        primary.header[f"SNRVIS{visit}"] = 10.0 * visit
    hdus = [primary]
    for image in (flux, error, third):
        hdu = fits.ImageHDU(image[0] if len(image) == 1 else image)
        hdu.header["CRVAL1"], hdu.header["CDELT1"] = 4.179, 6e-6
        hdu.header.update(dict(header))
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stars").mkdir()
    for seed, (star, visits) in enumerate(zip(STARS, (3, 1, 2), strict=True)):
        flux, error, mask = images(visits, seed)
        write_star(tmp_path / f"stars/apStar-r5-{star}.fits", star, flux, error, mask)
    (tmp_path / "labels.csv").write_text(
        "APOGEE_ID,TEFF,LOGG,FE_H,NOTE\n2M0003,4300,1.8,0.1,c\n2M0001,4500,2.1,-0.3,a\n"
        "2M0002,4700,2.5,0.2,b\n"
    )
    return tmp_path


def load(folder, **changes):
    data = {"source": "apogee-fits", "path": str(folder / "stars")}
    data |= {"labels_file": str(folder / "labels.csv")} | changes
    write_spectra("stars", data, folder / "data.h5", seed=1)
    return read_dataset(folder / "data.h5", ("X", "X_error"))


def by_hand(flux, error, bad):
    """Flux and error over the median of the good pixels of each chip."""
    parts = []
    for first, last in ((322, 3242), (3648, 6048), (6412, 8306)):
        chip = slice(first, last)
        scale = np.median(flux[chip][~bad[chip]].astype(float))
        parts.append(np.array([flux[chip] / scale, error[chip] / scale]))
    both = np.concatenate(parts, axis=1)
    masked = bad[GRID]
    return np.where(masked, 1.0, both[0]), np.where(masked, np.inf, both[1])


def test_combined_spectra_and_their_labels(folder):
    dataset = load(folder)
    assert dataset.row_id.tolist() == list(STARS)
    assert dataset.y.tolist() == [[4500, 2.1, -0.3], [4700, 2.5, 0.2], [4300, 1.8, 0.1]]
    assert dataset.group is None
    assert dataset.row_values["snr"].tolist() == [100.0] * 3
    for row, visits in enumerate((3, 1, 2)):
        flux, error, mask = images(visits, row)
        expected = by_hand(flux[0], error[0], mask[0] != 0)
        np.testing.assert_allclose(dataset.X[row], expected[0], rtol=1e-6)
        np.testing.assert_allclose(dataset.X_error[row], expected[1], rtol=1e-6)
    np.testing.assert_allclose(dataset.wavelength, 10 ** (4.179 + 6e-6 * GRID))


def test_visits_and_their_star(folder):
    dataset = load(folder, spectra="visits")
    names = ["2M0001-1", "2M0001-2", "2M0001-3", "2M0002-1", "2M0003-1", "2M0003-2"]
    assert dataset.row_id.tolist() == names
    assert dataset.group.tolist() == [name[:6] for name in names]
    np.testing.assert_array_equal(dataset.row_values["snr"], [10, 20, 30, np.nan, 10, 20])
    flux, error, mask = images(2, 2)
    expected = by_hand(flux[3], error[3], mask[3] != 0)  # rows 0 and 1 are the combinations
    np.testing.assert_allclose(dataset.X[5], expected[0], rtol=1e-6)
    flux, error, mask = images(1, 1)
    np.testing.assert_allclose(dataset.X[3], by_hand(flux[0], error[0], mask[0] != 0)[0], rtol=1e-6)


def test_bits_of_the_mask(folder):
    flux, error, mask = images(1, 1)
    for bit in range(15):
        mask[0, GRID[10 * bit]] |= 1 << bit
    write_star(folder / "stars/apStar-r5-2M0002.fits", "2M0002", flux, error, mask)

    def masked(**changes):
        return (np.flatnonzero(np.isinf(load(folder, **changes).X_error[1])) // 10).tolist()

    assert masked() == list(BAD_BITS)
    assert masked(bad_bits=[3, 12]) == [3, 12]
    assert masked(bad_bits=[]) == []


def test_pixels_that_are_not_numbers(folder):
    flux, error, mask = images(1, 1)
    flux[0, GRID[5]] = np.nan
    error[0, GRID[6]] = np.nan
    error[0, GRID[7]] = 1e10  # how the pipeline marks a pixel without information
    write_star(folder / "stars/apStar-r5-2M0002.fits", "2M0002", flux, error, mask)
    assert np.flatnonzero(np.isinf(load(folder).X_error[1])).tolist() == [5, 6, 7]


def test_normalised_spectra_of_aspcap(folder):
    for file in (folder / "stars").iterdir():
        file.unlink()
    flux, error, _ = images(1, 5)
    flux, error = flux / 100, error / 100
    error[0, GRID[3]] = 1e10
    name = "aspcapStar-r5-v603-2M0003.fits"
    write_star(folder / "stars" / name, "2M0003", flux, error, np.ones_like(flux))
    with pytest.raises(InputError, match="is 4300 in every row"):
        load(folder, normalise="none")
    write_star(folder / "stars/aspcapStar-r5-v603-2M0001.fits", "2M0001", flux, error, flux)
    dataset = load(folder, normalise="none")
    expected = np.where(np.arange(7214) == 3, 1.0, flux[0, GRID])
    np.testing.assert_array_equal(dataset.X[1], expected.astype(np.float32))
    assert np.flatnonzero(np.isinf(dataset.X_error[1])).tolist() == [3]
    with pytest.raises(InputError, match="has no visits; set spectra: combined"):
        load(folder, spectra="visits")


def test_other_pixels(folder):
    assert load(folder, grid="dr17").X.shape == (3, 7514)
    dataset = load(folder, chips=["red"], drop_edge_pixel=True)
    np.testing.assert_allclose(dataset.wavelength, 10 ** (4.179 + 6e-6 * np.arange(6412, 8305)))


def test_stars_without_labels_are_left_out(folder, caplog):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("2M0002", "2M0009"))
    assert load(folder).row_id.tolist() == ["2M0001", "2M0003"]
    assert "left out 1 spectra without labels, such as that of '2M0002'" in caplog.text


def test_blanks_around_names_of_stars(folder):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("2M0002", " 2M0002 "))
    assert load(folder).row_id.tolist() == list(STARS)
    spoil(folder, star=" 2M0002 ")
    assert load(folder).row_id.tolist() == list(STARS)


def test_a_ratio_that_is_not_a_number_is_none(folder):
    spoil(folder, snr="none")
    np.testing.assert_array_equal(load(folder).row_values["snr"], [100, np.nan, 100])


@pytest.mark.parametrize(
    ("begin", "star"),
    [
        ("apStar-r5", "2M00000001-1234561"),
        ("apStar-dr17", "2M00000001+1234561"),
        ("asStar-dr17", "AP17262551-2822127"),
        ("aspcapStar-r5-v603", "2M00000001-1234561"),
        ("aspcapStar-r6-l30e.2", "2M00000001-1234561"),
        ("apStar-r5", "VESTA"),
        ("apStar", "2M0002"),
    ],
)
def test_a_star_that_only_the_name_of_the_file_tells(folder, begin, star):
    for file in (folder / "stars").iterdir():
        file.unlink()
    parts = images(1, 1)
    write_star(folder / f"stars/{begin}-{star}.fits", "", *parts)
    write_star(folder / f"stars/{begin}-2M00000009-1234561.fits", "", *parts)
    (folder / "labels.csv").write_text(f"APOGEE_ID,TEFF\n{star},4300\n2M00000009-1234561,4400\n")
    dataset = load(folder, labels={"teff": "TEFF"})
    assert sorted(dataset.row_id.tolist()) == sorted([star, "2M00000009-1234561"])


def test_missing_labels(folder):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("2.5", "-9999"))
    message = "label 'logg' is -9999 in row '2M0002', and labels are missing in 1 of 3 rows"
    with pytest.raises(InputError, match=message):
        load(folder)
    assert load(folder, drop_missing_labels=True).row_id.tolist() == ["2M0001", "2M0003"]


def spoil(folder, **changes):
    flux, error, mask = images(1, 1)
    options = {"star": "2M0002", "flux": flux, "error": error, "third": mask} | changes
    write_star(folder / "stars/apStar-r5-2M0002.fits", **options)


def changed(at, value, image=0):
    parts = images(1, 1)
    parts[image][0, GRID[at]] = value
    return parts[image]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"header": {"CRVAL1": 4.18}},
            "the wavelength grid differs: CRVAL1 is 4.18, expected 4.179",
        ),
        (
            {"header": {"CDELT1": 6.1e-6}},
            "the wavelength grid differs: CDELT1 is 6.1e-06, expected",
        ),
        (
            {"flux": np.ones((1, 7214), "f4")},
            r"apStar-r5-2M0002\.fits: has 7214 pixels; expected 8575",
        ),
        (
            {"error": np.ones((1, 8000), "f4")},
            r"error has shape \(8000,\) and type >f4 in each row; expected 8575 numbers",
        ),
        ({"third": np.ones((1, 1), "i4")}, r"mask has shape \(1,\) and type >i4 in each row"),
        ({"header": {"CRVAL1": "text"}}, "the wavelength grid differs: CRVAL1 is nan"),
        ({"error": changed(8, 0.0, 1)}, r"error of column '15169.805' is 0 in row '2M0002'"),
        ({"error": changed(8, -1.0, 1)}, r"error of column '15169.805' is -1 in row '2M0002'"),
        ({"flux": np.full((1, 8575), np.nan, "f4")}, "row '2M0002' has no good pixel"),
    ],
)
def test_each_fault_of_a_file_is_one_line(folder, changes, message):
    spoil(folder, **changes)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1000, 2880, 20000, 40000, 60000, 90000, -2880, -1])
@pytest.mark.filterwarnings("error")
def test_a_file_that_is_cut_short(folder, keep):
    path = folder / "stars/apStar-r5-2M0002.fits"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"apStar-r5-2M0002\.fits.*cut short.*again") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere"}, "there is no folder nowhere"),
        ({"pattern": "*.fit"}, r"no file of .* matches '\*\.fit'"),
        ({"labels_file": "none.csv"}, r"there is no file none\.csv; correct data\.labels_file"),
        ({"id_column": "ID"}, r"data\.id_column: .*labels\.csv: there is no column 'ID'"),
        ({"labels": {"teff": "T"}}, r"data\.labels: .*labels\.csv: there is no column 'T'"),
        ({"bad_bits": [3, -1]}, r"bit -1 of data\.bad_bits; expected 0 to 62"),
        ({"bad_bits": [99]}, r"bit 99 of data\.bad_bits; expected 0 to 62"),
        ({"labels": {"note": "NOTE"}}, "column 'NOTE' is 'c' in row '2M0003', which is not a num"),
        ({"spectra": "visit"}, "there is no kind of spectra 'visit'; did you mean 'visits'"),
        ({"chips": ["purple"]}, "there is no chip 'purple'"),
    ],
)
def test_each_wrong_option_is_one_line(folder, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load(folder, **changes)
    assert "\n" not in str(caught.value)


def test_names_of_files_and_stars(folder):
    stars = folder / "stars"
    (stars / "other.fits").write_bytes((stars / "apStar-r5-2M0001.fits").read_bytes())
    with pytest.raises(InputError, match=r"cannot tell what other\.fits is; expected a name that"):
        load(folder)
    (stars / "other.fits").rename(stars / "apStar-r6-2M0001.fits")
    with pytest.raises(InputError, match=r"'2M0001' is in apStar-r5.* and in apStar-r6-2M0001"):
        load(folder)
    (stars / "apStar-r6-2M0001.fits").unlink()
    table = folder / "labels.csv"
    table.write_text(table.read_text() + "2M0001,4501,2.1,-0.3,a\n")
    with pytest.raises(InputError, match="has 2 lines for star '2M0001'; expected one per star"):
        load(folder)
    table.write_text("APOGEE_ID,TEFF,LOGG,FE_H\nX,1,2,3\n")
    with pytest.raises(InputError, match=r"none of the 3 spectra of .*, such as that of '2M0001'"):
        load(folder)


def test_real_spectra(tmp_path):
    path = SHARED / "apogee_apstar_dr13_24.npz"
    if not path.exists():
        pytest.skip(f"no {path}; set STARSTACK_SHARED_DATA to the folder of the real spectra")
    with np.load(path) as file:
        real = {name: file[name] for name in file.files}
    (tmp_path / "stars").mkdir()
    lines = ["APOGEE_ID,TEFF"]
    for row, star in enumerate(real["apogee_id"].tolist()):
        whole = [np.zeros((1, 8575), real[k].dtype) for k in ("flux", "flux_err", "mask")]
        for image, name in zip(whole, ("flux", "flux_err", "mask"), strict=True):
            image[0, GRID] = real[name][row]
        name = tmp_path / f"stars/apStar-r6-{star}.fits"
        write_star(name, star, *whole, snr=float(real["snr"][row]))
        lines.append(f"{star},{3000 + row}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    dataset = load(tmp_path, labels={"teff": "TEFF"})
    order = np.argsort(real["apogee_id"])
    assert dataset.row_id.tolist() == real["apogee_id"][order].tolist()
    np.testing.assert_array_equal(dataset.row_values["snr"], real["snr"][order].astype(float))
    bits = sum(1 << bit for bit in BAD_BITS)
    flagged = (real["mask"][order] & bits) != 0
    masked = np.isinf(dataset.X_error)
    assert masked[flagged].all()
    assert (masked & ~flagged).mean() < 0.02
    # Late dwarfs: about half of the pixels of each chip lie above its median, by construction.
    for span in pixel_grid().chips.values():
        good = np.where(masked[:, span], np.nan, dataset.X[:, span])
        np.testing.assert_allclose(np.nanmedian(good, axis=1), 1.0, atol=0.01)


def test_more_files_than_a_block(folder):
    flux, error, mask = images(1, 1)
    lines = ["APOGEE_ID,TEFF,LOGG,FE_H"]
    for file in (folder / "stars").iterdir():
        file.unlink()
    for number in range(130):
        star = f"S{number:03d}"
        write_star(folder / f"stars/apStar-{star}.fits", star, flux + number, error, mask)
        lines.append(f"{star},{number},{number},{number}")
    (folder / "labels.csv").write_text("\n".join(lines))
    dataset = load(folder)
    for row in (0, 127, 128, 129):
        expected = by_hand(flux[0] + np.float32(row), error[0], mask[0] != 0)[0]
        np.testing.assert_allclose(dataset.X[row], expected, rtol=1e-5)
    with h5py.File(folder / "data.h5") as file:
        assert file["X"].shape == (130, 7214)
