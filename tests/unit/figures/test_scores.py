"""The figure of scores shows every row of its metric, and honest words about it."""

import re

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.figures.scores import plot_scores


def marks(axes):
    return np.concatenate([line.get_xdata() for line in axes.lines if line.get_gid() == "scores"])


def words(figure):
    """Words of the legend, read line by line."""
    figure.draw_without_rendering()
    places = {text: text.get_window_extent() for text in figure.legends[0].get_texts()}
    rows = sorted(places, key=lambda text: (-round(places[text].y0), places[text].x0))
    return [text.get_text() for text in rows]


def test_one_mark_and_one_bar_per_row(tables):
    table = tables.scores(metrics=["accuracy", "brier"])
    (axes,) = plot_scores(table).axes
    primary = table[table["metric"] == "accuracy"]
    np.testing.assert_array_equal(sorted(marks(axes)), sorted(primary["value"]))
    bars = np.concatenate([part.get_segments() for part in axes.collections])
    widths = bars[:, 1, 0] - bars[:, 0, 0]
    np.testing.assert_allclose(widths, 2 * primary["standard_error"])


def test_marks_stand_beside_their_names(tables):
    (axes,) = plot_scores(tables.scores()).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Base models", *tables.bases, "Meta-learners", *tables.metas]
    table = tables.scores().set_index(["estimator", "figure"])["value"]
    drawn = {
        (names[round(y)], x)
        for line in axes.lines
        if line.get_gid() == "scores"
        for x, y in line.get_xydata()
    }
    assert drawn == {(estimator, value) for (estimator, _), value in table.items()}


def test_shape_and_colour_tell_the_figures_apart(tables):
    figure = plot_scores(tables.scores())
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "scores"]
    assert len({line.get_marker() for line in lines}) == len(lines) == 3
    assert len({line.get_color() for line in lines}) == 3
    assert words(figure) == [
        "out-of-fold, n = 133",
        "cross-validated, n = 133",
        "test, n = 45",
    ]


def test_dotted_line_is_the_best_honest_base_model(tables):
    for metric, best in (("accuracy", "max"), ("brier", "min")):
        table = tables.scores(metrics=[metric])
        (axes,) = plot_scores(table).axes
        (line,) = [line for line in axes.lines if line.get_linestyle() == ":"]
        honest = table[(table["role"] == "base") & (table["figure"] == "out-of-fold")]
        assert line.get_xdata()[0] == honest["value"].agg(best)


def test_axis_names_metric_unit_and_direction(tables):
    table = tables.scores(metrics=["log_loss", "accuracy", "rmse"])
    labels = [
        axes.get_xlabel().replace("\n", " ")
        for axes in plot_scores(table, ["log_loss", "accuracy", "rmse"]).axes
    ]
    assert labels == [
        "Log loss (nat; lower is better)",
        "Accuracy (higher is better)",
        "RMSE (lower is better)",
    ]


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_axis_has_the_unit_of_its_target(tables, metric):
    table = tables.scores(metrics=[metric], outputs=["teff", "mass", "age"])
    figure = plot_scores(table, labels={"mass": "Mass (kg)"})
    units = [
        re.search(r"\((.*)is better\)", a.get_xlabel().replace("\n", " "))[1] for a in figure.axes
    ]
    assert units == ["K; lower ", "kg; lower ", "lower "]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Teff", "Mass", "age"]


def test_the_only_target_of_a_study_has_its_unit_and_no_title(tables):
    (axes,) = plot_scores(tables.scores(metrics=["rmse"]), labels={"mass": "Mass (kg)"}).axes
    assert axes.get_xlabel() == "RMSE (kg; lower is better)"
    assert axes.get_title(loc="left") == ""


def test_a_share_has_no_unit(tables):
    table = tables.scores(metrics=["r2"], outputs=["teff"])
    assert plot_scores(table).axes[0].get_xlabel() == "R² (higher is better)"


def test_studies_get_panels_with_their_own_sizes(tables):
    table = pd.concat([tables.scores(study) for study in ("wine", "digits", "iris")])
    figure = plot_scores(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["wine", "digits", "iris"]
    assert figure.axes[0].get_title(loc="right") == "training n = 133, test n = 45"


def test_losses_over_decades_are_drawn_on_a_logarithmic_axis(tables):
    table = tables.scores(metrics=["log_loss"])
    assert plot_scores(table).axes[0].get_xscale() == "linear"
    table.loc[0, "value"] = 20.0
    assert plot_scores(table).axes[0].get_xscale() == "log"


def test_zero_standard_errors_are_explained(tables):
    table = tables.scores()
    assert "no spread" not in plot_scores(table)._supxlabel.get_text()
    table.loc[0, "standard_error"] = 0.0
    assert "no spread" in plot_scores(table)._supxlabel.get_text()


def test_unknown_names_are_refused(tables):
    with pytest.raises(InputError, match="expected one of accuracy, got 'auc'"):
        plot_scores(tables.scores(), ["auc"])
    with pytest.raises(InputError, match=r"column figure: expected one of .* got 'train'"):
        plot_scores(tables.scores().replace({"figure": {"test": "train"}}))


def test_weighted_scores_say_so(tables):
    words = "weighted by the rows' sample weights"
    assert words in plot_scores(tables.scores(), weighted=True).get_supxlabel()
    assert words not in plot_scores(tables.scores()).get_supxlabel()
