"""Penalties of weights: Keras's own, in every product, and others refused by name."""

import keras
import numpy as np
import pytest

from starstack.autodiff.products import Products
from starstack.errors import InputError

N = 23
RNG = np.random.default_rng(0)
X, WEIGHT = RNG.normal(size=(N, 4)), RNG.uniform(0.2, 2, N)
TARGETS = {"mse": RNG.normal(size=(N, 3)), "binary_crossentropy": RNG.integers(0, 2, (N, 3))}


def network(hidden, last=None, **options):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(3, last, dtype="float64", **options)
    return keras.Sequential([keras.Input((4,), dtype="float64"), hidden, dense])


def make_products(model, loss="mse", **options):
    return Products(model, loss, (X, TARGETS[loss], WEIGHT), jit_compile=False, **options)


@pytest.mark.parametrize("loss", TARGETS)
def test_penalties_are_those_of_keras_and_only_on_request(loss):
    options = {"kernel_regularizer": keras.regularizers.L2(0.3)}
    hidden = keras.layers.Dense(5, "tanh", dtype="float64", **options)
    model = network(hidden, None if loss == "mse" else "sigmoid", **options)
    plain, penalized = (make_products(model, loss, regularization=on) for on in (False, True))
    assert penalized.loss() - plain.loss() == pytest.approx(float(sum(model.losses)), rel=1e-12)
    theta, v = plain.parameters.read(), RNG.normal(size=43)
    penalty = np.concatenate([np.full(20, 0.6), np.zeros(5), np.full(15, 0.6), np.zeros(3)])
    # Keras keeps the strength of a penalty in float32.
    np.testing.assert_allclose(penalized.gradient(), plain.gradient() + penalty * theta, atol=1e-7)
    for name in ("hessian_vector_product", "gauss_newton_vector_product"):
        expected = getattr(plain, name)(v) + penalty * v
        np.testing.assert_allclose(getattr(penalized, name)(v), expected, atol=1e-7)


class Penalized(keras.layers.Layer):
    """Adds to the loss what no regularizer tells of."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        self.add_loss(10 * keras.ops.sum(self.scale**2))
        return x * self.scale


OTHERS = {
    "add_loss": lambda: Penalized(name="culprit", dtype="float64"),
    "activity_regularizer": lambda: keras.layers.Dense(
        4, activity_regularizer="l2", name="culprit", dtype="float64"
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_else_adds_to_the_loss_is_refused_by_name(kind):
    model = network(OTHERS[kind]())
    make_products(model)
    with pytest.raises(InputError, match=rf"layer 'culprit' .*{kind}"):
        make_products(model, regularization=True)


def test_what_a_subclassed_model_adds_itself_is_refused():
    class Itself(keras.Model):
        def __init__(self):
            super().__init__(name="itself", dtype="float64")
            self.dense = keras.layers.Dense(3, dtype="float64")

        def call(self, x):
            y = self.dense(x)
            self.add_loss(keras.ops.sum(self.dense.kernel**2))
            return y

    model = Itself()
    model(X)
    with pytest.raises(InputError, match=r"'itself' .*add_loss"):
        make_products(model, regularization=True)
