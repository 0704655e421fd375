"""Figures of error bars show what the tables hold, and nothing is cut off."""

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.figures.correlation import plot_error_correlations
from starstack.figures.coverage import plot_coverage, plot_standardised_errors
from starstack.figures.cramer_rao import plot_cramer_rao
from starstack.figures.error_budget import plot_error_budget
from starstack.figures.predicted import plot_predicted
from starstack.figures.style import use_style

OUTPUTS = ("teff", "logg", "fe_h")
BINS = ("20-45", "45-100", "100-300")


def budget(n=400, outputs=OUTPUTS, seed=0):
    """Errors of known parts, correlated by 0.6."""
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.uniform(np.log(20), np.log(300), n))
    k = len(outputs)
    scales = np.array([1000.0, 1.0, 0.5])[:k]
    correlation = 0.4 * np.eye(k) + 0.6
    noise, intrinsic = scales / snr[:, None], np.tile(0.01 * scales, (n, 1))
    total = np.sqrt(noise**2 + 2 * intrinsic**2)
    observed = scales * rng.normal(size=(n, k))
    error = total * rng.multivariate_normal(np.zeros(k), correlation, n)
    columns = {
        "study": "stars",
        "estimator": "net",
        "row_id": np.repeat([f"s{i}" for i in range(n)], k),
        "output": np.tile(outputs, n),
        "unit": "",
        "snr": np.repeat(snr, k),
        "observed": observed.ravel(),
        "predicted": (observed + error).ravel(),
        "noise": noise.ravel(),
        "weights": intrinsic.ravel(),
        "intrinsic": intrinsic.ravel(),
        "total": total.ravel(),
        "recalibrated": 0.8 * total.ravel(),
        "half_width_68": 0.75 * total.ravel(),
    }
    columns |= {
        f"correlation_{name}": np.tile(correlation[:, c], n) for c, name in enumerate(outputs)
    }
    return pd.DataFrame(columns)


def calibration(methods=("jacobian", "two_jacobians", "conformal"), outputs=(*OUTPUTS, "joint")):
    rng = np.random.default_rng(1)
    rows = [
        ("stars", "net", method, output, snr, f"coverage_{percent}", percent / 100 + off, 0.01, 900)
        for method in methods
        for output in outputs
        for snr in ("all", *BINS)
        for percent in (50, 68, 90, 95, 99)
        for off in [0.02 * rng.normal()]
    ]
    rows += [("stars", "net", methods[0], "teff", "all", "chi2_per_n", 1.0, 0.1, 900)]
    columns = ["study", "estimator", "method", "output", "snr", "statistic"]
    return pd.DataFrame(rows, columns=[*columns, "value", "standard_error", "n"])


def histograms(outputs=OUTPUTS):
    rng = np.random.default_rng(2)
    rows = []
    for output in outputs:
        for quantity, (low, high, bins) in {"z": (-4, 4, 40), "pit": (0, 1, 20)}.items():
            values = rng.normal(size=2000) if quantity == "z" else rng.random(2000)
            counts, edges = np.histogram(values, bins=bins, range=(low, high))
            rows += [
                ("stars", "net", "jacobian", output, quantity, a, b, c)
                for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)
            ]
    columns = ["study", "estimator", "method", "output", "quantity", "low", "high", "count"]
    return pd.DataFrame(rows, columns=columns)


def efficiency(estimators=("dense",), bounds=("known nuisances",)):
    rows = [
        ("stars", name, bound, output, snr, statistic, value, 0.1, 700)
        for name in estimators
        for bound in bounds
        for output in OUTPUTS
        for snr in ("all", *BINS)
        for statistic, value in (
            ("rms_error", 40.0),
            ("error_over_bound", 2.5),
            ("noise_over_bound", 1.6),
        )
    ]
    columns = ["study", "estimator", "bound", "output", "snr", "statistic"]
    return pd.DataFrame(rows, columns=[*columns, "value", "standard_error", "n"])


