"""Tables in LaTeX, in the style of the booktabs package: three rules, no vertical lines."""

import math
import unicodedata
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from starstack.tables.measurement import Measurement

_COMMANDS = {
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
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After the end of a row, a bracket would begin an option.
    "[": "{[}",
    "]": "{]}",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "§": r"\S{}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "Å": r"\AA{}",
    "å": r"\aa{}",
    "Æ": r"\AE{}",
    "æ": r"\ae{}",
    "Œ": r"\OE{}",
    "œ": r"\oe{}",
    "Ø": r"\O{}",
    "ø": r"\o{}",
    "Ł": r"\L{}",
    "ł": r"\l{}",
    "ß": r"\ss{}",
}
_MATHEMATICS = {
    "±": r"\pm",
    "∓": r"\mp",
    "×": r"\times",
    "÷": r"\div",
    "·": r"\cdot",
    "⋅": r"\cdot",
    "−": "-",
    "≤": r"\leq",
    "≥": r"\geq",
    "≪": r"\ll",
    "≫": r"\gg",
    "≠": r"\neq",
    "≈": r"\approx",
    "≃": r"\simeq",
    "≡": r"\equiv",
    "∼": r"\sim",
    "∝": r"\propto",
    "∞": r"\infty",
    "∂": r"\partial",
    "∇": r"\nabla",
    "∑": r"\sum",
    "∏": r"\prod",
    "∫": r"\int",
    "√": r"\surd",
    "∈": r"\in",
    "→": r"\to",
    "←": r"\leftarrow",
    "↔": r"\leftrightarrow",
    "⊙": r"\odot",
    "☉": r"\odot",
    "⊕": r"\oplus",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "′": r"{}^{\prime}",
    "″": r"{}^{\prime\prime}",
    "°": r"{}^{\circ}",
    "ℓ": r"\ell",
    "ħ": r"\hbar",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "µ": r"\mu",
    "ϕ": r"\phi",
    "ϵ": r"\epsilon",
}
# Accents as Unicode's combining characters, and LaTeX's commands for them.
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
# Raised and lowered signs, by what Unicode says that they stand for.
_SCRIPTS = {"<super>": r"\textsuperscript", "<sub>": r"\textsubscript"}
_GREEK = range(0x391, 0x3CA)


def _letter(character: str) -> str:
    """Write one character for LaTeX; one that it has no command for stays what it is."""
    if character in _COMMANDS:
        return _COMMANDS[character]
    if character in _MATHEMATICS:
        return f"${_MATHEMATICS[character]}$"
    if character.isascii():
        return character
    if ord(character) in _GREEK:
        return _greek(character)
    kind, *parts = unicodedata.decomposition(character).split() or [""]
    if kind in _SCRIPTS:
        return f"{_SCRIPTS[kind]}{{{escape(''.join(chr(int(part, 16)) for part in parts))}}}"
    base, *accents = unicodedata.normalize("NFD", character)
    if base.isascii() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{base}}}"
    return character


def _greek(letter: str) -> str:
    """Write a Greek letter; those that look Latin have no command and are set upright."""
    *_, name = unicodedata.name(letter, "").lower().replace("lamda", "lambda").split()
    if name == "omicron":
        return "$o$"
    if letter.islower():
        return f"${chr(92)}{'varsigma' if letter == 'ς' else name}$"
    if letter in "ΓΔΘΛΞΠΣΥΦΨΩ":
        return f"${chr(92)}{name.capitalize()}$"
    return "ABEZHIKMNOPTX"["ΑΒΕΖΗΙΚΜΝΟΡΤΧ".index(letter)]


def escape(text: str) -> str:
    r"""Write text so that LaTeX prints it; a line break becomes two stacked lines.

    Signs and letters with a command of LaTeX's own become ASCII, so that pdfLaTeX needs no
    package for them; others stay as they are.

    Examples
    --------
    >>> print(escape("random_forest & 50 %"), escape("σ² of [α/Fe], Cramér–Rao"))
    random\_forest \& 50 \% $\sigma$\textsuperscript{2} of {[}$\alpha$/Fe{]}, Cram\'{e}r--Rao
    """
    escaped = "".join(map(_letter, text))
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

    Where text has characters that pdfLaTeX cannot print, a comment in the first line names them.

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
    if strange := "".join(sorted({sign for line in lines for sign in line if not sign.isascii()})):
        lines.insert(0, f"% Needs XeLaTeX or LuaLaTeX, and a font that has {strange}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
