"""Blocks of the rows' Jacobian against the dense one from Jacobian-vector products."""

import keras
import numpy as np
import pytest

from starstack.autodiff.batches import Batches
from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.products import Products
from starstack.curvature.row_jacobian import RowJacobian
from starstack.curvature.structures import laplace

OPTIONS = {"dtype": "float64"}
NETWORKS = {
    "dense": (
        (4,),
        lambda: [keras.layers.Dense(3, "tanh", **OPTIONS), keras.layers.Dense(2, **OPTIONS)],
    ),
    "without bias": (
        (4,),
        lambda: [
            keras.layers.Dense(3, "relu", use_bias=False, **OPTIONS),
            keras.layers.Dense(2, **OPTIONS),
        ],
    ),
    "convolution": (
        (6, 5, 2),
        lambda: [
            keras.layers.Conv2D(3, (2, 3), strides=2, activation="tanh", **OPTIONS),
            keras.layers.Flatten(**OPTIONS),
            keras.layers.Dense(2, **OPTIONS),
        ],
    ),
    "other layers": (
        (4,),
        lambda: [
            keras.layers.Dense(3, **OPTIONS),
            keras.layers.PReLU(**OPTIONS),
            keras.layers.Dense(2, **OPTIONS),
        ],
    ),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """Blocks of two batches of rows, and their dense Jacobians."""
    shape, layers = NETWORKS[request.param]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape, dtype="float64"), *layers()])
    flat, rng = FlatParameters(model), np.random.default_rng(1)
    flat.write(0.5 * rng.standard_normal(flat.size))
    x = rng.standard_normal((8, *shape))
    products = Products(model, "mse", (x, np.zeros((8, 2))), jit_compile=False)
    J = np.stack([products.jacobian_vector_product(x, u) for u in np.eye(flat.size)], axis=2)
    jacobian = RowJacobian(model)
    outputs, blocks = jacobian(x)
    np.testing.assert_allclose(outputs, products.outputs(x), atol=1e-14)
    return jacobian, x, blocks, J


def test_flat_is_the_jacobian(case):
    jacobian, _, blocks, J = case
    np.testing.assert_allclose(jacobian.flat(blocks), J, atol=1e-13)


def test_kernels_are_products_of_jacobians(case):
    jacobian, x, blocks, J = case
    _, others = jacobian(x[5:])
    cross = sum(own.kernel(other, 0.5) for own, other in zip(blocks, others, strict=True))
    np.testing.assert_allclose(cross, 0.5 * np.einsum("ncp,mdp->ncmd", J, J[5:]), atol=1e-12)
    own = sum(block.own_kernel() for block in blocks)
    np.testing.assert_allclose(own, np.einsum("ncp,ndp->ncd", J, J), atol=1e-12)


def test_products_with_vectors(case):
    _, _, blocks, J = case
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((J.shape[2], 3))
    forward = sum(block.times(vectors) for block in blocks)
    np.testing.assert_allclose(forward, np.einsum("ncp,pm->ncm", J, vectors), atol=1e-12)
    rows, out = rng.standard_normal((8, 2, 3)), np.zeros_like(vectors)
    for block in blocks:
        block.add_transposed(rows, out)
    np.testing.assert_allclose(out, np.einsum("ncp,ncm->pm", J, rows), atol=1e-12)


def test_batches_cover_the_rows_in_order(case):
    jacobian, x, _, J = case
    parts = [jacobian.flat(blocks) for _, blocks in jacobian.batches(x, 3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    np.testing.assert_allclose(np.concatenate(parts), J, atol=1e-13)


def test_each_weight_belongs_to_one_layer(case):
    jacobian, _, blocks, J = case
    assert [block.layer for block in blocks] == list(jacobian.layers)
    covered = np.zeros(J.shape[2], dtype=int)
    for block in blocks:
        assert jacobian.layers[block.layer] == block.slices
        for part in block.slices:
            covered[part] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("structure", ["exact", "function_space", "low_rank", "cg"])
def test_a_layer_that_is_called_twice(oracle, structure):
    """Its Jacobian has no two factors; brute force gives the Gauss–Newton matrix."""
    inputs, twice = (
        keras.Input((4,), dtype="float64"),
        keras.layers.Dense(4, "tanh", **OPTIONS),
    )
    model = keras.Model(inputs, keras.layers.Dense(2, **OPTIONS)(twice(twice(inputs))))
    rng, noise = np.random.default_rng(0), np.array([0.5, 2.0])
    x, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    J = oracle.jacobian(model, x)
    precision = oracle.gauss_newton(model, x, noise**-2.0) + np.eye(J.shape[2])
    options = {"rank": J.shape[2]} if structure == "low_rank" else {}
    posterior = laplace(model, Batches(x, y), structure=structure, noise=noise, **options)
    expected = np.einsum("nci,ij,ndj->ncd", J, np.linalg.inv(precision), J)
    np.testing.assert_allclose(posterior.predictive_covariance(x), expected, atol=1e-8)