FIGURES = {
    "budget": lambda: plot_error_budget(budget()),
    "budget-one": lambda: plot_error_budget(budget(outputs=("teff",)), [20, 60, 300]),
    "coverage": lambda: plot_coverage(calibration()),
    "coverage-one": lambda: plot_coverage(calibration(("jacobian",), ("teff",))),
    "z": lambda: plot_standardised_errors(histograms()),
    "z-one": lambda: plot_standardised_errors(histograms(("teff",)), "jacobian"),
    "predicted": lambda: plot_predicted(budget()),
    "predicted-one": lambda: plot_predicted(budget(30, ("teff",))),
    "correlation": lambda: plot_error_correlations(budget(2000)),
    "correlation-two": lambda: plot_error_correlations(budget(2000, ("teff", "logg"))),
    "bound": lambda: plot_cramer_rao(efficiency()),
    "bound-four": lambda: plot_cramer_rao(
        efficiency(("dense", "starnet"), ("known nuisances", "all unknown"))
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    figure = FIGURES[name]()
    with use_style():
        figure.draw_without_rendering()
        figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) > -0.01 and box.x1 < width + 0.01 and box.y1 < height + 0.01
    assert width <= 7.1
    assert all(axes.get_xlabel() for axes in figure.axes[-1:])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_budget_is_that_of_the_table():
    table = budget()
    figure = plot_error_budget(table, [20, 60, 300], {"teff": "Temperature (K)"})
    above, below = figure.axes[0], figure.axes[3]
    assert above.get_title(loc="left") == "Temperature (K)" and above.get_ylabel() == "Error (K)"
    lines = {line.get_label(): line.get_ydata() for line in above.lines}
    own = table[(table["output"] == "teff") & (table["snr"] < 60)]
    for words, part in (
        ("noise of the spectrum", "noise"),
        ("sum of the parts", "total"),
        ("sum, recalibrated", "recalibrated"),
    ):
        assert lines[words][0] == pytest.approx(np.sqrt(np.mean(own[part] ** 2)))
    made = np.sqrt(np.mean((own["predicted"] - own["observed"]) ** 2))
    (marks,) = [c.lines[0].get_ydata() for c in above.containers]
    assert marks[0] == pytest.approx(made)
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in below.collections]
    assert tops[-1] == pytest.approx(1)


def test_the_structure_is_named():
    for figure, words in (
        (plot_error_budget(budget(), structure="kfac"), "weights, KFAC"),
        (plot_error_correlations(budget(), structure="low_rank"), "predicted, low rank"),
        (plot_predicted(budget(), structure="kfac"), "± 1 σ, KFAC"),
    ):
        assert words in legend_of(figure)


def test_without_recalibration_nothing_is_called_recalibrated():
    table = budget()
    table = table.assign(recalibrated=table["total"], half_width_68=0.9945 * table["total"])
    for figure in (plot_error_budget(table), plot_predicted(table)):
        words = [*legend_of(figure), figure._supxlabel.get_text()]
        words += [text.get_text() for axes in figure.axes for text in axes.texts]
        assert not any("recalib" in word for word in words)
    above, *_ = plot_predicted(table).axes
    assert len(above.containers) == 1 and above.texts[0].get_text().endswith("within 1 σ")


def test_labels_of_a_table_are_observed_ones():
    assert plot_predicted(budget()).axes[-1].get_xlabel() == "Observed [Fe/H] (dex)"


