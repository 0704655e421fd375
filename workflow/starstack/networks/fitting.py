"""Train a network on rows that are in memory, quickly also when there are few of them.

Keras's own ``fit`` does the work, from a ``tf.data`` pipeline with a thread pool of its own (the
shared pool contends with the arithmetic) and with one call from Python for all steps of an epoch:
on a small network most of the time of a plain ``fit`` lies between the steps. XLA is off by
default, since a small network takes longer to compile than to train.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.errors import InputError
from starstack.networks.heads import Head

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Rows that are validated at once.
VALIDATION_ROWS = 1024


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained; the names are those of the estimators' parameters.

    Attributes
    ----------
    epochs : int
        Passes over the training rows, at most.
    batch_size : int or None
        Rows of one step; None for all.
    learning_rate, beta_1, beta_2, epsilon : float
        Of the Adam optimiser.
    learning_rate_schedule : str
        ``constant``, or ``cosine``: half a cosine from the learning rate down to zero.
    patience : int
        Epochs without progress on the validation rows after which training stops.
    jit_compile : bool
        Compile the step by XLA.
    """

    epochs: int
    batch_size: int | None
    learning_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    learning_rate_schedule: str
    patience: int
    jit_compile: bool


# Scaled rows, targets or codes, and weights if there are any.
Rows = tuple[np.ndarray, ...]


def fit_network(
    network: "keras.Model",
    head: Head,
    train: Rows,
    validation: Rows | None,
    options: FitOptions,
    seed: int,
) -> dict[str, list[float]]:
    """Train a network in place; with validation rows, leave it at its best epoch.

    Call it in the `starstack.networks.heads.precision` that the network was built in.

    Rows are shuffled anew in each epoch, by the seed alone. What is compared between epochs is
    the loss on the validation rows without the penalty of a weight decay.

    Parameters
    ----------
    network : keras.Model
        From `starstack.networks.heads.make_network`.
    head : Head
        Its head.
    train, validation : tuple of ndarray
        Scaled rows of shape (n, *input_shape), scaled targets (n, k) or class codes (n,), and
        weights of mean one, if there are any; no validation rows if None.
    options : FitOptions
        How.
    seed : int
        Decides the order of the rows.

    Returns
    -------
    dict of str to list of float
        One number per epoch: ``loss``, with the penalty. If there are validation rows, also the
        bare loss by its name, and the same with ``val_`` on the validation rows.

    Raises
    ------
    InputError
        If the loss becomes NaN or infinite.
    """
    import keras

    n_rows = len(train[0])
    batch = min(options.batch_size or n_rows, n_rows)
    steps = math.ceil(n_rows / batch)
    rate = options.learning_rate
    if options.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=options.epochs * steps)
    # The optimiser belongs to this model, which shares the layers and is gone after the training.
    trainer = keras.Model(network.inputs[0], network.outputs[0])
    bare_loss = getattr(keras.metrics, head.loss)()
    optimizer = _adam(rate, options)
    # Variables that appear while a graph is traced make TensorFlow trace it twice.
    optimizer.build(trainer.trainable_variables)
    trainer.compile(
        optimizer,
        loss=getattr(keras.losses, head.loss)(),
        weighted_metrics=[] if validation is None else [bare_loss],
        steps_per_execution=steps,
        jit_compile=options.jit_compile,
    )
    stop = keras.callbacks.EarlyStopping(
        f"val_{bare_loss.name}", mode="min", patience=options.patience, restore_best_weights=True
    )
    with _without_advice():
        record = trainer.fit(
            _shuffled(train, batch, options.epochs, seed),
            steps_per_epoch=steps,
            epochs=options.epochs,
            validation_data=None if validation is None else _in_order(validation),
            callbacks=[] if validation is None else [stop],
            shuffle=False,
            verbose=0,
        )
    history = {name: [float(v) for v in values] for name, values in record.history.items()}
    if not all(math.isfinite(values[-1]) for values in history.values()):
        raise InputError(
            f"the loss became NaN or infinite in {len(history['loss'])} epochs; lower "
            "learning_rate, or scale the features"
        )
    return history


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep TensorFlow from advising against a new graph for every network."""

    def other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    tensorflow_log = logging.getLogger("tensorflow")
    tensorflow_log.addFilter(other)
    try:
        yield
    finally:
        tensorflow_log.removeFilter(other)


def _adam(rate: Any, options: FitOptions) -> "keras.optimizers.Optimizer":
    from starstack.networks.optimizers import make_adam

    optimizer = make_adam(
        compiled=options.jit_compile,
        learning_rate=rate,
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        epsilon=options.epsilon,
    )
    # There is nothing to sum on one device, and TensorFlow registers a gradient function for the
    # sum that is never freed: with it stay graph, weights and moments of every fit, 100 MB each
    # for a network of 8 million weights.
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    return optimizer


def _shuffled(rows: Rows, batch: int, epochs: int, seed: int) -> "tf.data.Dataset":
    """Give the rows epoch after epoch, each time in another order."""
    import tensorflow as tf

    tensors = tuple(tf.constant(values) for values in rows)
    n_rows = len(rows[0])

    def one_epoch(epoch: Any) -> "tf.data.Dataset":
        # Dataset.shuffle would also depend on TensorFlow's global seed.
        keys = tf.random.stateless_uniform(
            (n_rows,), [seed, epoch], minval=None, maxval=None, dtype=tf.int64
        )
        return tf.data.Dataset.from_tensor_slices(tf.argsort(keys, stable=True)).batch(batch)

    def gather(positions: Any) -> tuple[Any, ...]:
        return tuple(tf.gather(values, positions) for values in tensors)

    return _quietly(tf.data.Dataset.range(epochs).flat_map(one_epoch).map(gather).prefetch(1))


def _in_order(rows: Rows) -> "tf.data.Dataset":
    import tensorflow as tf

    return _quietly(tf.data.Dataset.from_tensor_slices(rows).batch(VALIDATION_ROWS))


def _quietly(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Keep the input on one thread of its own: more only get in the way of the arithmetic."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return dataset.with_options(options)


def select(rows: Rows, positions: Sequence[int] | np.ndarray) -> Rows:
    """Take some of the rows."""
    return tuple(values[positions] for values in rows)
