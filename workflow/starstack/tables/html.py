"""A readable table as a small page of its own, for the report."""

from html import escape
from pathlib import Path

import pandas as pd

_STYLE = """
body { font-family: sans-serif; font-size: 14px; color: #222; margin: 1em; }
table { border-collapse: collapse; border-top: 2px solid #222; border-bottom: 2px solid #222; }
th, td { padding: 0.25em 0.8em; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
tbody th { text-align: left; font-weight: normal; }
thead tr:last-child th { border-bottom: 1px solid #222; }
tbody tr:hover { background: #f2f2f2; }
"""


_BREAK = "\u2028"  # the line separator of Unicode, which no name holds


def write_html(table: pd.DataFrame, path: str | Path, title: str) -> None:
    """Write a table as HTML, ruled as :func:`starstack.tables.latex.write_latex` rules it.

    Parameters
    ----------
    table : DataFrame
        Its column names may have several levels. Floats get four significant digits; a missing
        value is an empty cell.
    path : str or Path
        The file; it is overwritten.
    title : str
        Plain text.
    """
    body = "<p>This study has no such table.</p>"
    if not table.empty:
        # pandas writes a line break in a name as backslash and n.
        shown = table.rename(columns=lambda name: str(name).replace("\n", _BREAK))
        shown = shown.rename_axis(columns=None if table.columns.nlevels == 1 else [None] * 2)
        body = shown.to_html(
            border=0, na_rep="", float_format=lambda value: f"{value:.4g}", justify="right"
        )
        body = body.replace(">None<", "><").replace(_BREAK, "<br>")
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
    Path(path).write_text(page, encoding="utf-8", newline="\n")
