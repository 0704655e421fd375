"""Spectra by the names of arrays: HDF5, npz and CSV alike, each fault one line."""

import h5py
import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra.apogee import wavelength
from starstack.spectra.sources import write_spectra

N, P = 300, 12  # more rows than a block has


def arrays(p=P):
    rng = np.random.default_rng(8)
    flux = rng.normal(1, 0.1, (N, p)).astype(np.float32)
    return {
        "flux": flux,
        "sigma": rng.uniform(0.01, 0.1, (N, p)).astype(np.float32),
        "lam": np.linspace(15200, 15300, p),
        "labels": rng.normal([4500, 2.5, -0.2], [200, 0.5, 0.3], (N, 3)),
        "teff": rng.normal(4500, 200, N),
        "logg": rng.normal(2.5, 0.5, (N, 1)),
        "id": np.array([f"2M{row:05d}" for row in range(N)]).astype("S"),
        "star": np.arange(N) // 2,
        "snr": rng.uniform(20, 300, N),
    }


DATA = {
    "source": "spectra-arrays",
    "flux": "flux",
    "error": "sigma",
    "labels": {"teff": "teff", "logg": "logg"},
    "wavelength": "lam",
    "row_id": "id",
    "group": "star",
    "snr": "snr",
}


def write_h5(path, values):
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            file[f"deep/{name}"] = array
    return "deep/"


