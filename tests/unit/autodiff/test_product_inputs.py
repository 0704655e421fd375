"""What products take: long rows, tokens, whole targets and losses of one's own, as Keras does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.batches import Batches
from starstack.autodiff.products import Products
from starstack.autodiff.scipy_bridge import minimize
from starstack.errors import InputError

RNG = np.random.default_rng(0)
N, WIDTH = 6, 3


def make_products(model, loss, data, **options):
    return Products(model, loss, data, jit_compile=False, **options)


def build(*layers, shape=(WIDTH,)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape, dtype="float64"), *layers])


def dense(units, **options):
    return keras.layers.Dense(units, dtype="float64", **options)


LOSSES = {
    "squares": (keras.losses.MeanSquaredError, {}),
    "binary": (keras.losses.BinaryCrossentropy, {"from_logits": True}),
    "huber": (keras.losses.Huber, {"delta": 0.5}),
}
REDUCTIONS = ["sum", "sum_over_batch_size", "mean", "mean_with_sample_weight"]


@pytest.mark.parametrize("places", [(), (4,), (4, 2)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_places_of_long_rows_count_as_in_keras(loss, reduction, places):
    kind, options = LOSSES[loss]
    loss = kind(reduction=reduction, dtype="float64", **options)
    model = build(dense(2), shape=(*places, WIDTH))
    X = RNG.normal(size=(N, *places, WIDTH))
    y = RNG.integers(0, 2, (N, *places, 2)).astype(float)
    products = make_products(model, loss, Batches(X, y, batch_size=4))
    assert products.loss() == pytest.approx(float(loss(y, model(X))), rel=1e-10)
    with tf.GradientTape() as tape:
        value = loss(y, model(X))
    slopes = tape.gradient(value, [variable.value for variable in model.trainable_variables])
    expected = products.parameters.pack([slope.numpy() for slope in slopes])
    np.testing.assert_allclose(products.gradient(), expected, rtol=1e-9, atol=1e-12)
    v, step = RNG.normal(size=products.parameters.size), 1e-6
    at = products.parameters.read()
    curved = (products.gradient(at + step * v) - products.gradient(at - step * v)) / (2 * step)
    # Of a linear model the two matrices are the same.
    for product in (products.hessian_vector_product, products.gauss_newton_vector_product):
        np.testing.assert_allclose(product(v), curved, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", [None, "none"])
def test_a_loss_that_is_not_reduced_counts_as_its_mean(reduction):
    loss = keras.losses.MeanSquaredError(reduction=reduction, dtype="float64")
    model = build(dense(2), shape=(4, WIDTH))
    X, y = RNG.normal(size=(N, 4, WIDTH)), RNG.normal(size=(N, 4, 2))
    expected = np.mean((model(X).numpy() - y) ** 2)
    assert make_products(model, loss, (X, y)).loss() == pytest.approx(expected, rel=1e-12)


def lookup(nested=False):
    layers = [keras.layers.Embedding(10, 2, dtype="float64"), keras.layers.Flatten(dtype="float64")]
    inner = [keras.Sequential([keras.Input((4,), dtype="int32"), *layers])] if nested else layers
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,), dtype="int32"), *inner, dense(1)])


TOKEN = r"^row 15 has the token 99; .* takes 0 to 9: [^\n]*$"


@pytest.mark.parametrize("nested", [False, True])
def test_tokens_beyond_the_vocabulary_are_refused_in_every_batch(nested):
    """XLA would take the last token instead, and Keras raises."""
    model, tokens = lookup(nested), RNG.integers(0, 10, (20, 4))
    good = tokens.copy()
    tokens[15, 2] = 99
    y = np.zeros(20)
    with pytest.raises(InputError, match=TOKEN):
        Products(model, "mse", Batches(tokens, y, batch_size=5))
    with pytest.raises(InputError, match=TOKEN):
        minimize(model, "mse", (tokens, y))
    products = make_products(model, "mse", Batches(good, y, batch_size=5))
    v = np.ones(products.parameters.size)
    for use in (
        lambda: products.over(Batches(tokens, y, batch_size=5)),
        lambda: products.outputs(tokens),
        lambda: products.jacobian_vector_product(tokens, v),
        lambda: products.vector_jacobian_product(tokens, np.ones((20, 1))),
    ):
        with pytest.raises(InputError, match=TOKEN):
            use()
    assert np.isfinite(products.loss())


def mean_squares(y, z):
    return tf.reduce_mean((y - z) ** 2, axis=-1)


def test_whole_targets_of_ones_own_loss_are_cast_as_keras_does():
    model, X = build(dense(1)), RNG.normal(size=(N, WIDTH))
    counts = np.arange(N)
    found = make_products(model, mean_squares, (X, counts)).loss()
    assert found == make_products(model, "mse", (X, counts)).loss()


def test_ones_own_loss_may_insist_on_whole_targets():
    def codes(y, z):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)

    model, X = build(dense(3)), RNG.normal(size=(N, WIDTH))
    y = np.arange(N) % 3
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = make_products(model, theirs, (X, y)).loss()
    assert make_products(model, codes, (X, y)).loss() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match=r"^loss 'codes' fails for targets of shape [^\n]*$"):
        make_products(model, codes, (X, y + 0.5))


@pytest.mark.parametrize("batch_size", [1, 2, N])
def test_ones_own_loss_that_mixes_rows_is_refused(batch_size):
    def mixing(y, z):
        return mean_squares(y, z) + tf.reduce_sum(z) ** 2

    def by_targets(y, z):
        return mean_squares(y, z) / (1 + tf.math.reduce_variance(y))

    model, X = build(dense(1)), RNG.normal(size=(N, WIDTH))
    data = Batches(X, X[:, 0], batch_size=batch_size)
    if batch_size > 1:
        with pytest.raises(InputError, match="'by_targets' mixes the rows of a batch"):
            make_products(model, by_targets, data)
    with pytest.raises(InputError, match="'mixing' mixes the rows of a batch"):
        make_products(model, mixing, data)
    assert np.isfinite(make_products(model, mean_squares, data).loss())
