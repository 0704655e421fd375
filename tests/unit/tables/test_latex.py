"""LaTeX tables: shape, escapes, numbers."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import starstack
from starstack.tables.latex import escape, write_latex
from starstack.tables.measurement import Measurement


def written(table, tmp_path, caption="Caption", label="tab:a"):
    write_latex(table, tmp_path / "a.tex", caption, label)
    return (tmp_path / "a.tex").read_text(encoding="utf-8")


def cells(line):
    """Number of columns that a line fills, spans included."""
    spans = [int(width) for width in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans)


def body(text):
    return [line for line in text.splitlines() if line.endswith(r" \\")]


MIXED = pd.DataFrame(
    {
        "a_b": ["x & y", "50 %", "#1_{2}~^\\"],
        "score": [Measurement(0.9532, 0.0123), None, Measurement(1.0, float("nan"))],
        "n": [10, 200, 3000],
        "weight": [-12.5, 0.25, np.nan],
    }
)


def test_table_by_hand(tmp_path):
    assert written(MIXED, tmp_path, "5 % of A_B") == "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            r"\caption{5 \% of A\_B}",
            r"\label{tab:a}",
            r"\begin{tabular}{lrrr}",
            r"\toprule",
            r"a\_b & score & n & weight \\",
            r"\midrule",
            r"x \& y & $0.953 \pm 0.012$ & $10$ & $-12.50$ \\",
            r"50 \% &  & $200$ & $0.25$ \\",
            r"\#1\_\{2\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
            r" & $1.000$ & $3000$ &  \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def test_two_levels_span_their_columns(tmp_path):
    keys = [("Log loss", "test"), ("Log loss", "in\nsample"), ("", "alone"), ("Brier", "test")]
    table = pd.DataFrame([[1.0, 2.0, 3.0, 4.0]], columns=pd.MultiIndex.from_tuples(keys))
    table.index = pd.MultiIndex.from_tuples([("svm", "base")], names=["Model", "Role"])
    text = written(table, tmp_path)
    lines = body(text)
    assert all(cells(line) == 6 for line in lines)
    assert r"\multicolumn{2}{c}{Log loss}" in lines[0]
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){6-6}" in text
    assert lines[1] == r"Model & Role & test & \shortstack{in \\ sample} & alone & test \\"
    assert lines[2].startswith("svm & base & $1.000$ &")
    assert r"\begin{tabular}{llrrrr}" in text


@pytest.mark.parametrize("named", [True, False])
def test_only_a_named_index_is_written(tmp_path, named):
    table = pd.DataFrame({"x": [1]}, index=pd.Index(["row"], name="Model" if named else None))
    text = written(table, tmp_path)
    assert ("Model & x" in text) == named
    assert ("row & $1$" in text) == named


def test_floats_of_a_column_have_the_same_decimals(tmp_path):
    text = written(pd.DataFrame({"w": [123.456, 0.0123, -7.0]}), tmp_path)
    assert [line[1:-4] for line in body(text)[1:]] == ["123.5", "0.0", "-7.0"]


def test_far_floats_are_written_with_a_power(tmp_path):
    text = written(pd.DataFrame({"w": [2e-7, 1e-8]}), tmp_path)
    assert r"$2.000 \times 10^{-7}$" in text and r"$1.000 \times 10^{-8}$" in text


def test_an_empty_table_compiles_as_a_comment(tmp_path):
    text = written(pd.DataFrame(), tmp_path, "Weights\nof wine")
    assert text == "% No such table: Weights of wine\n"


@pytest.mark.parametrize("text", ["&", "%", "#", "_", "$", "{", "}"])
def test_escapes(text):
    assert escape(f"a{text}b") == f"a\\{text}b"
    assert "~" not in escape("~") and escape("^") != "^"
    assert escape("R² ± σ") == r"R\textsuperscript{2} $\pm$ $\sigma$"


def own_texts():
    """Every text that the library and its scripts may write, but for their documentation."""
    root = Path(starstack.__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        # The line separator of Unicode is there to be replaced.
        yield from (
            node.value.replace("\u2028", "")
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in said
            and path.name != "latex.py"
        )


def test_pdflatex_prints_all_that_the_library_writes():
    signs = {sign for text in own_texts() for sign in text}
    assert set("Σσ²ᵀ−–é") <= signs
    assert [sign for sign in sorted(signs) if not escape(sign).isascii()] == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("M☉", r"M$\odot$"),
        ("J Σ Jᵀ", r"J $\Sigma$ J\textsuperscript{T}"),
        ("λ·δ ςΑΩο", r"$\lambda$$\cdot$$\delta$ $\varsigma$A$\Omega$$o$"),
        ("10⁻³ H₂", r"10\textsuperscript{$-$}\textsuperscript{3} H\textsubscript{2}"),
        ("Čech ñ Å ß", r"\v{C}ech \~{n} \AA{} \ss{}"),
        ("[Fe/H]", "{[}Fe/H{]}"),
    ],
)
def test_signs_of_users(text, written):
    assert escape(text) == written


def test_greek_letters_are_commands_of_latex():
    small = "αβγδεζηθικλμνξοπρςστυφχψω"
    names = re.findall(r"\$\\?([a-z]+)\$", "".join(map(escape, small)))
    assert len(names) == 25 and {"alpha", "lambda", "omega"} <= set(names)
    assert all(map(str.isascii, map(escape, "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ")))


def test_what_pdflatex_cannot_print_is_named_in_a_comment(tmp_path):
    text = written(pd.DataFrame({"星": ["a"]}), tmp_path)
    assert text.splitlines()[0] == "% Needs XeLaTeX or LuaLaTeX, and a font that has 星"
    assert "星 \\\\" in text
    assert written(pd.DataFrame({"σ": ["a"]}), tmp_path).isascii()
