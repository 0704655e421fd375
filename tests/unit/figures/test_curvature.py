"""Density of eigenvalues and structures against the exact matrix: what is drawn where."""

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.figures.curvature import plot_eigenvalue_density, plot_structures


def marked(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def test_mean_and_probes_are_those_of_the_table(tables):
    density = tables.eigenvalue_density()
    (axes,) = plot_eigenvalue_density(density).axes
    (mean,) = marked(axes, "density")
    wanted = density[density["probe"] == "mean"]
    np.testing.assert_array_equal(mean.get_ydata(), wanted["density"])
    probes = [line for line in axes.get_lines() if "one probe" in line.get_label()]
    assert len(probes) == 3
    assert axes.get_xscale() == "symlog"
    assert axes.get_yscale() == "log"
    assert "900 weights,\n2,000 rows, 3 probes" in axes.get_title(loc="left")


def test_negative_eigenvalues_are_shaded_and_zero_smeared_out_is_not(tables):
    negative = tables.eigenvalue_density()
    (axes,) = plot_eigenvalue_density(negative).axes
    (shade,) = axes.collections
    reach = shade.get_paths()[0].vertices[:, 0]
    assert reach.min() < -2
    assert reach.max() < -5 * negative["smoothing_width"].min()
    positive = tables.eigenvalue_density(lowest=0.0)
    (axes,) = plot_eigenvalue_density(positive).axes
    assert not axes.collections


def test_the_dotted_line_is_what_one_eigenvalue_would_be(tables):
    density = tables.eigenvalue_density()
    (axes,) = plot_eigenvalue_density(density).axes
    line = next(x for x in axes.get_lines() if x.get_label() == "height of one eigenvalue")
    width = density[density["probe"] == "mean"]["smoothing_width"]
    np.testing.assert_allclose(line.get_ydata() * width * np.sqrt(2 * np.pi), 1 / 900)


def test_a_panel_per_network(tables):
    both = pd.concat([tables.eigenvalue_density(), tables.eigenvalue_density("starnet")])
    titles = [axes.get_title(loc="left") for axes in plot_eigenvalue_density(both).axes]
    assert [title.split(":")[0] for title in titles] == ["dense", "starnet"]


def test_ticks_of_a_side_without_a_power_of_ten(tables):
    (axes,) = plot_eigenvalue_density(tables.eigenvalue_density(lowest=-6.0)).axes
    axes.figure.draw_without_rendering()
    words = [text.get_text() for text in axes.get_xticklabels()]
    assert "0" in words
    assert any(word.startswith("$-") for word in words)


def test_ratios_to_the_exact_standard_deviation(tables):
    structures = tables.structures()
    figure = plot_structures(structures)
    for axes, output in zip(figure.axes, ["teff", "logg", "fe_h"], strict=True):
        lines = marked(axes, "structures")
        assert len(lines) == structures["structure"].nunique()
        for line in lines:
            rows = structures[
                (structures["output"] == output) & (structures["structure"] == line.get_label())
            ]
            ratio = rows["standard_deviation"] / rows["exact_standard_deviation"]
            np.testing.assert_allclose(line.get_ydata(), ratio)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "KFAC (0.8)" in texts
    units = [axes.get_xlabel().rpartition(" ")[2] for axes in figure.axes]
    assert units == ["(K)", "(dex)", "(dex)"]
    figure.draw_without_rendering()
    for axes in figure.axes:
        for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            float(text.get_text())  # plain, not a power of ten


def test_many_predictions_are_thinned_out_and_the_note_says_so(tables):
    structures = tables.structures(["teff"], n=1000)
    figure = plot_structures(structures)
    assert all(len(line.get_xdata()) <= 400 for line in marked(figure.axes[0], "structures"))
    assert "one in 3 shown" in figure._supxlabel.get_text().replace("\n", " ")


@pytest.mark.parametrize("plot", [plot_eigenvalue_density, plot_structures])
def test_refusals_say_what_to_do(tables, plot):
    table = tables.eigenvalue_density() if plot is plot_eigenvalue_density else tables.structures()
    with pytest.raises(InputError, match="missing network; run the rule"):
        plot(table.drop(columns="network"))
    with pytest.raises(InputError, match="expected the rows of one study, got stars, wine"):
        plot(pd.concat([table, table.assign(study="wine")]))
