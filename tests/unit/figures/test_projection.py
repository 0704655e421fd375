"""The figures of joint fits: what is drawn is what the tables say, and nothing is cut off."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from starstack.errors import InputError
from starstack.figures.projection import plot_projection
from starstack.figures.saddle import plot_saddle
from starstack.figures.style import VERMILLION, save_figure, use_style

SOLVERS = ["gradient-descent", "l-bfgs", "trust-krylov"]
INITS = ["zeros", "small-random", "orthogonal"]


def traces(solvers=SOLVERS, alphas=(0.0, 0.1)):
    """From zero, fits stay at a loss of 2.8 unless they escape; others fall at once."""
    histories, eigenvalues = [], []
    combinations = itertools.product(alphas, ["no", "yes"], INITS, solvers, ["no", "yes"])
    for alpha, intercept, init, solver, escape in combinations:
        stuck = init == "zeros" and escape == "no"
        loss = [2.8] if stuck else [2.8, 2.0, 1.0, 0.5 if alpha else 1e-7]
        run = {
            "study": "toy",
            "alpha": alpha,
            "intercept": intercept,
            "init": init,
            "escape": escape,
            "solver": solver,
        }
        histories.append(pd.DataFrame(run | {"iteration": range(len(loss)), "loss": loss}))
        for point in ("start", "end"):
            low = -2.3 if stuck or point == "start" else 0.0
            values = [low, 0.0, 0.4, 250.0]
            eigenvalues.append(pd.DataFrame(run | {"point": point, "eigenvalue": values}))
    return pd.concat(histories), pd.concat(eigenvalues)


def plane(n_classes=2, axis="rest", n=60):
    rng = np.random.default_rng(0)
    names = [f"kind-{i}" if n_classes < 6 else str(i) for i in range(n_classes)]
    classes, predicted = (np.array(names)[rng.integers(0, n_classes, n)] for _ in range(2))
    rows = pd.DataFrame(
        {
            "study": "toy",
            "row_id": [str(i) for i in range(n)],
            "class": classes,
            "predicted": predicted,
            "first": rng.normal(size=n),
            "second": rng.normal(size=n),
            "axis": axis,
        }
    )
    first, second = (g.ravel() for g in np.meshgrid(*[np.linspace(-3, 3, 30)] * 2))
    codes = ((np.arctan2(second, first) + np.pi) / (2 * np.pi + 1e-9) * n_classes).astype(int)
    regions = {"study": "toy", "first": first, "second": second, "class": np.array(names)[codes]}
    return rows, pd.DataFrame(regions)


FIGURES = {
    "saddle": lambda: plot_saddle(*traces()),
    "saddle-one-solver": lambda: plot_saddle(*traces(["trust-krylov"], [5.0])),
    "saddle-without-eigenvalues": lambda: plot_saddle(traces(SOLVERS[:1])[0], traces()[1].iloc[:0]),
    "projection-two": lambda: plot_projection(*plane()),
    "projection-five": lambda: plot_projection(*plane(5, "learned")),
    "projection-ten": lambda: plot_projection(*plane(10, "learned")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    figure = FIGURES[name]()
    with use_style():
        for _ in range(2):
            figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert box.x0 > -0.005 and box.y0 > -0.005
    assert box.x1 < width + 0.005 and box.y1 < height + 0.005
    assert width <= 7.1


@pytest.mark.parametrize("name", ["saddle-one-solver", "projection-two", "projection-ten"])
def test_bytes_are_the_same_each_time(name, tmp_path):
    first, second = (save_figure(FIGURES[name](), tmp_path / stem) for stem in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_only_the_fit_that_stays_is_drawn_dashed_and_to_the_edge():
    history, eigenvalues = traces(["l-bfgs"], [0.1])
    figure = plot_saddle(history, eigenvalues)
    panel = figure.axes[0]
    dashed = [line for line in panel.get_lines() if line.is_dashed()]
    assert len(dashed) == 1
    assert to_hex(dashed[0].get_color()).upper() == VERMILLION
    np.testing.assert_allclose(dashed[0].get_ydata(), 2.8)
    assert dashed[0].get_xdata()[-1] == panel.get_xlim()[1]
    assert len(panel.get_lines()) == 4


def test_losses_that_fall_for_ever_leave_their_panel_and_it_says_so():
    """Held at the bottom of the panel they look as if they had converged."""
    figure = plot_saddle(*traces(["l-bfgs"]))
    for panel, has_minimum in zip(figure.axes[::2], [False, False, True, True], strict=False):
        lowest = min(line.get_ydata()[-1] for line in panel.get_lines())
        words = " ".join(text.get_text() for text in panel.texts)
        assert ("no minimum" in words) is not has_minimum
        assert (lowest > panel.get_ylim()[0]) == has_minimum
        assert lowest == pytest.approx(0.5 if has_minimum else 1e-7)
    assert "falls for ever" in figure._supxlabel.get_text().replace("\n", " ")
    with_minima = plot_saddle(*traces(["l-bfgs"], [0.1]))
    assert "for ever" not in with_minima._supxlabel.get_text().replace("\n", " ")


def test_all_eigenvalues_are_inside_their_panel():
    panel = plot_saddle(*traces()).axes[-1]
    shown = np.concatenate([line.get_ydata() for line in panel.get_lines()])
    assert shown.min() == -2.3 and shown.max() == 250
    low, high = panel.get_ylim()
    assert low < -250 and high > 250


def test_the_numbers_of_rows_and_of_wrong_ones_are_written():
    rows, regions = plane()
    figure = plot_projection(rows, regions)
    wrong = (rows["class"] != rows["predicted"]).sum()
    text = figure._supxlabel.get_text().replace("\n", " ")
    assert f"n = {len(rows)} test rows, of which {wrong} lie" in text
    legend = {entry.get_text() for entry in figure.legends[0].get_texts()}
    counts = rows["class"].value_counts()
    assert legend == {f"{name} (n = {count})" for name, count in counts.items()}
    assert "not used by the model" in figure.axes[0].get_ylabel()


def test_rows_of_many_classes_are_their_names():
    rows, regions = plane(10, "learned")
    axes = plot_projection(rows, regions).axes[0]
    written = [text for text in axes.texts if text.get_gid() == "row"]
    assert [text.get_text() for text in written] == list(rows["class"])
    wrong = [to_hex(text.get_color()).upper() == VERMILLION for text in written]
    assert wrong == list(rows["class"] != rows["predicted"])


def test_long_names_of_many_classes_are_numbers_with_a_key():
    rows, regions = plane(10, "learned")
    for table in (rows, regions):
        for column in {"class", "predicted"} & set(table):
            table[column] = "class_" + table[column]
    figure = plot_projection(rows, regions)
    written = [text.get_text() for text in figure.axes[0].texts if text.get_gid() == "row"]
    assert written == [str(int(name[-1]) + 1) for name in rows["class"]]
    key = {text.get_text() for text in figure.legends[0].get_texts()}
    assert key == {f"{i + 1}: class_{i}" for i in range(10)}


@pytest.mark.parametrize("n_classes", [2, 6])
def test_borders_are_straight_on_a_coarse_grid(n_classes):
    """The border first = 0.3·second + 0.1 runs between the points of the grid."""
    rows, _ = plane(n_classes, "learned")
    first, second = (g.ravel() for g in np.meshgrid(*[np.linspace(-3, 3, 13)] * 2))
    output = first - 0.3 * second - 0.1
    names = np.sort(rows["class"].unique())[:2]
    regions = {"study": "toy", "first": first, "second": second}
    regions |= {"class": names[(output > 0).astype(int)], "margin": np.abs(output)}
    axes = plot_projection(rows, pd.DataFrame(regions)).axes[0]
    corners = np.concatenate([p.vertices for c in axes.collections for p in c.get_paths()])
    inner = corners[np.abs(corners).max(axis=1) < 2.9]
    assert len(inner) > 10
    np.testing.assert_allclose(inner[:, 0], 0.3 * inner[:, 1] + 0.1, atol=1e-9)


def test_tables_that_do_not_fit_are_refused():
    history, eigenvalues = traces()
    with pytest.raises(InputError, match=r"history: expected the columns .*missing loss"):
        plot_saddle(history.drop(columns="loss"), eigenvalues)
    with pytest.raises(InputError, match=r"history: .*empty"):
        plot_saddle(history.iloc[:0], eigenvalues)
    rows, regions = plane()
    with pytest.raises(InputError, match=r"regions: .*missing class"):
        plot_projection(rows, regions.drop(columns="class"))
