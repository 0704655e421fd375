"""What all figures share: style file, words, colours, sizes, and files that do not change.

No function here or in this room touches pyplot's global state: figures are made as objects, under
the style as a context, and saved without a window system.
"""

import functools
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from starstack.errors import InputError

# What this module reads, so that an edit of it redraws the figures.
DATA_FILES = ("starstack.mplstyle",)
STYLE_FILE = Path(__file__).with_name(DATA_FILES[0])

# Widths of one and two columns of a journal, in inches (88 mm and 180 mm).
ONE_COLUMN, TWO_COLUMNS = 3.46, 7.09

# What a printed page has room for above a caption, in inches.
PAGE = 9.5

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
GREY = "#767676"
ROLE_COLOURS = {"base": BLUE, "meta": GREEN, "network": PURPLE}
# Series that have no role of their own, in the order they take them.
SERIES_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#000000")
BAND = "#F3F3F3"  # behind what belongs to one row

# Shape and colour of a score say which figure it is, so that no colour is needed to tell them.
FIGURE_MARKS: dict[str, dict[str, object]] = {
    "out-of-fold": {"marker": "o", "color": BLUE},
    "cross-validated": {"marker": "s", "color": GREEN},
    "test": {"marker": "D", "color": VERMILLION},
    "in-sample": {"marker": "X", "color": GREY},
}


def heading(name: str, width: float) -> str:
    r"""Break a name into lines that fit a panel of a width in inches.

    Examples
    --------
    >>> heading("extremely-randomised-trees", 1.5)
    'extremely-\nrandomised-trees'
    """
    # A bold letter of 8 points is 0.075 inches wide on average.
    return textwrap.fill(name, max(8, int(width / 0.075)))


def text_size(room: float) -> float:
    """Choose the size in points of a line of text that has some inches of height.

    Examples
    --------
    >>> text_size(0.2), text_size(0.07)
    (7.0, 4.2)
    """
    return float(np.clip(60 * room, 3.5, 7.0))


@contextmanager
def use_style() -> Iterator[None]:
    """Apply the style of the report inside a ``with`` block, from Matplotlib's own defaults."""
    with matplotlib.rc_context():
        matplotlib.style.use(["default", STYLE_FILE])
        yield


def styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw with the style of the report, whatever the caller's settings are."""

    @functools.wraps(plot)
    def draw(*args: object, **options: object) -> Figure:
        with use_style():
            return plot(*args, **options)

    return draw


def new_figure(width: float, height: float, layout: str = "constrained") -> Figure:
    """Make an empty figure of a size in inches, whose layout leaves nothing cut off.

    No figure is taller than a page. The layout "compressed" keeps panels of a fixed aspect
    together.
    """
    return Figure(figsize=(width, min(height, PAGE)), layout=layout)


# Neither a date nor the name of a program: the same figure gives the same bytes.
FORMATS: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


def save_figure(figure: Figure, stem: str | Path) -> tuple[Path, ...]:
    """Write a figure as PDF (for print), PNG (for slides) and SVG (for the report).

    The same figure gives the same bytes. The layout is settled once before the first file,
    because each drawing would move it a little.

    Parameters
    ----------
    figure : Figure
        What one of the ``plot_*`` functions returned.
    stem : str or Path
        The path without ``.pdf``, ``.png`` and ``.svg``.

    Returns
    -------
    tuple of Path
        The files, in the order of ``FORMATS``.
    """
    files = tuple(Path(f"{stem}{suffix}") for suffix in FORMATS)
    with use_style():
        if figure.get_layout_engine() is not None:
            # One pass leaves panels of a fixed aspect off their place: a title was cut by 2 points.
            for _ in range(2):
                figure.draw_without_rendering()
            # None, not "none": a placeholder would draw everything again before each file.
            figure.set_layout_engine(None)
        for file, metadata in zip(files, FORMATS.values(), strict=True):
            figure.savefig(file, metadata=metadata)
    return files


