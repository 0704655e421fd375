"""The figure of sensitivities: which pixels, which lines, and what the file says."""

import h5py
import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.jacobian import plot_jacobian, read_sensitivities, strongest_lines

P = 900
WAVELENGTH = 15200 * 10 ** (6e-6 * np.arange(P))


def write(path, wavelength=WAVELENGTH, n_rows=40, quantile_rows=40):
    """Write statistics of two labels, largest from pixel 150 on."""
    rng = np.random.default_rng(0)
    size = np.where(np.arange(P) < 150, 0.01, 1.0) * [[300.0], [0.5]]
    values = size * rng.standard_normal((2, P))
    with h5py.File(path, "w") as file:
        group = file.create_group("statistics")
        group["mean"], group["mean_absolute"] = values, np.abs(size)
        group["root_mean_square"] = np.abs(size)
        group["quantiles"] = np.stack([values - size, values, values + size])
        group.attrs["probabilities"] = [0.16, 0.5, 0.84]
        group.attrs["n_rows"], group.attrs["quantile_rows"] = n_rows, quantile_rows
        file["output_names"] = np.char.encode(["teff", "logg"])
        if wavelength is not None:
            file["wavelength"] = wavelength
    return path


def test_the_stretch_is_where_the_derivatives_are_largest(tmp_path):
    (found,) = read_sensitivities({"dense": write(tmp_path / "a.h5")}, n_pixels=700)
    assert found.wavelength[0] >= WAVELENGTH[150]
    assert (len(found.wavelength), found.n_pixels, found.n_rows) == (700, P, 40)
    assert np.allclose(found.high - found.mean, [[300.0], [0.5]])
    assert (found.outputs, found.bounds) == (("teff", "logg"), (0.16, 0.84))


def test_there_is_a_panel_per_network_and_label(tmp_path):
    files = {name: write(tmp_path / f"{name}.h5", quantile_rows=30) for name in ("dense", "cnn")}
    figure = plot_jacobian(read_sensitivities(files), {"logg": "gravity (cm)"})
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == [
        f"{network}: ∂ {name} / ∂ flux, n = 40" for network in files for name in ("Teff", "gravity")
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == ["K", "cm", "K", "cm"]
    assert "The bands are those of 30 of them." in figure.get_supxlabel()


def test_the_strongest_lines_come_first():
    lines = strongest_lines(15150.0, 17000.0)
    assert lines == sorted(lines, reverse=True)
    names = [name for _, _, name in lines]
    assert {"Fe I", "Mg I", "Si I", "Br 11"} <= set(names)
    assert all(15700 < at < 15760 for _, at, _ in strongest_lines(15700.0, 15760.0))


def test_other_data_are_refused(tmp_path):
    with pytest.raises(InputError, match="no wavelengths"):
        read_sensitivities({"dense": write(tmp_path / "a.h5", wavelength=None)})
    with pytest.raises(InputError, match="at least one network"):
        plot_jacobian([])
