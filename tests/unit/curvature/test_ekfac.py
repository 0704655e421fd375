"""EKFAC: the best diagonal in KFAC's bases."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.curvature.ekfac import fit_ekfac
from starstack.curvature.kfac import fit_kfac

NOISE = np.array([0.4, 1.0, 2.5])


def networks(oracle):
    yield oracle.network((6,), oracle.dense(5, "tanh"), oracle.dense(4, "relu"), oracle.dense(3))
    yield oracle.network(
        (5, 4, 2),
        oracle.conv2d(3, 2, activation="tanh"),
        keras.layers.Flatten,
        oracle.dense(3),
    )


@pytest.mark.parametrize("which", [0, 1])
def test_nearer_to_the_exact_blocks_than_kfac(oracle, which):
    model = list(networks(oracle))[which]
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, *model.input_shape[1:])), rng.standard_normal((50, 3))
    exact = oracle.within_layers(model, oracle.gauss_newton(model, X, 1 / NOISE**2))
    unit = 1e-3 * np.eye(len(exact))
    distances = []
    for fit in (fit_kfac, fit_ekfac):
        posterior = fit(model, Batches(X, y, batch_size=16), noise=NOISE, prior_precision=1e-3)
        # Within each layer, where the approximations differ.
        error = oracle.precision_of(posterior) - unit - exact
        ends = np.cumsum([sum(w.size for w in layer.get_weights()) for layer in model.layers])
        starts = [0, *ends[:-1]]
        distances.append(
            [
                np.linalg.norm(error[start:end, start:end])
                for start, end in zip(starts, ends, strict=True)
                if end > start
            ]
        )
    kfac, ekfac = np.array(distances)
    # Both are exact for the last layer, up to rounding.
    assert (ekfac < kfac + 1e-9 * kfac.max()).all()
    assert (ekfac < 0.99 * kfac).any()


def test_diagonal_in_the_basis_is_that_of_the_exact_block(oracle):
    """This is what makes it the nearest."""
    model = next(networks(oracle))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6)), rng.standard_normal((50, 3))
    posterior = fit_ekfac(model, Batches(X, y, batch_size=16), noise=NOISE, prior_precision=0.0)
    exact = oracle.gauss_newton(model, X, 1 / NOISE**2)
    for block in posterior.blocks:
        own = np.r_[tuple(block.layer.slices)]
        basis = np.kron(block.input_vectors, block.output_vectors)
        diagonal = np.diag(basis.T @ exact[np.ix_(own, own)] @ basis)
        oracle.assert_close(block.curvature.ravel(), diagonal)


def test_another_proportion_of_noise_is_warned_of(oracle, caplog):
    """The basis stays, and KFAC, whose basis follows, is then the nearer one."""
    model = next(networks(oracle))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6)), rng.standard_normal((50, 3))
    fitted = fit_ekfac(model, Batches(X, y), noise=[1.0, 1.0, 100.0], prior_precision=1e-3)
    fitted.with_hyperparameters([2.0, 2.0, 200.0], 1.0)
    fitted.with_hyperparameters(prior_precision=1.0)
    assert not caplog.records
    changed = fitted.with_hyperparameters([100.0, 1.0, 1.0])
    assert "the bases stay as they were" in caplog.text
    caplog.clear()
    changed.with_hyperparameters([1.0, 1.0, 100.0])
    assert not caplog.records