def check_table(
    table: pd.DataFrame, columns: Sequence[str], name: str, *, may_be_empty: bool = False
) -> None:
    """Refuse a table that a figure cannot be drawn from, before anything is drawn.

    Parameters
    ----------
    table : DataFrame
        A result table.
    columns : sequence of str
        What the figure reads.
    name : str
        The table's name, for the message.
    may_be_empty : bool
        Whether a table without rows is accepted.

    Raises
    ------
    InputError
        If columns are missing (all are named) or there is no row.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{name}: expected the columns {', '.join(columns)}, missing {', '.join(missing)}; "
            "run the rule that writes this table again"
        )
    if table.empty and not may_be_empty:
        raise InputError(f"{name}: expected at least one row, got an empty table")


def check_one_study(table: pd.DataFrame, name: str) -> None:
    """Refuse a table of several studies where a figure shows one.

    Raises
    ------
    InputError
        If the column ``study`` holds more than one name.
    """
    studies = unique(table["study"])
    if len(studies) > 1:
        raise InputError(
            f"{name}: expected the rows of one study, got {', '.join(studies)}; select one of them"
        )


def choose(known: Sequence[str], wanted: Sequence[str] | None, what: str) -> list[str]:
    """Pick the wanted names in their own order, or all known ones if none are asked for.

    Raises
    ------
    InputError
        If a wanted name is not known.
    """
    for name in wanted or ():
        if name not in known:
            raise InputError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    return list(wanted) if wanted else list(known)


def unique(values: pd.Series) -> list:
    """List the different values in order of appearance, which is the order of the config."""
    return list(dict.fromkeys(values))


def n_text(sizes: pd.Series, word: str = "n") -> str:
    """Write the number of rows behind a mark, or the range of it.

    Examples
    --------
    >>> n_text(pd.Series([142, 142])), n_text(pd.Series([90, 142]))
    ('n = 142', 'n = 90–142')
    """
    low, high = int(sizes.min()), int(sizes.max())
    return f"{word} = {low}" if low == high else f"{word} = {low}–{high}"


def sentence_figure(text: str) -> Figure:
    """Make a figure that says in one sentence why there is nothing to draw.

    Whether a study has weights or probabilities is known only after its models are fitted, when
    the figure is already promised.
    """
    figure = new_figure(ONE_COLUMN, 0.6)
    words = textwrap.fill(text, 46)
    figure.text(0.5, 0.5, words, ha="center", va="center", color=GREY)
    return figure


def few_rows_figure(least: int) -> Figure:
    """Make the figure of a study in which no bin of signal-to-noise ratios has rows enough."""
    return sentence_figure(
        f"No bin of signal-to-noise ratios has {least} test rows. Make snr_bins wider or "
        "test_size larger."
    )


def top_legend(
    figure: Figure,
    handles: Iterable[object],
    texts: Iterable[str],
    columns: int,
    **options: object,
) -> None:
    """Explain marks above the panels, in rows of about one length that are read as lines of text.

    Parameters
    ----------
    figure : Figure
        What the legend is of.
    handles, texts : iterable
        Marks and their words, in the order of the config.
    columns : int
        The most in a row; fewer where the figure is too narrow for the longest words.
    **options
        For Matplotlib's legend.
    """
    handles, texts = list(handles), list(texts)
    if not texts:
        return
    # A letter of 7 points is 0.05 inches wide on average, a mark and its margins 0.37.
    widest = 0.37 + 0.05 * max(map(len, texts))
    n_rows = -(-len(texts) // int(np.clip(figure.get_figwidth() // widest, 1, columns)))
    n_columns = -(-len(texts) // n_rows)
    # Matplotlib fills one column after the other.
    order = [at for column in range(n_columns) for at in range(column, len(texts), n_columns)]
    figure.legend(
        [handles[at] for at in order],
        [texts[at] for at in order],
        loc="outside upper center",
        ncols=n_columns,
        **options,
    )


def footnote(figure: Figure, text: str) -> None:
    """Write a remark below the panels, such as what the error bars are, in lines that fit."""
    # A letter of 6.5 points is 0.05 inches wide on average; one letter's width is for the margins.
    letters = int(figure.get_figwidth() / 0.05) - 1
    lines = [textwrap.fill(line, letters) for line in text.splitlines()]
    figure.supxlabel("\n".join(lines), fontsize=6.5, color=GREY)
