"""The figure of diversity shows each pair once."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.figures.diversity import plot_diversity

MODELS = ["a", "b", "c", "d"]


def test_one_number_per_pair_at_its_place(tables):
    table = tables.diversity(MODELS, ["error_correlation"])
    (axes,) = plot_diversity(table).axes
    across = [label.get_text() for label in axes.get_xticklabels()]
    down = [label.get_text() for label in axes.get_yticklabels()]
    assert (across, down) == (["a", "b", "c"], ["b", "c", "d"])
    drawn = {
        (across[int(x)], down[int(y)]): text.get_text()
        for text in axes.texts
        for x, y in [text.get_position()]
    }
    expected = {
        (row.model_a, row.model_b): f"{row.value:.2f}".replace("-", "−")
        for row in table.itertuples()
    }
    assert drawn == expected
    shown = axes.images[0].get_array()
    assert np.ma.count(np.ma.masked_invalid(shown)) == len(table)


def test_pairs_may_come_in_any_order(tables):
    table = tables.diversity(MODELS, ["error_correlation"])
    turned = table.copy()
    # The first row fixes the order of the models.
    turned.loc[1:, ["model_a", "model_b"]] = table.loc[1:, ["model_b", "model_a"]].to_numpy()
    one, other = plot_diversity(table).axes[0], plot_diversity(turned).axes[0]
    assert len(one.texts) == len(other.texts) == 6


def test_usual_statistics_and_others_on_request(tables):
    table = tables.diversity(MODELS)
    titles = [axes.get_title(loc="left") for axes in plot_diversity(table).axes]
    assert [title for title in titles if title] == ["Error correlation", "Q statistic"]
    (axes,) = plot_diversity(table, ["disagreement"]).axes
    assert axes.get_title(loc="left") == "Disagreement (share of rows)"
    with pytest.raises(InputError, match="got 'kappa'"):
        plot_diversity(table, ["kappa"])


def test_undefined_values_are_dashes(tables):
    table = tables.diversity(MODELS, ["q_statistic"])
    table.loc[2, "value"] = np.nan
    figure = plot_diversity(table)
    assert [text.get_text() for text in figure.axes[0].texts].count("–") == 1
    assert "Dash: not defined." in figure._supxlabel.get_text()


def test_the_extreme_q_is_explained(tables):
    table = tables.diversity(MODELS, ["q_statistic"])
    assert "never err" not in plot_diversity(table)._supxlabel.get_text()
    table.loc[0, "value"] = -1.0
    assert "never err on the same row" in plot_diversity(table)._supxlabel.get_text()
