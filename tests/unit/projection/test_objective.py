"""Loss, gradient and Hessian of the joint problem: equal to formulas written by hand."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from starstack.errors import InputError
from starstack.projection.objective import Layout

CASES = [(2, True), (2, False), (4, True), (4, False)]


def by_hand(objective, flat):
    """Loss, gradient and Hessian from the derivatives of the softmax, by einsum."""
    X, Y, s, alpha = objective.X, objective.Y, objective.sample_weight, objective.alpha
    # The sigmoid is the softmax of (0, z): two outputs, of which the first is held at zero.
    one_hot = np.column_stack([1 - Y, Y]) if Y.shape[1] == 1 else Y
    layout = objective.layout
    W, V, b = layout.unpack(flat)
    z = X @ W @ V + b
    logits = np.column_stack([np.zeros(len(z)), z]) if Y.shape[1] == 1 else z
    p = softmax(logits, axis=1)
    loss = s @ (logsumexp(logits, axis=1) - (one_hot * logits).sum(axis=1))
    loss += alpha / 2 * ((W**2).sum() + (V**2).sum())
    r = s[:, None] * (p - one_hot)[:, -Y.shape[1] :]
    blocks = s[:, None, None] * (
        np.einsum("nc,cd->ncd", p, np.eye(p.shape[1])) - p[:, :, None] * p[:, None, :]
    )
    blocks = blocks[:, -Y.shape[1] :, -Y.shape[1] :]
    G = X.T @ r
    gradient = layout.pack(G @ V.T + alpha * W, W.T @ G + alpha * V, r.sum(axis=0))
    # Row n of J: derivatives of the outputs of row n.
    F, L, C = layout.n_features, layout.rank, layout.n_outputs
    J_W = np.einsum("nf,lc->ncfl", X, V).reshape(len(X), C, F * L)
    J_V = np.einsum("nl,cd->ncld", X @ W, np.eye(C)).reshape(len(X), C, L * C)
    J = np.concatenate([J_W, J_V], axis=2)
    if layout.fit_intercept:
        J = np.concatenate([J, np.broadcast_to(np.eye(C), (len(X), C, C))], axis=2)
    H = np.einsum("ncp,ncd,ndq->pq", J, blocks, J)
    mixed = np.einsum("fc,lm->flmc", G, np.eye(L)).reshape(F * L, L * C)
    H[: F * L, F * L : F * L + L * C] += mixed
    H[F * L : F * L + L * C, : F * L] += mixed.T
    penalised = np.arange((F + C) * L)
    H[penalised, penalised] += alpha
    return loss, gradient, H


@pytest.mark.parametrize(("n_classes", "fit_intercept"), CASES)
def test_derivatives_equal_formulas(make_classes, make_objective, n_classes, fit_intercept):
    X, y = make_classes(n_classes, n=40)
    rng = np.random.default_rng(1)
    objective = make_objective(
        X, y, rank=3, fit_intercept=fit_intercept, sample_weight=rng.uniform(0, 2, len(y))
    )
    flat = rng.normal(size=objective.size)
    loss, gradient, H = by_hand(objective, flat)
    value, found = objective.value_and_gradient(flat)
    assert value == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-10 * np.abs(gradient).max())
    np.testing.assert_allclose(objective.hessian(flat), H, rtol=0, atol=1e-10 * np.abs(H).max())
    v = rng.normal(size=objective.size)
    np.testing.assert_allclose(
        objective.hessian_vector_product(flat, v), H @ v, rtol=0, atol=1e-10 * np.abs(H @ v).max()
    )


def test_formulas_by_hand_agree_with_finite_differences(make_classes, make_objective):
    X, y = make_classes(3, n=30)
    objective = make_objective(X, y, rank=2)
    rng = np.random.default_rng(2)
    flat, v = rng.normal(size=(2, objective.size))
    step = 1e-5
    up, down = (by_hand(objective, flat + sign * step * v) for sign in (1, -1))
    _, gradient, H = by_hand(objective, flat)
    assert (up[0] - down[0]) / (2 * step) == pytest.approx(gradient @ v, rel=1e-8)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * step), H @ v, rtol=0, atol=1e-6)


def test_gradient_is_that_of_the_product_times_the_factors(make_classes, make_objective):
    X, y = make_classes(3)
    objective = make_objective(X, y, rank=2, alpha=0.0, fit_intercept=False)
    flat = np.random.default_rng(3).normal(size=objective.size)
    W, V, b = objective.layout.unpack(flat)
    G = objective.product_gradient(flat)
    expected = objective.layout.pack(G @ V.T, W.T @ G, b)
    np.testing.assert_allclose(objective.value_and_gradient(flat)[1], expected, atol=1e-11)


def test_sizes_share_one_compilation(make_classes, make_objective):
    counts = set()
    for n, rank, n_features in ((30, 1, 4), (50, 3, 4), (40, 2, 6)):
        X, y = make_classes(2, n=n, n_features=n_features)
        objective = make_objective(X, y, rank=rank)
        flat = np.ones(objective.size)
        objective.value_and_gradient(flat)
        objective.hessian_vector_product(flat, flat)
        counts.add(objective._products.n_traces)
    assert counts == {2}


def test_packing_is_undone_by_unpacking():
    layout = Layout(n_features=4, rank=2, n_outputs=3, fit_intercept=True)
    flat = np.arange(layout.size, dtype=float)
    assert layout.size == (4 + 3) * 2 + 3
    np.testing.assert_array_equal(layout.pack(*layout.unpack(flat)), flat)


def test_a_vector_of_wrong_length_is_refused(make_classes, make_objective):
    X, y = make_classes(2)
    objective = make_objective(X, y, rank=1)
    with pytest.raises(InputError, match=r"expected a vector of shape \(7,\), got \(3,\)"):
        objective.value_and_gradient(np.zeros(3))
