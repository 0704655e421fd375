"""Tables in LaTeX, in the style of the booktabs package: three rules, no vertical lines."""

import math
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from starstack.tables.measurement import Measurement

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "²": r"\textsuperscript{2}",
        "Σ": r"$\Sigma$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "−": r"$-$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def escape(text: str) -> str:
    r"""Escape what LaTeX would read as a command; a line break becomes two stacked lines.

    Examples
    --------
    >>> print(escape("random_forest & 50 %"))
    random\_forest \& 50 \%
    """
    escaped = text.translate(_ESCAPES)
    if "\n" not in escaped:
        return escaped
    return r"\shortstack{" + escaped.replace("\n", r" \\ ") + "}"


def _cell(value: object) -> str:
    """Write one cell: numbers in mathematics, text escaped, missing values empty."""
    if isinstance(value, Measurement):
        return value.latex()
    if isinstance(value, float | np.floating):
        return Measurement(float(value)).latex()
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"${value}$"
    return "" if value is None else escape(str(value))


def _column(values: pd.Series) -> list[str]:
    """Write one column; floats get the same decimals, four digits for the largest of them."""
    if values.dtype.kind != "f":
        return [_cell(value) for value in values]
    largest = values.abs().max()
    if not 1e-4 <= largest < 1e6:
        return [_cell(value) for value in values]
    decimals = max(0, 3 - math.floor(math.log10(largest)))
    return ["" if math.isnan(value) else f"${value:.{decimals}f}$" for value in values]


def _header(columns: pd.Index) -> list[str]:
    """Write the column names; of two levels, the upper one spans its columns."""
    if columns.nlevels == 1:
        return [" & ".join(escape(str(name)) for name in columns) + r" \\"]
    # A name without a lower part stands on the lower line, next to the rule.
    pairs = [(str(key[0]), str(key[1])) if key[1] else ("", str(key[0])) for key in columns]
    upper, rules, first = [], [], 1
    for name, run in groupby(pairs, key=lambda pair: pair[0]):
        width = len(list(run))
        upper.append(
            rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" if name else "& " * (width - 1)
        )
        if name:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    lower = [escape(name) for _, name in pairs]
    return [" & ".join(upper) + r" \\", "".join(rules), " & ".join(lower) + r" \\"]


def write_latex(table: pd.DataFrame, path: str | Path, caption: str, label: str) -> None:
    r"""Write a table as a LaTeX float that needs only ``\usepackage{booktabs}``.

    Text is aligned left, numbers right; a :class:`~starstack.tables.measurement.Measurement`
    becomes ``$0.953 \pm 0.012$`` and a float four significant digits. A named index is written as
    the first columns, a nameless one is left out.

    Parameters
    ----------
    table : DataFrame
        Its column names may have two levels. Of an empty one, only a LaTeX comment is written.
    path : str or Path
        The file; it is overwritten.
    caption : str
        Plain text, which is escaped.
    label : str
        The name for ``\ref``, as it is.
    """
    if table.empty:
        # A tabular without columns does not compile; a comment can be included anywhere.
        line = " ".join(caption.split())
        Path(path).write_text(f"% No such table: {line}\n", encoding="utf-8", newline="\n")
        return
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    columns = [table.iloc[:, position] for position in range(table.shape[1])]
    align = "".join("l" if any(isinstance(v, str) for v in c) else "r" for c in columns)
    rows = zip(*map(_column, columns), strict=True)
    body = [" & ".join(row) + r" \\" for row in rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        *_header(table.columns),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
