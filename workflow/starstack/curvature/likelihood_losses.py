"""The negative log-likelihood as losses of rows, for `starstack.autodiff.products.Products`.

Keras's losses are means over outputs with scales of their own (a mean squared error is 2σ²/k times
the negative log-likelihood of a row); a posterior needs the sum, in nats. For normal noise the
likelihood is a sum of one term per output, whose curvatures are kept apart so that σ can change:

    Σ_c s_c ½ (y_c − f_c)²,    s_c = 1/σ_c²,

up to what does not depend on the weights. Cross-entropies have one term, of the logits; labels that
the network's loss smooths are smoothed here too, which leaves the Gauss–Newton matrix as it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from starstack.autodiff.losses import RowLoss
from starstack.curvature.likelihood import Likelihood

if TYPE_CHECKING:
    import tensorflow as tf


def term_scales(likelihood: Likelihood, noise: np.ndarray | None) -> np.ndarray:
    """Return s of each term: 1/σ² of each output, or 1 for a cross-entropy.

    Examples
    --------
    >>> term_scales(Likelihood("gaussian", 2, 5, 5.0, (1.0, 1.0)), np.array([0.5, 2.0]))
    array([4.  , 0.25])
    """
    return np.ones(1) if noise is None else 1 / np.asarray(noise, dtype=np.float64) ** 2


def term_losses(likelihood: Likelihood) -> list[RowLoss]:
    """Return one loss per term, at s = 1."""
    n_terms = likelihood.n_outputs if likelihood.is_gaussian else 1
    return [likelihood_loss(likelihood, scales) for scales in np.eye(n_terms)]


def likelihood_loss(likelihood: Likelihood, scales: Sequence[float]) -> RowLoss:
    """Return the negative log-likelihood of a row for the scales of its terms.

    Parameters
    ----------
    likelihood : Likelihood
        Its family and number of outputs.
    scales : sequence of float
        s of each term.

    Examples
    --------
    >>> import tensorflow as tf
    >>> loss = likelihood_loss(Likelihood("gaussian", 2, 1, 1.0, (0.0, 0.0)), [1.0, 4.0])
    >>> loss(tf.constant([[0.0, 0.0]]), tf.constant([[1.0, 2.0]])).numpy().tolist()
    [8.5]
    """
    scales = np.asarray(scales, dtype=np.float64)
    share = likelihood.label_smoothing

    def by_row(y: "tf.Tensor", z: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        """Return both as (n, k): whatever the rank of the outputs, each row has k numbers."""
        import tensorflow as tf

        z = tf.reshape(z, [-1, likelihood.n_outputs])
        return tf.cast(tf.reshape(y, tf.shape(z)), z.dtype), z

    def gaussian(y: "tf.Tensor", z: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        y, z = by_row(y, z)
        return tf.reduce_sum(tf.cast(0.5 * scales, z.dtype) * tf.square(y - z), axis=-1)

    def bernoulli(y: "tf.Tensor", z: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        y, z = by_row(y, z)
        y = (1 - share) * y + share / 2
        # softplus(z) − y z, whose second derivative TensorFlow has exactly.
        return tf.reduce_sum(tf.math.softplus(z) - y * z, axis=-1)

    def categorical(y: "tf.Tensor", z: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        z = tf.reshape(z, [-1, likelihood.n_outputs])
        if y.shape[1:] != z.shape[1:]:
            y = tf.one_hot(tf.cast(tf.reshape(y, [-1]), tf.int32), z.shape[-1])
        y = (1 - share) * tf.cast(y, z.dtype) + share / likelihood.n_outputs
        return tf.reduce_logsumexp(z, axis=-1) - tf.reduce_sum(y * z, axis=-1)

    function = {"gaussian": gaussian, "bernoulli": bernoulli, "categorical": categorical}
    return RowLoss(
        name=f"{likelihood.family} negative log-likelihood",
        kind="other",
        function=function[likelihood.family],
        logits_function=None if likelihood.is_gaussian else function[likelihood.family],
        from_logits=not likelihood.is_gaussian,
        reduction="sum",
        same_shape=False,
    )
