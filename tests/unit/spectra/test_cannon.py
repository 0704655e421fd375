"""A Cannon model as a survey: its polynomial by hand, labels within the hull of the real ones."""

import os
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from starstack.data.store import read_dataset
from starstack.errors import InputError
from starstack.spectra.apogee import wavelength
from starstack.spectra.cannon import CannonModel, draw_labels, read_model
from starstack.spectra.sources import write_spectra

SHARED = Path(os.environ.get("STARSTACK_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
TABLES = ("X", "X_error", "X_noiseless")


def arrays():
    rng = np.random.default_rng(6)
    scale = np.array([200.0, 0.5, 0.3, 0.1])
    coeffs = rng.normal(0, 0.01, (15, 7214))
    coeffs[1:5] /= scale[:, np.newaxis]
    coeffs[5:] /= np.array([a * b for a, b in combinations_with_replacement(scale, 2)])[:, None]
    coeffs[0] = 0.95
    return {
        "coeffs": coeffs.astype(np.float32),
        "baseline": np.array([4500, 2, -0.3, 0.05]),
        "scatter": rng.uniform(0.002, 0.01, 7214),
        "training_labels": np.array([4600, 2.3, -0.2, 0.07]) + scale * rng.normal(size=(200, 4)),
        "wavelength": wavelength(),
        "apogee_mask": rng.random(7214) < 0.1,
    }


@pytest.fixture
def load(tmp_path):
    np.savez(tmp_path / "model.npz", **arrays())

    def load(replaced=None, threads=1, seed=1, **changes):
        # What fills masked pixels by default is learnt from 1000 spectra.
        changes = {"fill": "continuum"} | changes
        if replaced is not None:
            values = arrays() | replaced
            np.savez(tmp_path / "model.npz", **{k: v for k, v in values.items() if v is not None})
        data = {"source": "cannon", "path": str(tmp_path / "model.npz"), "n_stars": 150}
        write_spectra("giants", data | changes, tmp_path / "data.h5", seed=seed, threads=threads)
        return read_dataset(tmp_path / "data.h5", TABLES)

    return load


def by_hand(labels):
    """The polynomial, term by term."""
    model = arrays()
    flux = np.tile(model["coeffs"][0].astype(float), (len(labels), 1))
    d = labels - model["baseline"]
    for i in range(4):
        flux += d[:, [i]] * model["coeffs"][1 + i].astype(float)
    for k, (i, j) in enumerate(combinations_with_replacement(range(4), 2)):
        flux += (d[:, i] * d[:, j])[:, np.newaxis] * model["coeffs"][5 + k].astype(float)
    return flux


def test_noiseless_spectra_are_the_model_s(load):
    dataset = load(bad_pixels=0.0, mask=False, snr=[40, 60])
    labels = np.column_stack([dataset.y, dataset.row_values["alpha_fe"]])
    np.testing.assert_allclose(dataset.X_noiseless, by_hand(labels), rtol=1e-6)
    assert dataset.target_names == ("teff", "logg", "fe_h")
    assert dataset.group is None
    snr = dataset.row_values["snr"]
    assert 40 <= snr.min() < snr.max() <= 60
    ratio = np.median(dataset.X_noiseless / dataset.X_error, axis=1)
    np.testing.assert_allclose(ratio, snr, rtol=1e-5)


def test_bad_pixels_of_the_model_are_masked(load):
    dataset = load(bad_pixels=0.0)
    assert (np.isinf(dataset.X_error) == arrays()["apogee_mask"]).all()


def test_scatter_belongs_to_the_star(load):
    dataset = load(bad_pixels=0.0, mask=False, scatter=True, visits_per_star=2)
    labels = np.column_stack([dataset.y, dataset.row_values["alpha_fe"]])
    np.testing.assert_array_equal(labels[::2], labels[1::2])
    np.testing.assert_array_equal(dataset.X_noiseless[::2], dataset.X_noiseless[1::2])
    assert not np.array_equal(dataset.X[::2], dataset.X[1::2])
    assert dataset.group.tolist() == np.repeat([f"star-{s:03d}" for s in range(150)], 2).tolist()
    z = (dataset.X_noiseless[::2] - by_hand(labels[::2])) / arrays()["scatter"]
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)


def test_labels_stay_in_the_hull_of_the_real_ones():
    values = arrays()
    model = CannonModel(
        values["coeffs"], values["baseline"], values["scatter"], values["training_labels"], None
    )
    real = values["training_labels"]
    drawn = draw_labels(model, 60, 1.0, np.random.default_rng(0))
    unit = real.std(axis=0)
    for labels in drawn:
        # In the hull: some weights of the real stars, none negative, with sum 1, make the labels.
        found = linprog(
            np.zeros(len(real)),
            A_eq=np.vstack([(real / unit).T, np.ones(len(real))]),
            b_eq=np.append(labels / unit, 1.0),
        )
        assert found.status == 0
    assert len(np.unique(drawn, axis=0)) == 60


def test_without_jitter_labels_are_those_of_real_stars():
    values = arrays()
    model = CannonModel(
        values["coeffs"], values["baseline"], values["scatter"], values["training_labels"], None
    )
    drawn = draw_labels(model, 100, 0.0, np.random.default_rng(0))
    real = set(map(tuple, values["training_labels"]))
    assert set(map(tuple, drawn)) < real


def test_the_seed_and_nothing_else_decides(load, tmp_path):
    def content(**options):
        load(visits_per_star=2, scatter=True, pixel_step=20, fill="components", **options)
        return (tmp_path / "data.h5").read_bytes()

    first, second = content(), content(seed=2)
    assert content(threads=3) == first
    assert second != first
    assert content(seed=3) not in (first, second)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"wavelength": wavelength() + 0.2}, "the wavelength grid differs"),
        ({"wavelength": wavelength()[:-1]}, "has 7213 wavelengths; expected 7214"),
        ({"coeffs": np.ones((10, 7214))}, r"coeffs has shape \(10, 7214\); expected \(15, 7214\)"),
        ({"scatter": None}, "there is no array 'scatter'; expected one of .*baseline"),
        (
            {"training_labels": np.array(["a", None], object)},
            r"cannot be read as \.npz \(not arrays of numbers or text\); copy or download it",
        ),
        ({"training_labels": np.array(5.0)}, r"training_labels has shape \(\); expected \(m, 4\)"),
        ({"training_labels": np.ones((9, 3))}, r"training_labels has shape \(9, 3\); expected \(m"),
        ({"training_labels": np.ones((1, 4))}, "training_labels has 1 stars; expected at least 2"),
        ({"training_labels": np.ones((0, 4))}, "training_labels has 0 stars; expected at least 2"),
        ({"wavelength": np.array(5.0)}, r"wavelength has shape \(\); expected \(p,\)"),
        ({"wavelength": wavelength().astype(str)}, "wavelength holds what is not a finite number"),
        ({"apogee_mask": np.zeros(3, bool)}, r"apogee_mask has shape \(3,\); expected \(7214,\)"),
        ({"coeffs": np.full((15, 7214), np.nan)}, "coeffs holds what is not a finite number; fit"),
    ],
)
def test_a_model_of_another_form_is_refused(load, replaced, message):
    with pytest.raises(InputError, match=message) as caught:
        load(replaced)
    assert "\n" not in str(caught.value)
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, np.nan])
def test_labels_are_not_moved_past_a_neighbour(load, jitter):
    with pytest.raises(InputError, match=r"jitter: is .*; expected 0 to 1"):
        load(jitter=jitter)


