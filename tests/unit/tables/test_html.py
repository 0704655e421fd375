"""Tables of the report: a page each, with every number and name readable."""

import html.parser

import numpy as np
import pandas as pd

from starstack.tables.html import write_html
from starstack.tables.measurement import Measurement


class Cells(html.parser.HTMLParser):
    """The texts of a page, cell by cell, a line break as a space."""

    def __init__(self):
        super().__init__()
        self.cells, self.open = [], False

    def handle_starttag(self, tag, attributes):
        if tag in ("td", "th"):
            self.cells.append("")
            self.open = True
        if tag == "br":
            self.cells[-1] += " "

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.cells[-1] += data


def cells(table, path):
    write_html(table, path, "A & B")
    text = path.read_text()
    assert "<title>A &amp; B</title>" in text
    parser = Cells()
    parser.feed(text)
    return parser.cells


def test_names_of_several_lines_and_measurements(tmp_path):
    columns = pd.MultiIndex.from_tuples([("Accuracy", "out-of-fold /\nn = 9"), ("Loss", "test")])
    rows = pd.Index(["<svm>"], name="Estimator")
    table = pd.DataFrame([[Measurement(0.95, 0.012), None]], index=rows, columns=columns)
    found = cells(table, tmp_path / "t.html")
    assert "out-of-fold / n = 9" in found
    assert not any("\\n" in cell for cell in found)
    assert "0.950 ± 0.012" in found
    assert "<svm>" in found
    assert "None" not in found and "NaN" not in found


def test_numbers_have_four_digits_and_missing_ones_are_empty(tmp_path):
    found = cells(pd.DataFrame({"w": [1 / 3, np.nan]}), tmp_path / "t.html")
    assert found[-3:] == ["0.3333", "1", ""]


def test_nothing_to_show_is_said(tmp_path):
    write_html(pd.DataFrame(), tmp_path / "t.html", "x")
    assert "This study has no such table." in (tmp_path / "t.html").read_text()


def test_bytes_are_the_same_each_time(tmp_path):
    table = pd.DataFrame({"a": [1.5]})
    write_html(table, tmp_path / "a.html", "x")
    write_html(table, tmp_path / "b.html", "x")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
