"""What is drawn of probabilities of classes are the numbers of the tables."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.classes import plot_class_reliability, plot_class_scores


def test_each_method_has_a_panel_before_and_one_after(tables):
    table = tables.class_reliability()
    figure = plot_class_reliability(table)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 10
    assert [axes.get_title(loc="left") for axes in panels[:2]] == ["plain", "KFAC\nprobit"]
    for axes, time in ((panels[1], "before"), (panels[6], "after")):
        rows = table[(table["method"] == "kfac, probit") & (table["temperature"] == time)]
        counts = [text.get_text() for text in axes.texts]
        assert counts == [str(n) for n in rows["n"]]
        points = np.concatenate([container.lines[0].get_xydata() for container in axes.containers])
        np.testing.assert_allclose(points, rows[["mean_confidence", "right"]])


def test_scores_have_the_paired_error(tables):
    table = tables.class_calibration()
    axes = plot_class_scores(table).axes[0]
    before, after = axes.containers[:2]
    chosen = table[(table["statistic"] == "log_loss") & (table["temperature"] == "after")]
    np.testing.assert_allclose(np.asarray(after.lines[0].get_xdata()), chosen["value"].to_numpy())
    widths = [np.ptp(segment[:, 0]) / 2 for segment in before.lines[2][0].get_segments()]
    np.testing.assert_allclose(widths, [0, 0.004, 0.004, 0.004, 0.004], atol=1e-12)
    words = [tick.get_text() for tick in axes.get_yticklabels()]
    assert words[:2] == ["plain", "KFAC, probit"]


@pytest.mark.parametrize("plot", [plot_class_reliability, plot_class_scores])
def test_missing_columns_are_named(tables, plot):
    make = "class_reliability" if plot is plot_class_reliability else "class_calibration"
    table = getattr(tables, make)()
    with pytest.raises(InputError, match="missing method, n;"):
        plot(table.drop(columns=["method", "n"]))


def test_weighted_scores_say_so(tables):
    words = "weighted by the rows' sample weights"
    for weighted in (True, False):
        figure = plot_class_scores(tables.class_calibration(), weighted=weighted)
        assert (words in " ".join(figure.get_supxlabel().split())) == weighted
