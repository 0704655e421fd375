"""δ by held-out rows, and by the error bars of another structure where each one is a solution."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature import matrix_free
from starstack.curvature.hyperparameters import GRID, choose_prior_precision
from starstack.curvature.structures import laplace
from starstack.uncertainty.chosen_prior import choosing_structure, fit_with_chosen_prior

RNG = np.random.default_rng(3)
WIDTH = 5


def network(*layers):
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((WIDTH,), dtype="float64"), *layers])


def dense(units, **options):
    return keras.layers.Dense(units, dtype="float64", **options)


@pytest.fixture(scope="module")
def linear():
    """One layer, of which KFAC is the exact curvature, at its least squares."""
    X = RNG.normal(size=(220, WIDTH))
    y = X @ RNG.normal(size=(WIDTH, 2)) + RNG.normal(size=(220, 2))
    model = network(dense(2))
    a = np.hstack([X[:20], np.ones((20, 1))])
    found = np.linalg.lstsq(a, y[:20], rcond=None)[0]
    model.set_weights([found[:-1], found[-1]])
    return model, Batches(X[:20], y[:20]), Batches(X[20:], y[20:]), X[20:]


def test_a_structure_that_has_many_prior_precisions_chooses_its_own(linear):
    model, data, held_out, _ = linear
    # A σ that is too large makes V too large at δ = 0: the best δ is within the grid.
    found = fit_with_chosen_prior(model, data, held_out, structure="exact", noise=3.0)
    own = choose_prior_precision(laplace(model, data, structure="exact", noise=3.0), held_out)
    assert found.posterior.structure == found.chosen_by == "exact"
    assert found.posterior.prior_precision == own.prior_precision
    assert found.stated()["tried_prior_precisions"] == [list(pair) for pair in own.tried]
    assert found.stated()["prior_precision_at_edge"] is False


def test_kfac_chooses_for_conjugate_gradients_and_preconditions_them(linear, monkeypatch):
    model, data, held_out, x = linear
    counts, solve = [], matrix_free.solve

    def counted(operator, b, **options):
        solution = solve(operator, b, **options)
        counts.extend(solution.n_iterations)
        return solution

    monkeypatch.setattr(matrix_free, "solve", counted)
    found = fit_with_chosen_prior(model, data, held_out, structure="cg", noise=[0.5, 2.0])
    # The expected decrease alone: no error bar is solved for. With the exact curvature as
    # preconditioner, a solution takes one step, or two by rounding.
    assert len(counts) == 1 and max(counts) <= 2
    exact = fit_with_chosen_prior(model, data, held_out, structure="exact", noise=[0.5, 2.0])
    assert found.posterior.structure == "cg" and found.chosen_by == "kfac"
    assert found.posterior.prior_precision == exact.posterior.prior_precision
    assert found.stated()["prior_precision_chosen_by"] == "kfac"
    np.testing.assert_allclose(
        found.posterior.predictive_covariance(x[:3]),
        exact.posterior.predictive_covariance(x[:3]),
        rtol=1e-7,
    )


def test_a_layer_without_kronecker_factors_is_left_to_low_rank():
    recurrent = network(
        keras.layers.Reshape((WIDTH, 1), dtype="float64"),
        keras.layers.SimpleRNN(2, unroll=True, dtype="float64"),
        dense(1),
    )
    assert choosing_structure("cg", recurrent) == "low_rank"
    assert choosing_structure("cg", network(dense(1))) == "kfac"
    assert choosing_structure("last_layer", recurrent) == "last_layer"
    X = RNG.normal(size=(20, WIDTH))
    data, held_out = Batches(X[:14], X[:14, :1]), Batches(X[14:], X[14:, :1])
    found = fit_with_chosen_prior(recurrent, data, held_out, structure="cg", noise=0.3)
    assert (found.posterior.structure, found.chosen_by) == ("cg", "low_rank")


def test_an_end_of_the_grid_is_stated(linear):
    """Weights that are right need no variance: the larger δ, the better."""
    model, data, _, x = linear
    perfect = Batches(x, model.predict(x, verbose=0))
    found = fit_with_chosen_prior(model, data, perfect, structure="kfac", noise=1.0)
    assert found.posterior.prior_precision == GRID[-1]
    assert found.stated()["prior_precision_at_edge"] is True