def test_few_stars_have_few_neighbours(load):
    real = arrays()["training_labels"][:2]
    real[:, 3] = 0.1  # the same for all: a label without spread
    dataset = load({"training_labels": real}, chips=["red"])
    part = (dataset.y - real[0, :3]) / (real[1] - real[0])[:3]
    np.testing.assert_allclose(part, part[:, :1].repeat(3, axis=1), rtol=1e-9, atol=1e-9)
    assert -1e-9 <= part.min() < 0.1 < 0.9 < part.max() <= 1 + 1e-9
    np.testing.assert_allclose(dataset.row_values["alpha_fe"], 0.1)


def test_a_model_that_is_missing_or_cut_short(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_model(tmp_path / "none.npz", "data set 'giants'")
    np.savez(tmp_path / "model.npz", **arrays())
    content = (tmp_path / "model.npz").read_bytes()
    for keep in (0, 100, len(content) // 2, len(content) - 50):
        (tmp_path / "model.npz").write_bytes(content[:keep])
        with pytest.raises(InputError, match=r"cannot be read as \.npz .* or correct data\.path"):
            read_model(tmp_path / "model.npz", "data set 'giants'")
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        read_model(tmp_path / "one.npy", "data set 'giants'")
    with pytest.raises(InputError, match="is a folder, expected a file"):
        read_model(tmp_path, "data set 'giants'")


def test_the_model_of_real_giants():
    path = SHARED / "apogee_cannon_giants.npz"
    if not path.exists():
        pytest.skip(f"no {path}; set STARSTACK_SHARED_DATA to the folder of the real spectra")
    model = read_model(path, "data set 'giants'")
    flux = model.flux(np.array([[4750.0, 2.4, 0.0, 0.05]]))[0]
    assert (flux.min().round(3), flux.max().round(3)) == (0.522, 1.078)
    assert model.bad.sum() == 875
