"""The style holds for any number of studies, and leaves the caller's settings alone."""

import matplotlib
import pytest

from starstack.errors import InputError
from starstack.figures.style import (
    FIGURE_MARKS,
    LABELS,
    STYLE_FILE,
    choose,
    label,
    save_figure,
    sentence_figure,
    use_style,
)


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


def test_labels():
    assert label("fit_base") == LABELS["fit_base"] == "fit base models"
    assert label("my-own-model") == "my-own-model"


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
