"""The figure of sensitivities: which pixels, which lines, and what the file says."""

import h5py
import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.jacobian import lines_at_peaks, plot_jacobian, read_sensitivities

P = 900
WAVELENGTH = 15200 * 10 ** (6e-6 * np.arange(P))


def write(path, wavelength=WAVELENGTH, n_rows=40, quantile_rows=40):
    """Write statistics of two labels."""
    rng = np.random.default_rng(0)
    size = np.full((2, P), [[300.0], [0.5]])
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


def test_all_pixels_are_read(tmp_path):
    (found,) = read_sensitivities({"dense": write(tmp_path / "a.h5")})
    assert np.array_equal(found.wavelength, WAVELENGTH)
    assert (found.mean.shape, found.n_rows) == ((2, P), 40)
    assert np.allclose(found.high - found.mean, [[300.0], [0.5]])
    assert (found.outputs, found.bounds) == (("teff", "logg"), (0.16, 0.84))


def test_there_is_a_panel_per_network_and_label(tmp_path):
    files = {name: write(tmp_path / f"{name}.h5", quantile_rows=30) for name in ("dense", "cnn")}
    figure = plot_jacobian(read_sensitivities(files), {"logg": "gravity (cm)"})
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == [
        f"{network}: ∂ {name} / ∂ flux, n = 40" for network in files for name in ("Teff", "gravity")
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == 2 * [
        "∂ / ∂ flux\n(K)",
        "∂ / ∂ flux\n(cm)",
    ]
    assert "The bands are those of 30 of them." in figure.get_supxlabel()


def test_marks_are_explained_where_there_are_some(tmp_path):
    """No line that is known stands at 1000 Å."""
    for first, marked in ((WAVELENGTH, True), (1000 + 0.05 * np.arange(P), False)):
        figure = plot_jacobian(read_sensitivities({"a": write(tmp_path / "a.h5", first)}))
        assert ("Marked are lines" in " ".join(figure.get_supxlabel().split())) == marked


def test_a_line_stands_where_the_derivative_is_large():
    """Mg I at 15753.2 is not displaced by stronger lines far from any peak, nor by its own wing."""
    x = np.arange(15700.0, 15790.0, 0.22)
    size = 0.9 * np.exp(-(((x - 15754.0) / 0.5) ** 2)) + 0.5 * np.exp(-(((x - 15783) / 0.5) ** 2))
    found = lines_at_peaks(x, size, room=12.0)
    assert [name for _, name in found] == ["Mg I", "CO"]
    assert found[0][0] == pytest.approx(15753.2, abs=0.1)
    assert found[1][0] == pytest.approx(15783.0, abs=0.5)


def test_no_line_is_marked_in_the_gap_of_two_detectors():
    """Fe I at 16491 lies between two detectors; both ends of the gap have large derivatives."""
    x = np.concatenate([np.arange(16400.0, 16485.0, 2.2), np.arange(16497.0, 16600.0, 2.2)])
    marked = lines_at_peaks(x, np.ones(len(x)), room=3.0)
    assert marked
    assert all(np.abs(x - at).min() <= 1.1 + 1e-9 for at, _ in marked)


def test_names_stand_inside_the_axes_and_molecules_differ(tmp_path):
    edge = write(tmp_path / "a.h5", wavelength=15752.9 + 0.05 * np.arange(P))
    figure = plot_jacobian(read_sensitivities({"dense": edge}))
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    names = [text for text in figure.axes[0].texts if text.get_text()]
    for name in names:
        extent = name.get_window_extent()
        assert box.x0 <= extent.x0
        assert extent.x1 <= box.x1
        molecule = name.get_text() in ("CO", "OH", "CN")
        assert (name.get_fontweight() == "bold") == molecule
    assert {"Mg I", "CO"} <= {name.get_text() for name in names}


def test_other_data_are_refused(tmp_path):
    with pytest.raises(InputError, match="no wavelengths"):
        read_sensitivities({"dense": write(tmp_path / "a.h5", wavelength=None)})
    with pytest.raises(InputError, match="at least one network"):
        plot_jacobian([])