def write_npz(path, values):
    np.savez(path, **values)
    return ""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that writes arrays, some replaced, and reads the data set of them."""
    monkeypatch.chdir(tmp_path)

    def load(replaced=None, writer=write_h5, suffix=".h5", p=P, **changes):
        values = arrays(p) | (replaced or {})
        prefix = writer("stars" + suffix, {k: v for k, v in values.items() if v is not None})
        data = DATA | changes
        roles = ("flux", "error", "wavelength", "row_id", "group", "snr")
        data |= {role: prefix + data[role] for role in roles if data[role] is not None}
        data["labels"] = {name: prefix + spec for name, spec in data["labels"].items()}
        write_spectra("stars", data | {"path": "stars" + suffix}, "data.h5", seed=1)
        with h5py.File("data.h5") as file:
            tables = [name for name in ("X", "X_error") if name in file]
        return read_dataset("data.h5", tables)

    return load


@pytest.mark.parametrize(("writer", "suffix"), [(write_h5, ".h5"), (write_npz, ".npz")])
def test_all_roles(load, writer, suffix):
    dataset, values = load(writer=writer, suffix=suffix), arrays()
    np.testing.assert_array_equal(dataset.X, values["flux"])
    np.testing.assert_array_equal(dataset.X_error, values["sigma"])
    np.testing.assert_array_equal(dataset.y[:, 0], values["teff"])
    np.testing.assert_array_equal(dataset.y[:, 1], values["logg"][:, 0])
    np.testing.assert_array_equal(dataset.wavelength, values["lam"])
    np.testing.assert_array_equal(dataset.row_values["snr"], values["snr"])
    assert dataset.row_id.tolist() == values["id"].astype(str).tolist()
    assert dataset.group.tolist() == values["star"].astype(str).tolist()
    assert dataset.target_names == ("teff", "logg")
    assert dataset.provenance["source"] == "spectra-arrays"


def test_columns_of_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stars.csv").write_text(
        "id,teff,f_1,f_2,e_1,e_2\na,4500,1.0,0.9,0.1,0.2\nb,4600,0.8,,0.1,0.2\nc,5,1,1,.3,.4\n"
    )
    data = {"source": "spectra-arrays", "path": "stars.csv", "flux": "f_", "error": "e_"}
    data |= {"labels": {"teff": "teff"}, "row_id": "id"}
    write_spectra("stars", data, "data.h5", seed=1)
    dataset = read_dataset("data.h5", ("X", "X_error"))
    np.testing.assert_array_equal(dataset.X, np.float32([[1.0, 0.9], [0.8, 1.0], [1, 1]]))
    np.testing.assert_array_equal(
        dataset.X_error, np.float32([[0.1, 0.2], [0.1, np.inf], [0.3, 0.4]])
    )
    assert dataset.y.tolist() == [4500, 4600, 5]


def table(tmp_path, header, **changes):
    """Read two lines of a table with these columns: the column number + 1, and twice that."""
    columns = header.split(",")
    lines = [",".join(str(k * (c + 1)) for c in range(len(columns))) for k in (1, 2)]
    (tmp_path / "stars.csv").write_text("\n".join([header, *lines]))
    data = {"source": "spectra-arrays", "path": str(tmp_path / "stars.csv"), "flux": "f"}
    data |= {"labels": {"fe_h": "fe_h"}} | changes
    write_spectra("stars", data, tmp_path / "data.h5", seed=1)
    return read_dataset(tmp_path / "data.h5", ["X"] + ["X_error"] * ("error" in changes))


def test_only_numbered_columns_are_spectra(tmp_path):
    # Neither a label, nor another column that begins alike, may be among the features.
    dataset = table(tmp_path, "f0,fe_h,f1,f10,f_err0,flag,f1a")
    assert dataset.X.tolist() == [[1, 3, 4], [2, 6, 8]]
    dataset = table(tmp_path, "f0,f1,f2", labels={"y": "f1"}, row_id="f0")
    assert dataset.X.tolist() == [[3], [6]]


@pytest.mark.parametrize("prefix", ["f_err", "f1_", "sigma"])
def test_errors_are_those_of_their_spectra(tmp_path, prefix):
    dataset = table(tmp_path, f"f1,f0,{prefix}0,{prefix}1,fe_h", error=prefix, max_error=None)
    assert dataset.X.tolist() == [[1, 2], [2, 4]]
    assert dataset.X_error.tolist() == [[4, 3], [8, 6]]


@pytest.mark.parametrize(
    ("header", "changes", "message"),
    [
        (
            "fe_h,flux,e0",
            {},
            r"no column is named 'f' and a number, such as 'f0'; correct data\.flux",
        ),
        ("fe_h,f0", {"error": "e"}, r"no column is named 'e' and a number, .* data\.error"),
        ("fe_h,f0,f1,e0", {"error": "e"}, "only one of 'f1' and 'e1' is a column"),
        ("fe_h,f0,e0,e1", {"error": "e"}, "only one of 'f1' and 'e1' is a column"),
    ],
)
def test_columns_that_are_not_there_or_do_not_match(tmp_path, header, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        table(tmp_path, header, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["S", "U", h5py.string_dtype()])
def test_blanks_around_names_do_not_part_the_visits_of_a_star(load, kind):
    writer, suffix = (write_npz, ".npz") if kind == "U" else (write_h5, ".h5")
    stars = np.array([f"{' ' * (row % 2)}2M{row // 2:04d}{' ' * (row % 3)}" for row in range(N)])
    ids = np.array([f"{row} " for row in range(N)])
    replaced = {"star": stars.astype(kind), "id": ids.astype(kind)}
    dataset = load(replaced, writer=writer, suffix=suffix)
    assert dataset.group.tolist() == [f"2M{row // 2:04d}" for row in range(N)]
    assert dataset.row_id.tolist() == [str(row) for row in range(N)]


def test_errors_of_pixels_that_are_left_out_do_not_matter(load):
    sigma = arrays()["sigma"]
    sigma[250, 3] = 0.0
    assert load({"sigma": sigma}, pixel_step=2).X.shape == (N, P // 2)
    with pytest.raises(InputError, match=r"column '15227\.273' is 0 in row '2M00250'"):
        load({"sigma": sigma}, pixel_step=3)


def test_a_column_of_an_array_is_named_by_its_number(load):
    dataset = load(labels={"fe_h": "labels:2", "teff": "labels:0"})
    np.testing.assert_array_equal(dataset.y, arrays()["labels"][:, [2, 0]])


def test_what_is_not_named_is_not_there(load):
    dataset = load(error=None, wavelength=None, row_id=None, group=None, snr=None)
    assert (dataset.group, dataset.wavelength, dataset.row_values) == (None, None, {})
    assert dataset.feature_names[:2] == ("x0", "x1")
    assert dataset.row_id[-1] == "299"
    assert "X_error" not in dataset.table_sha256


def test_missing_labels_are_refused_or_left_out(load, caplog):
    teff = arrays()["teff"]
    teff[[5, 17, 130]] = [-9999.0, np.nan, -9999.0]
    message = r"label 'teff' is -9999 in row '2M00005', and labels are missing in 3 of 300 rows"
    with pytest.raises(InputError, match=message):
        load({"teff": teff})
    dataset = load({"teff": teff}, drop_missing_labels=True)
    kept = np.setdiff1d(np.arange(N), [5, 17, 130])
    np.testing.assert_array_equal(dataset.X, arrays()["flux"][kept])
    np.testing.assert_array_equal(dataset.X_error, arrays()["sigma"][kept])
    np.testing.assert_array_equal(dataset.y[:, 0], teff[kept])
    np.testing.assert_array_equal(dataset.row_values["snr"], arrays()["snr"][kept])
    assert dataset.group.tolist() == (kept // 2).astype(str).tolist()
    assert dataset.row_id.tolist() == arrays()["id"][kept].astype(str).tolist()
    assert "left out 3 of 300 rows with missing labels" in caplog.text
    with pytest.raises(InputError, match="all of the 300 rows lack a label"):
        load({"teff": np.full(N, -9999.0)}, drop_missing_labels=True)


def test_blocks_without_a_row_are_skipped(load):
    teff = np.full(N, -9999.0)
    teff[[3, 290, 299]] = [4000, 4100, 4200]
    dataset = load({"teff": teff}, drop_missing_labels=True)
    np.testing.assert_array_equal(dataset.X, arrays()["flux"][[3, 290, 299]])


def test_masked_pixels(load):
    values = arrays()
    values["flux"][7, 3] = np.nan
    values["sigma"][200, 4] = 1e10
    dataset = load({"flux": values["flux"], "sigma": values["sigma"]})
    assert np.argwhere(np.isinf(dataset.X_error)).tolist() == [[7, 3], [200, 4]]
    assert dataset.X[7, 3] == dataset.X[200, 4] == 1
    kept = load({"sigma": values["sigma"]}, max_error=None)
    assert kept.X_error[200, 4] == np.float32(1e10)


def test_the_unit_of_the_flux_does_not_matter(load):
    values = arrays()
    values["sigma"][200, 4] = np.inf
    expected = load(values, normalise="median")
    good = np.where(np.isinf(values["sigma"]), np.nan, values["flux"]).astype(float)
    median = np.nanmedian(good, axis=1, keepdims=True)
    np.testing.assert_allclose(
        expected.X, np.where(np.isnan(good), 1, good / median), rtol=3e-7, atol=0
    )
    for unit in (3e-15, 400.0):
        scaled = {name: (values[name] * np.float64(unit)) for name in ("flux", "sigma")}
        found = load(values | scaled, normalise="median")
        np.testing.assert_allclose(found.X, expected.X, rtol=3e-7)
        np.testing.assert_allclose(found.X_error, expected.X_error, rtol=3e-7)


@pytest.mark.parametrize("unit", [3e-15, 400.0, 0.1, -1.0])
def test_flux_that_is_not_near_the_continuum_is_refused(load, unit):
    values = {"flux": arrays()["flux"] * unit, "sigma": arrays()["sigma"] * abs(unit)}
    with pytest.raises(InputError, match=r"median of the flux is .*normalise: median") as caught:
        load(values)
    assert "\n" not in str(caught.value)


def test_the_level_is_that_of_the_median_spectrum_of_the_whole_file(load):
    flux = arrays()["flux"]
    flux[:140] *= 1000  # the first block, but fewer than half
    assert load({"flux": flux}, max_error=None).X.shape == (N, P)
    with pytest.raises(InputError, match="median of the flux is"):
        load({"flux": flux[::-1] * 1000 / np.where(np.arange(N) < 140, 1, 30)[:, None]})


@pytest.mark.parametrize("kind", [bool, np.uint8, float])
@pytest.mark.parametrize(("writer", "suffix"), [(write_h5, ".h5"), (write_npz, ".npz")])
def test_a_mask_of_its_own(load, writer, suffix, kind):
    mask = np.zeros((N, P), kind)
    mask[7, 3] = mask[299, 11] = 1
    flux = arrays()["flux"]
    flux[mask != 0] = 50.0
    named = {"mask": ("deep/" if suffix == ".h5" else "") + "bad"}
    dataset = load({"flux": flux, "bad": mask}, writer, suffix, **named)
    assert np.argwhere(np.isinf(dataset.X_error)).tolist() == [[7, 3], [299, 11]]
    np.testing.assert_array_equal(dataset.X, np.where(mask != 0, 1, flux))
    with pytest.raises(InputError, match=r"mask \('.*bad'\) have shape \(300, 3\)"):
        load({"bad": mask[:, :3]}, writer, suffix, **named)


def test_a_mask_in_the_columns_of_a_table(tmp_path):
    text = "y,f0,f1,m1,m0\n1,0.9,1.1,0,1\n2,0.8,1.2,1,0\n"
    (tmp_path / "stars.csv").write_text(text)
    data = {"source": "spectra-arrays", "path": str(tmp_path / "stars.csv"), "flux": "f"}
    data |= {"mask": "m", "labels": {"y": "y"}}
    write_spectra("stars", data, tmp_path / "data.h5", seed=1)
    dataset = read_dataset(tmp_path / "data.h5", ["X"])
    np.testing.assert_array_equal(dataset.X, np.float32([[1, 1.1], [0.8, 1]]))


def test_a_grid_gives_chips_and_is_checked(load):
    lam = wavelength()
    dataset = load({"lam": lam}, p=7214, grid="dr12", chips=["green"], normalise="chip-median")
    np.testing.assert_array_equal(dataset.wavelength, lam[2920:5320])
    flux = arrays(7214)["flux"][:, 2920:5320].astype(float)
    expected = flux / np.median(flux, axis=1, keepdims=True)
    np.testing.assert_allclose(dataset.X, expected, rtol=1e-6)
    assert load({"lam": lam}, p=7214, grid="dr12", drop_edge_pixel=True).X.shape == (N, 7213)
    with pytest.raises(InputError, match="the wavelength grid differs: pixel"):
        load({"lam": lam + 0.2}, p=7214, grid="dr12")
    with pytest.raises(InputError, match="have 12 pixels; expected 7214, those of grid dr12"):
        load(grid="dr12")


ZERO = arrays()["sigma"]
ZERO[250, 3:5] = 0.0
NEGATIVE = arrays()["sigma"]
NEGATIVE[0, 0] = -1.0
EMPTY = arrays()["flux"]
EMPTY[129] = np.nan


@pytest.mark.parametrize(
    ("replaced", "changes", "message"),
    [
        ({"sigma": ZERO}, {}, "error of column '.*' is 0 in row '2M00250', and not above 0 in 2"),
        ({"sigma": NEGATIVE}, {}, "error of column '.*' is -1 in row '2M00000'"),
        ({"flux": EMPTY}, {}, "row '2M00129' has no good pixel, all are missing or masked"),
        ({"sigma": np.ones((N, 3))}, {}, r"have shape \(300, 3\); expected \(300, 12\)"),
        ({"flux": np.ones(N)}, {}, r"flux \('deep/flux'\) has shape \(300,\)"),
        ({"flux": None}, {}, "flux: there is no array 'deep/flux'; .*deep/id, deep/labels, deep/l"),
        ({"sigma": None}, {}, "error: there is no array 'deep/sigma'"),
        (
            {"logg": np.ones((N, 2))},
            {},
            r"label logg \('deep/logg'\) has shape \(300, 2\); .*logg:0",
        ),
        (
            {"teff": np.ones(7)},
            {},
            r"label teff \('deep/teff'\) has shape \(7,\); expected \(300,\)",
        ),
        ({"lam": np.ones(7)}, {}, r"wavelength \('deep/lam'\) has shape \(7,\); expected \(12,\)"),
        (
            {"lam": np.array([b"a"] * P)},
            {},
            r"wavelength \('deep/lam'\) has type <U1; expected numbers, vacuum Å",
        ),
        (
            {"id": np.array([b"\xff\xfe"] * N)},
            {},
            r"row_id \('deep/id'\) is not text in UTF-8; encode it as UTF-8",
        ),
        ({"lam": np.linspace(2, 1, P)}, {}, "wavelengths must be positive and increase"),
        ({"id": np.zeros(N, int)}, {}, "row id '0' occurs 300 times"),
        ({}, {"labels": {"teff": "labels:9"}}, r"label teff .* has shape \(300, 3\)"),
        ({}, {"labels": {"teff": "tef"}}, "label teff: there is no array 'deep/tef'; did you mean"),
        ({}, {"chips": ["blue"]}, r"name the grid \(data.grid\)"),
        ({}, {"normalise": "chip-median"}, r"name the grid \(data.grid\)"),
        ({}, {"normalise": "mean"}, "there is no normalisation 'mean'"),
        ({}, {"grid": "dr9"}, "expected one of dr12, dr17"),
        ({}, {"fluxes": "flux"}, "there is no option 'fluxes'; did you mean 'flux'"),
    ],
)
def test_each_fault_is_one_line(load, replaced, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load(replaced, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("writer", "suffix"), [(write_h5, ".h5"), (write_npz, ".npz")])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_a_file_that_is_cut_short(load, tmp_path, writer, suffix, keep):
    load(writer=writer, suffix=suffix)
    path = tmp_path / f"stars{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    data = DATA | {"path": str(path)}
    with pytest.raises(InputError, match=r"cannot be read \(.+\); .*download it again") as caught:
        write_spectra("stars", data, "data.h5", seed=1)
    assert "\n" not in str(caught.value)


def test_a_damaged_block_of_the_spectra(tmp_path):
    values = arrays()
    with h5py.File(tmp_path / "stars.h5", "w") as file:
        for name, array in values.items():
            options = {"chunks": array.shape, "fletcher32": True} if name == "flux" else {}
            file.create_dataset(name, data=array, **options)
        at = file["flux"].id.get_chunk_info(0).byte_offset
    content = bytearray((tmp_path / "stars.h5").read_bytes())
    content[at] ^= 1
    (tmp_path / "stars.h5").write_bytes(content)
    data = DATA | {"path": str(tmp_path / "stars.h5")}
    with pytest.raises(InputError, match=r"cannot be read \(.+\); .*download it again") as caught:
        write_spectra("stars", data, tmp_path / "data.h5", seed=1)
    assert "\n" not in str(caught.value)


def test_objects_are_not_read_and_nothing_advises_to(load):
    flux = arrays()["flux"].astype(object)
    with pytest.raises(InputError, match="not arrays of numbers or text") as caught:
        load({"flux": flux}, writer=write_npz, suffix=".npz")
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".csv"])
def test_a_folder_is_no_file(tmp_path, suffix):
    (tmp_path / f"stars{suffix}").mkdir()
    data = DATA | {"path": str(tmp_path / f"stars{suffix}")}
    with pytest.raises(InputError, match=r": is a folder, expected a file; correct data\.path$"):
        write_spectra("stars", data, tmp_path / "data.h5", seed=1)


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5: there is no such file"):
        write_spectra("stars", DATA | {"path": str(tmp_path / "none.h5")}, "data.h5", seed=1)
    with pytest.raises(InputError, match=r"expected a name ending in \.h5, \.hdf5, \.npz, \.csv"):
        write_spectra("stars", DATA | {"path": str(tmp_path / "none.fits")}, "data.h5", seed=1)
