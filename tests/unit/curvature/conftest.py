"""What the tests of the structures share: networks in double precision, and brute force."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.inference import inference_function


def network(shape, *layers, seed=0, scale=0.7):
    """Make a network in double precision with random weights, biases too."""
    # Both: the first layer that any test makes fixes the policy, and floatx is not asked any more.
    before = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    try:
        model = keras.Sequential([keras.Input(shape), *(layer() for layer in layers)])
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_floatx(before[1])
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def dense(*arguments, **options):
    return lambda: keras.layers.Dense(*arguments, **options)


def conv1d(*arguments, **options):
    return lambda: keras.layers.Conv1D(*arguments, **options)


def conv2d(*arguments, **options):
    return lambda: keras.layers.Conv2D(*arguments, **options)


def jacobian(model, x, logits=False):
    """Return the Jacobian by all weights, (n, k, P), by TensorFlow and one row at a time."""
    infer, rows = inference_function(model, logits=logits), []
    for row in x:
        with tf.GradientTape(persistent=True) as tape:
            outputs = infer(tf.constant(row[None]))[0]
        variables = [v.value for v in model.trainable_variables]
        parts = tape.jacobian(outputs, variables, experimental_use_pfor=False)
        rows.append(np.concatenate([p.numpy().reshape(len(outputs), -1) for p in parts], axis=1))
    return np.stack(rows)


def gauss_newton(model, x, precision, weight=None, logits=False):
    """Return Σ w Jᵀ Λ J, with Λ of shape (n, k, k) or (k,)."""
    J = jacobian(model, x, logits)
    weight = np.ones(len(x)) if weight is None else weight
    if np.ndim(precision) == 1:
        precision = np.broadcast_to(np.diag(precision), (len(x), J.shape[1], J.shape[1]))
    return np.einsum("n,nci,ncd,ndj->ij", weight, J, precision, J, optimize=True)


def within_layers(model, matrix):
    """Set to zero what stands between weights of different layers."""
    sizes = [
        sum(int(np.prod(v.shape)) for v in layer.trainable_variables) for layer in model.layers
    ]
    label = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(label[:, None] == label, matrix, 0.0)


def precision_of(posterior):
    """Return the precision of the covered weights, as a dense matrix."""
    covered = posterior.is_covered()
    inverse = posterior.inverse_hessian_product(np.eye(len(covered)))
    assert not inverse[~covered].any() and not inverse[:, ~covered].any()
    return np.linalg.inv(inverse[np.ix_(covered, covered)])


def assert_close(found, expected, tolerance=1e-10):
    """Compare with the largest entry: what is zero has the rounding of its neighbours."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def predictive(posterior, x):
    """Return J P⁻¹ Jᵀ through flat Jacobians."""
    J = jacobian(posterior.model, x, logits=not posterior.likelihood.is_gaussian)
    n, k, _ = J.shape
    product = posterior.inverse_hessian_product(J.reshape(n * k, -1).T).reshape(-1, n, k)
    return np.einsum("nci,ind->ncd", J, product)


@pytest.fixture(scope="session")
def oracle():
    """Networks and brute force, by name."""
    return SimpleNamespace(
        network=network,
        dense=dense,
        conv1d=conv1d,
        conv2d=conv2d,
        jacobian=jacobian,
        gauss_newton=gauss_newton,
        within_layers=within_layers,
        precision_of=precision_of,
        predictive=predictive,
        assert_close=assert_close,
    )
