"""Answers of predictions to true labels: linear models whose answers are known."""

import numpy as np
import pytest

from starstack.autodiff.label_response import label_response, response_table
from starstack.errors import InputError

keras = pytest.importorskip("keras")

P, K = 8, 2
RNG = np.random.default_rng(0)
# Spectra x = 1 + y G, and an estimator of y from them.
DERIVATIVES = RNG.standard_normal((K, P))


def linear(kernel):
    model = keras.Sequential(
        [keras.Input((P,), dtype="float64"), keras.layers.Dense(K, dtype="float64")]
    )
    model.set_weights([kernel, np.zeros(K)])
    return model


def test_an_unbiased_estimator_answers_with_the_unit_matrix():
    """The pseudo-inverse of G recovers the labels, here in scaled inputs and targets."""
    input_scale, target_scale = RNG.uniform(0.5, 2, P), np.array([500.0, 0.3])
    inverse = np.linalg.pinv(DERIVATIVES)
    model = linear(input_scale[:, None] * inverse / target_scale)
    X = RNG.standard_normal((9, P))
    rows = np.array([1, 4, 5, 8])
    found = label_response(
        model,
        X,
        rows,
        np.broadcast_to(DERIVATIVES, (4, K, P)),
        transform=lambda block: (block - 1) / input_scale,
        input_scale=input_scale,
        target_scale=target_scale,
        batch_size=3,
    )
    assert np.allclose(found, np.eye(K), atol=1e-12)


def test_each_row_meets_its_own_derivatives():
    kernel = RNG.standard_normal((P, K))
    own = RNG.standard_normal((5, 3, P))
    found = label_response(linear(kernel), np.zeros((5, P)), np.arange(5), own, batch_size=2)
    assert np.allclose(found, np.swapaxes(own @ kernel, 1, 2))


def test_the_table_states_mean_error_and_spread():
    response = RNG.standard_normal((50, 2, 2))
    table = response_table(response, ("teff", "fe_h"), {"teff": "K", "fe_h": "dex"})
    row = table[(table["output"] == "teff") & (table["label"] == "fe_h")].iloc[0]
    values = response[:, 0, 1]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["spread"] == pytest.approx(values.std(ddof=1))
    assert row["standard_error"] == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    assert (row["n"], row["unit"]) == (50, "K/dex")


class Mixing(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(K)

    def call(self, x):
        outputs = self.head(x)
        return outputs - keras.ops.mean(outputs, axis=0)


def test_what_input_jacobians_refuse_is_refused():
    own, X = np.zeros((5, 3, P)), RNG.standard_normal((9, P))
    mixing = Mixing()
    mixing(X)
    with pytest.raises(InputError, match="mixes the rows of a batch"):
        label_response(mixing, X, np.arange(5), own)
    X[7, 1] = np.nan
    with pytest.raises(InputError, match="row '7' is NaN"):
        label_response(linear(np.ones((P, K))), X, np.arange(4, 9), own, batch_size=2)
