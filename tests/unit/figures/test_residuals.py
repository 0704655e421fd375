"""The figure of residuals shows every test row twice: predicted, and what is left."""

import re

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.residuals import plot_residuals
from starstack.figures.style import PAGE


def points(axes):
    (line,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    return line.get_xydata()


def test_every_row_and_its_residual(tables):
    table = tables.predictions()
    above, below = plot_residuals(table, ["convex"]).axes
    own = table[table["estimator"] == "convex"]
    np.testing.assert_array_equal(points(above), own[["observed", "predicted"]].to_numpy())
    np.testing.assert_array_equal(points(below)[:, 0], own["observed"])
    np.testing.assert_array_equal(points(below)[:, 1], own["predicted"] - own["observed"])


def test_numbers_are_those_of_the_residuals(tables):
    table = tables.predictions()
    above, _ = plot_residuals(table, ["convex"]).axes
    own = table[table["estimator"] == "convex"]
    residual = (own["predicted"] - own["observed"]).to_numpy()
    n, mean, spread = above.texts[0].get_text().replace("−", "-").splitlines()
    assert n == "n = 40"
    assert float(mean.removeprefix("mean ")) == pytest.approx(residual.mean(), abs=5e-4)
    assert float(spread.removeprefix("SD ")) == pytest.approx(residual.std(ddof=1), abs=5e-4)


def test_meta_learners_by_default_and_base_models_without_them(tables):
    titles = [axes.get_title(loc="left") for axes in plot_residuals(tables.predictions()).axes]
    assert [title for title in titles if title] == tables.metas
    only_bases = tables.predictions(metas=[])
    titles = [axes.get_title(loc="left") for axes in plot_residuals(only_bases).axes]
    assert [title for title in titles if title] == tables.bases[:2]


def test_targets_have_panels_and_labels(tables):
    figure = plot_residuals(
        tables.predictions(["teff", "logg"]), ["convex"], {"teff": "effective temperature (K)"}
    )
    assert [axes.get_xlabel() for axes in figure.axes[1::2]] == [
        "Observed effective temperature (K)",
        "Observed log g (dex)",
    ]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == [
        "Predicted effective temperature (K)",
        "Predicted log g (dex)",
    ]


@pytest.mark.parametrize(("estimators", "targets"), [(5, 3), (9, 3), (20, 1), (7, 4)])
def test_panels_fit_a_page_and_what_does_not_is_named(tables, estimators, targets):
    names = [f"stack-{number}" for number in range(estimators)]
    outputs = [f"target-{number}" for number in range(targets)]
    figure = plot_residuals(tables.predictions(outputs, metas=names, n=5))
    assert figure.get_figheight() <= PAGE
    shown = {axes.get_title(loc="left") for axes in figure.axes} - {""}
    assert len(figure.axes) == 2 * len(shown) * targets
    remark = figure._supxlabel.get_text()
    assert set(names) - shown == {name for name in names if re.search(rf"{name}\b", remark)}


def test_many_points_become_pixels(tables):
    above, below = plot_residuals(tables.predictions(n=3001, metas=["a"]), ["a"]).axes
    assert any(line.get_rasterized() for line in above.lines)
    assert any(line.get_rasterized() for line in below.lines)


def test_unknown_estimator(tables):
    with pytest.raises(InputError, match=r"estimator: expected one of .* got 'stack'"):
        plot_residuals(tables.predictions(), ["stack"])
