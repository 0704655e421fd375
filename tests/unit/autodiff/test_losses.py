"""Losses row by row against Keras's own reductions, and their Hessians against differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from starstack.autodiff.losses import (
    check_rows_apart,
    output_hessian,
    output_hessian_product,
    resolve_loss,
    resolve_reduction,
)
from starstack.errors import InputError

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(6, 3))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-Z))
ONE_HOT = np.eye(3)[[0, 1, 2, 2, 1, 0]]
CASES = {
    "mse": ("mse", RNG.normal(size=(6, 3)), Z),
    "huber": (keras.losses.Huber(delta=0.7), RNG.normal(size=(6, 3)), Z),
    "log_cosh": ("log_cosh", RNG.normal(size=(6, 3)), Z),
    "poisson": ("poisson", RNG.uniform(size=(6, 3)), np.exp(Z)),
    "binary": ("binary_crossentropy", ONE_HOT, SIGMOID),
    "binary_logits": (keras.losses.BinaryCrossentropy(from_logits=True), ONE_HOT, Z),
    "categorical": ("categorical_crossentropy", ONE_HOT, P),
    "smoothed": (
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        ONE_HOT,
        Z,
    ),
    "sparse": ("sparse_categorical_crossentropy", ONE_HOT.argmax(axis=1), P),
    "sparse_logits": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ONE_HOT.argmax(axis=1),
        Z,
    ),
    "generalized": (
        keras.losses.CategoricalGeneralizedCrossEntropy(),
        ONE_HOT.argmax(axis=1),
        P,
    ),
}


def tensors(*arrays):
    return [tf.constant(array) for array in arrays]


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_rows_is_kerass_loss(case):
    loss, y, out = CASES[case]
    rows = resolve_loss(loss)(*tensors(y, out)).numpy()
    assert rows.shape == (6,)
    found = keras.losses.get(loss)
    expected = found(*tensors(y, out))
    assert rows.mean() == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("case", ["binary", "categorical", "sparse"])
def test_the_loss_of_logits_is_that_of_probabilities(case):
    loss, y, out = CASES[case]
    of_logits = resolve_loss(loss).on_logits()(*tensors(y, Z)).numpy()
    np.testing.assert_allclose(of_logits, resolve_loss(loss)(*tensors(y, out)), rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_hessians_by_the_outputs_are_differences_of_slopes(case):
    loss, y, out = CASES[case]
    row_loss = resolve_loss(loss)
    y, out = tensors(y, out)

    def slope(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            total = tf.reduce_sum(row_loss(y, z))
        return tape.gradient(total, z).numpy()

    step = 1e-5
    expected = np.stack(
        [(slope(out + step * e) - slope(out - step * e)) / (2 * step) for e in np.eye(3)], axis=2
    )
    found = output_hessian(row_loss)(y, out).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    vectors = RNG.normal(size=(6, 3))
    product = output_hessian_product(row_loss, y, out, tf.constant(vectors)).numpy()
    np.testing.assert_allclose(product, np.einsum("nij,nj->ni", expected, vectors), atol=1e-7)


def test_closed_forms_of_the_outputs_hessians():
    y, z = ONE_HOT, Z
    np.testing.assert_allclose(output_hessian("mse")(y, z), np.tile(2 / 3 * np.eye(3), (6, 1, 1)))
    binary = resolve_loss("binary_crossentropy").on_logits()
    expected = np.stack([np.diag(p * (1 - p)) / 3 for p in SIGMOID])
    np.testing.assert_allclose(output_hessian(binary)(y, z), expected, rtol=1e-12)
    softmax = resolve_loss("categorical_crossentropy").on_logits()
    expected = np.stack([np.diag(p) - np.outer(p, p) for p in P])
    np.testing.assert_allclose(output_hessian(softmax)(y, z), expected, rtol=1e-9, atol=1e-15)


def test_targets_without_the_last_axis_do_not_broadcast():
    rows = resolve_loss("mse")(*tensors(np.arange(4.0), np.zeros((4, 1)))).numpy()
    assert rows.tolist() == [0, 1, 4, 9]


def test_codes_in_a_column_do_not_broadcast():
    """Keras's own function makes (n, n) values of them."""
    loss, codes, p = CASES["generalized"]
    found = resolve_loss(loss)(*tensors(codes[:, None], p)).numpy()
    np.testing.assert_array_equal(found, resolve_loss(loss)(*tensors(codes, p)))


@pytest.mark.parametrize("from_logits", [True, False])
def test_classes_left_out_of_the_loss_are_refused(from_logits):
    """Keras divides by the rows of each batch that are left."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=1)
    with pytest.raises(InputError, match=r"'SparseCategoricalCrossentropy' masks .*ignore_class"):
        resolve_loss(loss)(*tensors(ONE_HOT.argmax(axis=1), P))


def test_longer_rows_have_the_mean_over_their_places():
    y, out = RNG.normal(size=(2, 4, 5, 2, 3))
    loss = resolve_loss("mse")
    rows = loss(*tensors(y, out)).numpy()
    np.testing.assert_allclose(rows, ((y - out) ** 2).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(loss.reduced("sum")(*tensors(y, out)), 10 * rows)


def test_float64_is_not_rounded_as_kerass_own_call_does():
    loss = keras.losses.MeanSquaredError()
    y, out = tensors(np.array([[1.0]]), np.array([[1.0 + 1e-9]]))
    assert resolve_loss(loss)(y, out).numpy()[0] == pytest.approx(1e-18, rel=1e-6)
    assert float(loss(y, out)) == 0


@pytest.mark.parametrize(
    ("loss", "reduction"),
    [
        ("mse", "mean"),
        (keras.losses.MeanSquaredError(), "mean"),
        (keras.losses.MeanSquaredError(reduction="sum"), "sum"),
        (keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), "weighted_mean"),
    ],
)
def test_a_losss_own_reduction(loss, reduction):
    row_loss = resolve_loss(loss)
    assert resolve_reduction(None, row_loss) == reduction
    assert resolve_reduction("sum", row_loss) == "sum"


@pytest.mark.parametrize("loss", ["nonsense", 3, None, "dice", keras.losses.Circle()])
def test_what_is_no_loss_of_rows_is_refused(loss):
    with pytest.raises(InputError, match="expected one"):
        resolve_loss(loss)


def test_wrong_shapes_and_reductions_are_refused():
    with pytest.raises(InputError, match="takes equal ones"):
        resolve_loss("mse")(*tensors(np.zeros((4, 1)), np.zeros((4, 3))))
    with pytest.raises(InputError, match="one value per row"):
        resolve_loss(lambda y, out: tf.reduce_sum(out))(*tensors(np.zeros(4), np.zeros((4, 3))))
    with pytest.raises(InputError, match="reduction is 'median'"):
        resolve_reduction("median", resolve_loss("mse"))


@pytest.mark.parametrize("n", [1, 2, 6])
def test_a_loss_that_divides_by_its_rows_is_refused_even_for_a_batch_of_one(n):
    def per_row(y, z):
        return tf.reduce_mean((y - z) ** 2, axis=-1) / tf.cast(tf.shape(z)[0], z.dtype)

    y, z = tensors(ONE_HOT[:n], Z[:n])
    with pytest.raises(InputError, match="mixes the rows of a batch"):
        check_rows_apart(resolve_loss(per_row), y, z)
    check_rows_apart(resolve_loss(lambda y, z: tf.reduce_mean((y - z) ** 2, axis=-1)), y, z)
