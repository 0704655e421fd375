"""The reliability diagram shows every bin, pooled over classes where there are several."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.reliability import plot_reliability
from starstack.metrics.reliability import wilson_standard_error


def marks(axes):
    lines = [line for line in axes.lines if line.get_gid() == "reliability"]
    return np.concatenate([line.get_xydata() for line in lines])


def test_one_panel_per_estimator_and_one_mark_per_bin(tables):
    table = tables.reliability()
    figure = plot_reliability(table)
    names = [axes.get_title(loc="left").replace("\n", "") for axes in figure.axes]
    assert names == [*tables.bases, *tables.metas]
    for axes, name in zip(figure.axes, names, strict=True):
        own = table[table["estimator"] == name]
        expected = own[["mean_predicted", "observed_frequency"]].to_numpy()
        np.testing.assert_allclose(sorted(marks(axes).tolist()), sorted(expected.tolist()))
        assert [text.get_text() for text in axes.texts] == own["n"].astype(str).tolist()


def test_bars_are_one_standard_error_and_stay_inside(tables):
    table = tables.reliability(metas=[])
    (axes,) = plot_reliability(table, [tables.bases[0]]).axes
    own = table[table["estimator"] == tables.bases[0]].set_index("mean_predicted")
    for segment in np.concatenate([bars.get_segments() for bars in axes.collections]):
        (p, low), (_, high) = segment
        row = own.loc[p]
        assert low == pytest.approx(max(0, row["observed_frequency"] - row["standard_error"]))
        assert high == pytest.approx(min(1, row["observed_frequency"] + row["standard_error"]))


def test_classes_are_pooled_by_their_counts(tables):
    table = tables.reliability(["a", "b", "c"], bases=tables.bases[:1], metas=[])
    figure = plot_reliability(table)
    assert len(marks(figure.axes[0])) == 10
    first = table[table["bin"] == 1]
    expected = np.average(first["observed_frequency"], weights=first["n"])
    bars = np.concatenate([bars.get_segments() for bars in figure.axes[0].collections])
    (low, high) = min(bars.tolist())  # of the first bin
    (drawn,) = [y for p, y in marks(figure.axes[0]) if p == low[0]]
    assert drawn == pytest.approx(expected)
    error = wilson_standard_error(expected, first["n"].sum())
    assert high[1] == pytest.approx(expected + error)
    assert figure.axes[0].texts[0].get_text() == str(first["n"].sum())
    assert "3 classes, each against the rest, pooled" in figure._supxlabel.get_text()


def test_bins_of_few_rows_are_open(tables):
    table = tables.reliability(bases=["a"], metas=[])
    (axes,) = plot_reliability(table).axes
    lines = [line for line in axes.lines if line.get_gid() == "reliability"]
    open_marks = [len(line.get_xdata()) for line in lines if line.get_markerfacecolor() == "white"]
    assert sum(open_marks) == (table["n"] < 10).sum() > 0


def test_chosen_estimators(tables):
    figure = plot_reliability(tables.reliability(), ["convex", "logistic"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["convex", "logistic"]
    with pytest.raises(InputError, match=r"estimator: expected one of .* got 'stack'"):
        plot_reliability(tables.reliability(), ["stack"])
