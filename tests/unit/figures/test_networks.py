"""Loss curves, errors against the signal-to-noise ratio, and spectra: what is drawn where."""

import numpy as np
import pytest

from starstack.data.dataset import Dataset
from starstack.errors import InputError
from starstack.figures.errors import plot_errors
from starstack.figures.history import plot_history
from starstack.figures.spectra import plot_spectra, typical_spectra


def lines(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def test_curves_are_the_losses_and_the_kept_epoch_is_the_best_of_validation(tables):
    history = tables.history(["dense"], epochs=12)
    best = (history["quantity"] == "val_loss") & (history["epoch"] == 7)
    history.loc[best, "value"] = 1e-3
    (axes,) = plot_history(history).axes
    training, validation = lines(axes, "history")
    assert "targets standardised" in plot_history(history).get_supxlabel()
    assert "standardised" not in plot_history(history, "classification").get_supxlabel()
    wanted = history[history["quantity"] == "loss"]["value"]
    assert training.get_ydata().tolist() == wanted.tolist()
    assert validation.get_ydata()[6] == 1e-3
    mark = next(line for line in axes.get_lines() if line.get_label() == "weights kept")
    assert mark.get_xydata().tolist() == [[7, 1e-3]]
    assert axes.get_yscale() == "log"


def test_an_undefined_validation_loss_marks_nothing(tables):
    history = tables.history(["dense"], epochs=3)
    history.loc[history["quantity"] == "val_loss", "value"] = np.nan
    (axes,) = plot_history(history).axes
    assert all(line.get_label() != "weights kept" for line in axes.get_lines())


def test_errors_are_those_of_the_table_in_the_order_of_the_bins(tables):
    errors = tables.errors(["teff", "logg"])
    figure = plot_errors(errors, ["net"])
    assert len(figure.axes) == 4
    below = figure.axes[2]
    (line,) = lines(below, "errors")
    part = errors[(errors["estimator"] == "net") & (errors["output"] == "teff")]
    part = part[(part["statistic"] == "mad_scatter") & (part["snr"] != "all")]
    assert line.get_ydata().tolist() == part["value"].tolist()
    assert next(text.get_text() for text in below.get_xticklabels()) == "20–30"
    assert figure.axes[0].get_title(loc="left") == "Teff (K)"
    assert below.get_ylabel() == "MAD scatter (K)"


def test_labels_of_the_config_name_the_axes(tables):
    figure = plot_errors(tables.errors(["age"]), labels={"age": "Age (Gyr)"})
    assert figure.axes[0].get_ylabel() == "Bias (Gyr)"


def test_base_models_are_shown_where_there_is_nothing_else(tables):
    figure = plot_errors(tables.errors(metas=[], networks=[]))
    assert len(lines(figure.axes[0], "errors")) == 2


def test_data_without_a_ratio_say_so(tables):
    errors = tables.errors()
    figure = plot_errors(errors[errors["snr"] == "all"])
    assert "signal-to-noise" in figure.texts[0].get_text()


def test_an_unknown_estimator_is_named(tables):
    with pytest.raises(InputError, match="'nets'"):
        plot_errors(tables.errors(), ["nets"])


def test_masked_pixels_break_the_line_and_detectors_are_apart(tables):
    wavelength = np.r_[np.arange(15200, 15250, 0.25), np.arange(15300, 15350, 0.25)]
    figure = plot_spectra(wavelength, tables.spectra(2))
    observed = lines(figure.axes[0], "spectra")
    assert [len(line.get_xdata()) for line in observed] == [200, 200]
    assert np.flatnonzero(np.isnan(observed[0].get_ydata())).tolist() == [50, 51, 52, 53]


def test_no_spectrum_is_an_error():
    with pytest.raises(InputError, match="at least one spectrum"):
        plot_spectra(None, [])


def test_typical_spectra_are_spread_over_the_first_label():
    rng = np.random.default_rng(1)
    labels = np.column_stack([rng.permutation(np.arange(4000.0, 4100.0)), np.ones(100)])
    X = rng.normal(size=(100, 30)).astype(np.float32)
    dataset = Dataset(
        name="stars",
        task="regression",
        X=X,
        y=labels,
        row_id=np.arange(100).astype(str),
        feature_names=tuple(f"x{i}" for i in range(30)),
        target_names=("teff", "logg"),
        row_values={"snr": np.full(100, 50.0)},
    )
    wavelength, spectra = typical_spectra(dataset, n_spectra=2, n_pixels=10)
    assert wavelength is None
    assert [s.title for s in spectra] == [
        "Teff = 4025.0 K, log g = 1 dex, S/N = 50",
        "Teff = 4075.0 K, log g = 1 dex, S/N = 50",
    ]
    row = int(np.flatnonzero(labels[:, 0] == 4025)[0])
    assert spectra[0].flux.tolist() == X[row, :10].tolist()
    assert spectra[0].error is None
