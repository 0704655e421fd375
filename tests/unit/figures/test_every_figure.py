"""What holds for each figure: nothing cut off or overlapping, the same bytes, clear errors."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from starstack.errors import InputError
from starstack.figures.classes import plot_class_reliability, plot_class_scores
from starstack.figures.curvature import plot_eigenvalue_density, plot_structures
from starstack.figures.diversity import plot_diversity
from starstack.figures.errors import plot_errors
from starstack.figures.history import plot_history
from starstack.figures.jacobian import plot_jacobian
from starstack.figures.leakage import plot_leakage
from starstack.figures.reliability import plot_reliability
from starstack.figures.residuals import plot_residuals
from starstack.figures.runtime import RULES, plot_runtime
from starstack.figures.scores import plot_scores
from starstack.figures.spectra import plot_spectra
from starstack.figures.style import save_figure, use_style
from starstack.figures.weights import plot_weights

DIGITS = [str(digit) for digit in range(10)]
TARGETS = ["teff", "logg", "fe_h"]
TREES = ["depth-1", "depth-5", "depth-10"]

# Each figure in the sizes that studies have: two, three and ten classes, one and several targets.
FIGURES = {
    "scores": lambda t: plot_scores(t.scores()),
    "scores-three-metrics": lambda t: plot_scores(
        t.scores(metrics=["accuracy", "log_loss", "brier"]), ["accuracy", "log_loss", "brier"]
    ),
    "scores-two-targets": lambda t: plot_scores(t.scores(metrics=["r2"], outputs=["teff", "logg"])),
    "scores-two-bases": lambda t: plot_scores(t.scores(bases=t.bases[:2], metas=["convex"])),
    "weights-two-classes": lambda t: plot_weights(t.weights()),
    "weights-three-classes": lambda t: plot_weights(t.weights(["b", "c"], ["class_a", "b", "c"])),
    "weights-ten-classes": lambda t: plot_weights(t.weights(DIGITS[1:], DIGITS)),
    "weights-eleven-meta-learners": lambda t: plot_weights(
        t.weights(blends=[f"blend-{i}" for i in range(10)])
    ),
    "diversity": lambda t: plot_diversity(t.diversity()),
    "diversity-three-trees": lambda t: plot_diversity(t.diversity(TREES)),
    "diversity-two-models": lambda t: plot_diversity(t.diversity(TREES[:2])),
    "diversity-regression": lambda t: plot_diversity(t.diversity(t.bases, ["error_correlation"])),
    "reliability-two-classes": lambda t: plot_reliability(t.reliability()),
    "reliability-ten-classes": lambda t: plot_reliability(t.reliability(DIGITS)),
    "reliability-five": lambda t: plot_reliability(t.reliability(bases=TREES, metas=t.metas[:2])),
    "reliability-one": lambda t: plot_reliability(t.reliability(), ["convex"]),
    "residuals": lambda t: plot_residuals(t.predictions()),
    "residuals-one": lambda t: plot_residuals(t.predictions(), ["convex"]),
    "residuals-two-targets": lambda t: plot_residuals(t.predictions(["teff", "logg"]), t.metas[:2]),
    "residuals-three-targets": lambda t: plot_residuals(
        t.predictions(["a", "b", "c"]), t.metas[:2]
    ),
    "scores-three-targets": lambda t: plot_scores(
        t.scores(metrics=["rmse"], outputs=["teff", "logg", "fe_h"])
    ),
    "history": lambda t: plot_history(t.history()),
    "history-one": lambda t: plot_history(t.history(["dense"], validation=False)),
    "history-one-epoch": lambda t: plot_history(t.history(["a", "b", "c", "d"], epochs=1)),
    "errors": lambda t: plot_errors(t.errors()),
    "errors-one": lambda t: plot_errors(t.errors(["age"], metas=[], networks=["net"])),
    "spectra": lambda t: plot_spectra(np.linspace(15200, 15300, 400), t.spectra()),
    "spectra-one": lambda t: plot_spectra(None, t.spectra(1, noiseless=False)),
    "eigenvalue-density": lambda t: plot_eigenvalue_density(t.eigenvalue_density()),
    "structures": lambda t: plot_structures(t.structures()),
    "structures-one": lambda t: plot_structures(t.structures(["age"])),
    "class-reliability": lambda t: plot_class_reliability(t.class_reliability()),
    "class-reliability-ten-classes": lambda t: plot_class_reliability(
        t.class_reliability(["kfac", "last_layer", "exact"], lowest=1)
    ),
    "class-scores": lambda t: plot_class_scores(t.class_calibration()),
    "class-scores-small": lambda t: plot_class_scores(t.class_calibration(["kfac"], scale=0.1)),
    "jacobian": lambda t: plot_jacobian(t.sensitivities()),
    "jacobian-one": lambda t: plot_jacobian(t.sensitivities(["dense"])),
    "leakage": lambda t: plot_leakage(*t.leakage()),
    # As much as people may ask for.
    "scores-sixty-models": lambda t: plot_scores(
        t.scores(bases=[f"base-{i}" for i in range(60)], metrics=["rmse"], outputs=["teff", "logg"])
    ),
    "weights-three-targets": lambda t: plot_weights(
        t.weights(TARGETS, TARGETS, bases=t.bases[:5], blends=[])
    ),
    "weights-thirty-models": lambda t: plot_weights(
        t.weights(TARGETS, TARGETS, bases=[f"base-{i}" for i in range(30)], blends=["convex"])
    ),
    "residuals-five-of-three-targets": lambda t: plot_residuals(t.predictions(TARGETS)),
    "residuals-eight-of-three-targets": lambda t: plot_residuals(
        t.predictions(TARGETS, metas=[f"stack-{i}" for i in range(8)])
    ),
    "residuals-twenty": lambda t: plot_residuals(
        t.predictions(metas=[f"stack-{i}" for i in range(20)])
    ),
    "reliability-thirty": lambda t: plot_reliability(
        t.reliability(bases=[f"base-{i}" for i in range(25)])
    ),
    "errors-nine": lambda t: plot_errors(t.errors(metas=[f"long-name-{i}" for i in range(8)])),
    "eigenvalue-density-seven": lambda t: plot_eigenvalue_density(
        pd.concat([t.eigenvalue_density(f"net-{i}") for i in range(7)])
    ),
    "jacobian-four": lambda t: plot_jacobian(t.sensitivities(["a", "b", "c", "d"])),
    "runtime-all-rules": lambda t: plot_runtime(
        t.runtime([f"study-{i}" for i in range(14)], dict.fromkeys(RULES, 1))
    ),
    "runtime": lambda t: plot_runtime(t.runtime()),
    "runtime-one-study": lambda t: plot_runtime(t.runtime(["wine"])),
    "nothing": lambda t: plot_weights(t.weights().iloc[:0]),
}


class Drawn:
    """A figure laid out as it is saved, and the texts that drawing it put on the page."""

    def __init__(self, figure: Figure):
        self.figure = figure
        self.texts: list[tuple[str, float, Bbox]] = []
        draw = Text.draw

        def note(text, renderer, *args, **options):
            if text.get_visible() and text.get_text().strip():
                extent = text.get_window_extent(renderer)
                self.texts.append((text.get_text(), text.get_rotation(), extent))
            return draw(text, renderer, *args, **options)

        with use_style():
            figure.draw_without_rendering()
            with pytest.MonkeyPatch.context() as patch:
                # Labels of ticks outside the axes exist, but are never drawn.
                patch.setattr(Text, "draw", note)
                figure.draw_without_rendering()


@pytest.fixture(scope="module")
def drawn(tables):
    return {name: Drawn(draw(tables)) for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(drawn, name):
    figure = drawn[name].figure
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    slack = 0.005
    assert box.x0 > -slack and box.y0 > -slack, name
    assert box.x1 < width + slack and box.y1 < height + slack, name
    assert width <= 7.1  # two columns of a journal
    assert height <= 9.5  # a page with a caption


@pytest.mark.parametrize("name", FIGURES)
def test_text_does_not_overlap(drawn, name):
    # The boxes of slanted labels overlap where their letters do not.
    upright = [(words, box) for words, angle, box in drawn[name].texts if angle in (0, 90)]
    assert upright
    for (first, a), (second, b) in itertools.combinations(upright, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(wide, high) < 1, f"{first!r} overlaps {second!r}"


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "nothing"])
def test_axes_are_named(drawn, name):
    figure = drawn[name].figure
    words = [axes.get_xlabel() + axes.get_title(loc="left") for axes in figure.axes]
    assert figure.axes and all(words)
    bottom = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    assert any(axes.get_xlabel() or axes.get_xticklabels() for axes in bottom)


SIZED = ["scores", "reliability-ten-classes", "diversity", "runtime", "class-reliability"]
SIZED += ["class-scores"]


@pytest.mark.parametrize("name", SIZED)
def test_sample_size_is_shown(drawn, name):
    assert any("n = " in words for words, *_ in drawn[name].texts)


ONE_OF_EACH = [
    "scores",
    "weights-ten-classes",
    "diversity",
    "reliability-five",
    "residuals-one",
    "leakage",
    "history",
    "errors",
    "spectra",
    "runtime",
    "nothing",
]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_bytes_are_the_same_each_time(tables, name, tmp_path):
    first = save_figure(FIGURES[name](tables), tmp_path / "first")
    # A user's settings do not change a file.
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        second = save_figure(FIGURES[name](tables), tmp_path / "second")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_second_saving_gives_the_same_bytes(tables, tmp_path):
    figure = FIGURES["leakage"](tables)  # one that moves as long as its layout is not settled
    first, second = (save_figure(figure, tmp_path / stem) for stem in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["diversity-three-trees", "diversity-two-models"])
def test_panels_of_fixed_aspect_are_settled_before_saving(tables, name, tmp_path):
    figure = FIGURES[name](tables)
    save_figure(figure, tmp_path / "a")
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_size_inches()[0], "cut off at the right"
    assert box.y1 <= figure.get_size_inches()[1], "cut off at the top"


def test_files_hold_neither_date_nor_program(tables, tmp_path):
    pdf, png, svg = save_figure(FIGURES["runtime"](tables), tmp_path / "a")
    assert [path.name for path in (pdf, png, svg)] == ["a.pdf", "a.png", "a.svg"]
    assert b"dc:date" not in svg.read_bytes() and b"dc:creator" not in svg.read_bytes()
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF") and png.read_bytes().startswith(b"\x89PNG")
    for word in (b"CreationDate", b"Producer", b"Creator"):
        assert word not in content
    assert b"tEXt" not in png.read_bytes()[:200]
    assert b"/TrueType" in content or b"/Type0" in content  # text stays text


NEEDED = {
    "scores": (lambda t: (plot_scores, [t.scores()]), "estimator"),
    "weights": (lambda t: (plot_weights, [t.weights()]), "meta_learner"),
    "diversity": (lambda t: (plot_diversity, [t.diversity()]), "model_b"),
    "reliability": (lambda t: (plot_reliability, [t.reliability()]), "n"),
    "predictions": (lambda t: (plot_residuals, [t.predictions()]), "observed"),
    "runtime": (lambda t: (plot_runtime, [t.runtime()]), "seconds"),
    "history": (lambda t: (plot_history, [t.history()]), "epoch"),
    "errors": (lambda t: (plot_errors, [t.errors()]), "snr"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_missing_columns_are_named(tables, name):
    make, column = NEEDED[name]
    plot, (table,) = make(tables)
    with pytest.raises(
        InputError, match=rf"^{name}: expected the columns .*missing study, {column};"
    ):
        plot(table.drop(columns=["study", column]))


def test_missing_columns_of_the_leakage_figure_are_named(tables):
    weights, scores = tables.leakage()
    with pytest.raises(InputError, match=r"^weights: .*missing trained_on;"):
        plot_leakage(weights.drop(columns="trained_on"), scores)
    with pytest.raises(InputError, match=r"^scores: .*missing n;"):
        plot_leakage(weights, scores.drop(columns="n"))


@pytest.mark.parametrize(
    "name", ["weights", "diversity", "reliability", "predictions", "history", "errors"]
)
def test_figures_of_one_study_refuse_two(tables, name):
    plot, (table,) = NEEDED[name][0](tables)
    table.loc[table.index[-1], "study"] = "other"
    with pytest.raises(
        InputError, match=f"^{name}: expected the rows of one study, got .*, other;"
    ):
        plot(table)


@pytest.mark.parametrize("name", ["scores", "predictions", "runtime", "history", "errors"])
def test_tables_that_are_never_empty_must_not_be(tables, name):
    plot, (table,) = NEEDED[name][0](tables)
    with pytest.raises(InputError, match=f"^{name}: .*got an empty table"):
        plot(table.iloc[:0])


@pytest.mark.parametrize("name", ["weights", "diversity", "reliability"])
def test_where_a_study_has_no_rows_the_figure_says_so(tables, name):
    plot, (table,) = NEEDED[name][0](tables)
    figure = plot(table.iloc[:0])
    assert not figure.axes
    assert "stud" in figure.texts[0].get_text()


def test_pyplot_is_never_loaded():
    rooms = ["diversity", "errors", "history", "leakage", "reliability", "residuals", "runtime"]
    rooms += ["scores", "spectra", "weights"]
    code = "".join(f"import starstack.figures.{room}\n" for room in rooms)
    code += "import sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