TINY = {
    "one S/N": lambda table: table.assign(snr=50.0),
    "several S/N": lambda table: table,
    "perfect": lambda table: table.assign(predicted=table["observed"], snr=50.0),
    "nothing predicted": lambda table: table.assign(
        noise=0.0, weights=0.0, intrinsic=0.0, total=0.0, recalibrated=0.0, correlation_teff=np.nan
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("outputs", [("teff",), ("teff", "logg")])
@pytest.mark.parametrize("n", [1, 4, 19, 30])
@pytest.mark.parametrize("rows", TINY)
def test_few_rows_are_drawn_or_a_sentence_says_why_not(rows, n, outputs):
    table = TINY[rows](budget(n, outputs))
    assert plot_predicted(table).axes
    for plot, least in ((plot_error_budget, 5), (plot_error_correlations, 20)):
        figure = plot(table, [20, 300])
        if n < least and (plot is plot_error_budget or len(outputs) > 1):
            words = " ".join(figure.texts[0].get_text().split())
            assert f"has {least} test rows. Make snr_bins wider or test_size larger." in words


def test_methods_of_one_structure_share_a_colour():
    structures = ("kfac", "ekfac", "last_layer", "diagonal")
    both = [f"{name}{after}" for name in structures for after in ("", ", Student t")]
    others = ("J Σ Jᵀ + intrinsic", "noise + intrinsic", "split conformal", "CV+ of stack")
    lines = [
        bars.lines[0] for bars in plot_coverage(calibration((*both, *others))).axes[0].containers
    ]
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 4 + ["-"] * 4
    colours = [line.get_color() for line in lines]
    assert colours[:8:2] == colours[1:8:2] and len(set(colours)) == 8


def test_parts_that_are_zero_are_no_line():
    table = budget().assign(weights=0.0)
    line = {each.get_label(): each for each in plot_error_budget(table).axes[0].lines}["weights"]
    assert len(line.get_ydata()) == 0


def test_coverage_is_shown_as_a_difference_in_percent():
    table = calibration(("jacobian",))
    figure = plot_coverage(table)
    assert legend_of(figure) == ["jacobian"] and len(figure.axes) == 8
    own = table.query("output == 'logg' and snr == 'all'")
    promised = np.array([0.5, 0.68, 0.9, 0.95, 0.99])
    shown = figure.axes[1].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(shown.astype(float), 100 * (own["value"].to_numpy() - promised))
    below = figure.axes[5].containers[0].lines[0].get_ydata()
    own = table.query("output == 'logg' and snr != 'all' and statistic == 'coverage_68'")
    np.testing.assert_allclose(below.astype(float), 100 * (own["value"] - 0.68))


def test_all_labels_together_are_shown_where_there_are_several():
    def titles(*outputs):
        figure = plot_coverage(calibration(outputs=(*outputs, "joint")))
        return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]

    assert titles("age") == ["age"]
    assert titles("teff", "logg") == ["Teff", "log g", "all labels"]


def test_histograms_are_densities():
    above, *_, below, _, _ = plot_standardised_errors(histograms()).axes
    for axes in (above, below):
        area = sum(bar.get_width() * bar.get_height() for bar in axes.patches if bar.get_gid())
        bars = axes.containers[0]
        area = sum(bar.get_width() * bar.get_height() for bar in bars)
        assert area == pytest.approx(1)


def test_bars_lie_over_the_band_that_they_are_judged_by():
    below = plot_standardised_errors(histograms()).axes[3]
    (band,) = (patch for patch in below.patches if patch.get_gid() != "pit" and patch.get_alpha())
    assert all(bar.get_zorder() > band.get_zorder() for bar in below.containers[0])


def test_error_bars_are_the_predicted_ones():
    table = budget(40, ("teff",))
    above, below = plot_predicted(table).axes
    assert below.containers[0].lines[0].get_ydata() == pytest.approx(
        (table["predicted"] - table["observed"]).to_numpy()
    )
    words = above.texts[0].get_text().split("\n")
    promises = ("within 1 σ", "in the recalibrated 68 %")
    columns = ("total", "half_width_68")
    for bars, line, promise, column in zip(below.containers, words, promises, columns, strict=True):
        segments = bars.lines[2][0].get_segments()
        half = [(segment[1, 1] - segment[0, 1]) / 2 for segment in segments]
        np.testing.assert_allclose(half, table[column])
        inside = np.mean(np.abs(table["predicted"] - table["observed"]) <= table[column])
        assert line == f"{100 * inside:.1f} % {promise}"


def test_triangles_are_explained_where_there_are_some():
    table = budget(30, ("teff",))
    table["predicted"] = table["observed"] + 1.0
    assert "Triangles" not in plot_predicted(table)._supxlabel.get_text()
    table = budget(2000, ("logg",))
    table.loc[0, "predicted"] = table.loc[0, "observed"] + 1e5
    assert "Triangles: errors beyond" in plot_predicted(table)._supxlabel.get_text()


def test_errors_beyond_the_panel_are_triangles_at_its_edge():
    table = budget(2000, ("logg",))
    table.loc[[0, 7], "predicted"] = table["observed"] + [1e5, -1e5] * 1000
    _, below = plot_predicted(table, {"logg": "log g (dex)"}).axes
    assert below.get_ylabel() == "Error (dex)"
    low, high = below.get_ylim()
    up, down = (line for line in below.lines if line.get_gid() == "beyond")
    for line, row, edge in ((up, 0, high), (down, 7, low)):
        assert table["observed"][row] in line.get_xdata()
        assert (line.get_ydata() == 0.94 * edge).all()
    for bars in below.containers:
        assert (np.abs(bars.lines[0].get_ydata()) < high).all()


def test_correlations_of_the_errors():
    figure = plot_error_correlations(budget(6000), [20, 300])
    assert figure.axes[0].get_title(loc="left") == "Teff, log g"
    for axes in figure.axes:
        predicted = next(line for line in axes.lines if line.get_label() == "predicted")
        assert predicted.get_ydata()[0] == pytest.approx(0.6)
        made = axes.containers[0].lines[0].get_ydata()[0]
        assert made == pytest.approx(0.6, abs=4 * 0.64 / np.sqrt(6000))


def test_one_label_has_no_correlation():
    figure = plot_error_correlations(budget(100, ("teff",)))
    assert "one label" in figure.texts[0].get_text()


def test_ratios_and_their_bins():
    figure = plot_cramer_rao(efficiency())
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["20–45", "45–100", "100–300"]
    made, noise = (container.lines[0].get_ydata() for container in axes.containers)
    assert made.tolist() == [2.5] * 3 and noise.tolist() == [1.6] * 3
    assert legend_of(figure)[0] == "dense, known nuisances: errors made"
    wide = efficiency().assign(standard_error=2.0)
    axes = plot_cramer_rao(wide).axes[0]
    ends = [
        segment[1, 1] for bars in axes.containers for segment in bars.lines[2][0].get_segments()
    ]
    assert max(ends) == 4.5 < axes.get_ylim()[1]


def test_the_footnote_of_coverage_states_guarantees():
    table = calibration()
    assert "Guaranteed" not in plot_coverage(table)._supxlabel.get_text()
    chosen = (table["method"] == "conformal") & (table["snr"] == "all")
    least = {"coverage_68": 0.36, "coverage_95": 0.899}
    table["guarantee"] = table["statistic"].map(least).where(chosen)
    words = " ".join(plot_coverage(table)._supxlabel.get_text().split())
    assert words.endswith("rows: conformal at least 36 % at 68 and 89.9 % at 95.")


@pytest.mark.parametrize(
    ("plot", "table", "name"),
    [
        (plot_error_budget, budget, "error budget"),
        (plot_predicted, budget, "error budget"),
        (plot_error_correlations, budget, "error budget"),
        (plot_coverage, calibration, "calibration"),
        (plot_standardised_errors, histograms, "histograms"),
        (plot_cramer_rao, efficiency, "efficiency"),
    ],
)
def test_tables_that_cannot_be_drawn(plot, table, name):
    with pytest.raises(InputError, match=f"^{name}: .*missing study, output;"):
        plot(table().drop(columns=["study", "output"]))
    two = table()
    two.loc[two.index[-1], "study"] = "other"
    with pytest.raises(InputError, match=f"^{name}: expected the rows of one study"):
        plot(two)
    with pytest.raises(InputError, match="empty table"):
        plot(table().iloc[:0])
