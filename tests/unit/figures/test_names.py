"""Names that people give are shown as they are, whatever else they mean here."""

import pytest

from starstack.figures.curvature import plot_eigenvalue_density
from starstack.figures.diversity import plot_diversity
from starstack.figures.errors import plot_errors
from starstack.figures.history import plot_history
from starstack.figures.leakage import plot_leakage
from starstack.figures.reliability import plot_reliability
from starstack.figures.residuals import plot_residuals
from starstack.figures.runtime import plot_runtime
from starstack.figures.scores import plot_scores
from starstack.figures.weights import plot_weights

BASES = ["base", "kfac", "fit_base", "teff"]
METAS = ["network", "meta", "test", "cg", "in-sample"]


def leaky(t):
    weights, scores = t.leakage()
    names = {"depth-1": "base", "depth-5": "kfac", "logistic": "network"}
    return plot_leakage(
        weights.replace({"model": names, "meta_learner": names}),
        scores.replace({"estimator": names}),
    )


# A figure, and the names that it has to show.
FIGURES = {
    "scores": (lambda t: plot_scores(t.scores(bases=BASES, metas=METAS)), [*BASES, *METAS]),
    "reliability": (
        lambda t: plot_reliability(t.reliability(["network"], bases=BASES, metas=METAS)),
        [*BASES, *METAS, "class “network”"],
    ),
    "residuals": (lambda t: plot_residuals(t.predictions(bases=BASES, metas=METAS)), METAS),
    "errors": (lambda t: plot_errors(t.errors(metas=METAS)), METAS),
    "weights": (
        lambda t: plot_weights(
            t.weights(["meta", "test"], ["network", "meta", "test"], BASES, METAS[:1], METAS[1:])
        ),
        [*BASES, *METAS, "(meta, test, from top to bottom)"],
    ),
    "diversity": (lambda t: plot_diversity(t.diversity(BASES)), BASES),
    "leakage": (leaky, ["base", "kfac", "network, trained out-of-fold"]),
    "runtime": (lambda t: plot_runtime(t.runtime(["network", "base"])), ["network", "base"]),
    "runtime-one": (lambda t: plot_runtime(t.runtime(["network"])), ["network"]),
    "history": (lambda t: plot_history(t.history(["network", "kfac"])), ["network", "kfac"]),
    "eigenvalue-density": (
        lambda t: plot_eigenvalue_density(t.eigenvalue_density("network")),
        ["network: 900 weights"],
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_names_are_shown_as_they_were_given(tables, name):
    draw, expected = FIGURES[name]
    figure = draw(tables)
    figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.findobj(lambda x: hasattr(x, "get_text"))]
    for word in expected:
        exact = " " not in word
        assert any(word == text if exact else word in text for text in shown), word
    assert "Networks" not in shown and "KFAC" not in shown
