"""The style holds for any number of studies, and leaves the caller's settings alone."""

import matplotlib
import pytest
from matplotlib.lines import Line2D

from starstack.errors import InputError
from starstack.figures.style import (
    FIGURE_MARKS,
    PAGE,
    STYLE_FILE,
    choose,
    new_figure,
    save_figure,
    sentence_figure,
    top_legend,
    use_style,
)
from starstack.figures.words import TARGETS, target_words


def test_settings_are_those_of_the_style_inside_and_the_callers_outside():
    with matplotlib.rc_context({"font.size": 33.0, "text.usetex": True}):
        with use_style():
            assert matplotlib.rcParams["font.size"] == 8.0
            assert not matplotlib.rcParams["text.usetex"]
            assert matplotlib.rcParams["pdf.fonttype"] == 42
        assert matplotlib.rcParams["font.size"] == 33.0


def test_style_file_has_only_settings_that_matplotlib_knows(caplog):
    with use_style():
        pass
    assert STYLE_FILE.exists() and not caplog.records


def test_targets_have_the_words_of_the_config_and_stars_their_own():
    assert target_words("teff") == TARGETS["teff"] == "Teff (K)"
    assert target_words("teff", {"teff": "temperature (K)"}) == "temperature (K)"
    assert target_words("my-own-target") == "my-own-target"


def test_no_figure_is_taller_than_a_page():
    assert new_figure(3.0, 40.0).get_size_inches().tolist() == [3.0, PAGE]
    assert new_figure(3.0, 4.0).get_size_inches().tolist() == [3.0, 4.0]


def placed(n, columns, width=7.0):
    """Texts of a legend, row by row, as they lie on the page."""
    figure = new_figure(width, 2.0)
    texts = [f"entry {number}" for number in range(n)]
    top_legend(figure, [Line2D([], []) for _ in texts], texts, columns)
    figure.draw_without_rendering()
    rows = {}
    for text in figure.legends[0].get_texts():
        box = text.get_window_extent()
        rows.setdefault(round(box.y0), []).append((box.x0, text.get_text()))
    return [[text for _, text in sorted(row)] for _, row in sorted(rows.items(), reverse=True)]


@pytest.mark.parametrize(("n", "columns"), [(1, 4), (4, 4), (5, 4), (7, 3), (9, 5), (10, 4)])
def test_legends_are_read_row_by_row_and_have_rows_of_one_length(n, columns):
    rows = placed(n, columns)
    assert [text for row in rows for text in row] == [f"entry {number}" for number in range(n)]
    assert len(rows) == -(-n // columns)
    assert max(map(len, rows)) == -(-n // len(rows))


def test_legends_of_narrow_figures_have_fewer_columns():
    assert [len(row) for row in placed(6, 6, width=2.0)] == [2, 2, 2]


def test_marks_differ_in_shape_and_colour():
    assert len({mark["marker"] for mark in FIGURE_MARKS.values()}) == len(FIGURE_MARKS)
    assert len({mark["color"] for mark in FIGURE_MARKS.values()}) == len(FIGURE_MARKS)


def test_choose_keeps_the_wanted_order():
    assert choose(["a", "b", "c"], ["c", "a"], "x") == ["c", "a"]
    assert choose(["a", "b"], None, "x") == ["a", "b"]
    with pytest.raises(InputError, match="x: expected one of a, b, got 'd'"):
        choose(["a", "b"], ["d"], "x")


def test_saving_needs_no_ending_and_keeps_dots(tmp_path):
    files = save_figure(sentence_figure("Nothing."), tmp_path / "v1.2")
    assert [path.name for path in files] == ["v1.2.pdf", "v1.2.png", "v1.2.svg"]
