"""StarNet's HDF5 layout, as its notebooks write it."""

import h5py
import numpy as np
import pytest

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra.sources import write_spectra
from starstack.splits.splitters import make_split

N, STARS = 150, 30


def write_training(path, replaced=None):
    rng = np.random.default_rng(3)
    columns = {
        "spectrum": rng.normal(1, 0.05, (N, 7214)).astype(np.float32),
        "TEFF": rng.normal(4500, 200, (N, 1)).astype(np.float32),
        "LOGG": rng.normal(2.5, 0.5, (N, 1)).astype(np.float32),
        "FE_H": rng.normal(-0.2, 0.3, (N, 1)).astype(np.float32),
        "Ap_ID": np.array([f"2M{row % STARS:016d}" for row in range(N)]).astype("S18"),
    } | (replaced or {})
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            if values is not None:
                chunks = (1, values.shape[1]) if values.ndim == 2 else None
                file.create_dataset(name, data=values, chunks=chunks)
    return columns


def only_in_test_files():
    return {
        "error_spectrum": np.random.default_rng(4).uniform(0.01, 0.2, (N, 7214)).astype("f4"),
        "combined_snr": np.linspace(20, 300, N).astype("f4")[:, np.newaxis],
    }


def load(path, **changes):
    data = {"source": "starnet-hdf5", "path": str(path)} | changes
    out = path.with_name("data.h5")
    write_spectra("starnet", data, out, seed=1)
    with h5py.File(out) as file:
        return read_dataset(out, [name for name in ("X", "X_error") if name in file])


def test_the_training_file(tmp_path):
    columns = write_training(tmp_path / "training_data.h5")
    dataset = load(tmp_path / "training_data.h5")
    np.testing.assert_array_equal(dataset.X, columns["spectrum"])
    np.testing.assert_array_equal(dataset.y[:, 2], columns["FE_H"][:, 0].astype(float))
    assert dataset.target_names == ("teff", "logg", "fe_h")
    assert dataset.group.tolist() == columns["Ap_ID"].astype(str).tolist()
    assert dataset.wavelength[0] == pytest.approx(15168.13, abs=0.01)
    assert dataset.row_values == {}
    assert dataset.X_error is None


def test_the_test_file_has_errors_and_ratios(tmp_path):
    columns = write_training(tmp_path / "test_data.h5", only_in_test_files())
    dataset = load(tmp_path / "test_data.h5", drop_edge_pixel=True)
    np.testing.assert_array_equal(dataset.X_error, columns["error_spectrum"][:, :-1])
    np.testing.assert_array_equal(dataset.row_values["snr"], columns["combined_snr"][:, 0])


def test_visits_of_a_star_stay_on_one_side_of_every_split(tmp_path):
    write_training(tmp_path / "training_data.h5")
    dataset = load(tmp_path / "training_data.h5")
    split = make_split(
        method="k-fold",
        row_id=dataset.row_id,
        y=dataset.y,
        task="regression",
        group=dataset.group,
        n_folds=3,
        seed=1,
    )
    sides = np.where(split.is_test, -1, split.folds[:, 0])
    for star in np.unique(dataset.group):
        assert len(set(sides[dataset.group == star])) == 1


def test_a_flux_of_zero_is_a_pixel_without_flux(tmp_path):
    columns = write_training(tmp_path / "a.h5", only_in_test_files())
    columns["spectrum"][5, 100:103] = 0.0
    write_training(tmp_path / "a.h5", columns)
    dataset = load(tmp_path / "a.h5")
    assert np.argwhere(np.isinf(dataset.X_error)).tolist() == [[5, 100], [5, 101], [5, 102]]
    assert (dataset.X[5, 100:103] == 1).all()


def test_names_may_be_others(tmp_path):
    columns = write_training(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.move("spectrum", "spectra")  # as early versions have it
        file.move("Ap_ID", "Ap_IDs")
    dataset = load(tmp_path / "a.h5", spectrum="spectra", group="Ap_IDs", labels={"logg": "LOGG"})
    np.testing.assert_array_equal(dataset.X, columns["spectrum"])
    assert dataset.target_names == ("logg",)


MISSING = np.full((N, 1), 4500, dtype=np.float32)
MISSING[::10] = -9999


@pytest.mark.parametrize(
    ("replaced", "changes", "message"),
    [
        (
            {"spectrum": np.ones((N, 8575), "f4")},
            {},
            "have 8575 pixels; expected 7214, those of gr",
        ),
        ({"spectrum": None}, {}, "no array 'spectrum'; expected one of Ap_ID, FE_H, LOGG, TEFF"),
        ({"FE_H": None}, {}, "label fe_h: there is no array 'FE_H'"),
        ({}, {"error": "error_spectrum"}, "error: there is no array 'error_spectrum'; did you me"),
        ({"TEFF": MISSING}, {}, "'teff' is -9999 in row '0', and labels are missing in 15 of 150"),
        ({"error_spectrum": np.zeros((N, 7214), "f4")}, {}, "is 0 in row '0', and not above 0 in"),
    ],
)
def test_each_fault_is_one_line(tmp_path, replaced, changes, message):
    write_training(tmp_path / "a.h5", replaced)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / "a.h5", **changes)
    assert "\n" not in str(caught.value)
