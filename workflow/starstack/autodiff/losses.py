"""Keras's losses row by row, and their Hessians with respect to the model's outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# How the weighted losses of the rows are put together, by the names that Keras has for it.
REDUCTIONS = {
    None: "mean",
    "none": "mean",
    "mean": "mean",
    "sum_over_batch_size": "mean",
    "sum": "sum",
    "mean_with_sample_weight": "weighted_mean",
    "weighted_mean": "weighted_mean",
}
# Relative differences that rounding explains between the loss of a row alone and among others.
ROUNDING = {"float32": 1e-4, "float64": 1e-10}
# Rows of a batch that a loss is tried with, together and one by one.
TRIAL_ROWS = 16
# The loss of a row depends on the other rows of its batch, so that sums over batches mean nothing.
NOT_BY_ROW = {"Circle", "circle", "CTC", "ctc", "Dice", "dice", "Tversky", "tversky"}


@dataclass(frozen=True)
class RowLoss:
    """The loss of each row by itself.

    Attributes
    ----------
    name : str
        Keras's name.
    kind : str
        ``squared_error``, ``binary``, ``categorical``, ``sparse``, ``codes`` (other losses that
        take class codes) or ``other``.
    function : callable
        ``(y, outputs) -> (n, …)``, as Keras computes it before it reduces.
    logits_function : callable or None
        The same loss taken of logits, for losses of probabilities that have one.
    from_logits : bool
        Whether `function` takes logits already.
    reduction : str
        ``mean`` (sum of weight × loss, divided by the number of rows, as Keras does), ``sum``, or
        ``weighted_mean`` (divided by the sum of the weights): what the loss itself asks for.
    same_shape : bool
        Whether targets must have the shape of the outputs.
    sums_places : bool
        Whether the loss of a row with several places, such as the steps of a sequence, is their
        sum and not their mean.
    """

    name: str
    kind: str
    function: Callable[..., Any]
    logits_function: Callable[..., Any] | None
    from_logits: bool
    reduction: str
    same_shape: bool
    sums_places: bool = False

    def __call__(self, y: "tf.Tensor", outputs: "tf.Tensor") -> "tf.Tensor":
        """Return the loss of each row, shape (n,); mean or sum over the places of longer rows."""
        import tensorflow as tf

        losses = self.function(self.align(y, outputs), outputs)
        if getattr(losses, "_keras_mask", None) is not None:
            # Keras divides by what is left in each batch: a row's share depends on the others.
            raise InputError(
                f"loss '{self.name}' masks rows; expected one of all rows: leave out ignore_class, "
                "and give such rows sample weight zero"
            )
        if losses.shape.rank is None or losses.shape.rank < 1 or losses.shape[0] != y.shape[0]:
            raise InputError(
                f"loss '{self.name}' gives shape {losses.shape} for {y.shape[0]} rows; expected "
                "one value per row, before any mean over rows"
            )
        over_places = tf.reduce_sum if self.sums_places else tf.reduce_mean
        return over_places(losses, axis=tuple(range(1, losses.shape.rank)))

    def align(self, y: "tf.Tensor", outputs: "tf.Tensor") -> "tf.Tensor":
        """Give targets the rank of the outputs: (n,) against (n, 1) would broadcast to (n, n)."""
        import tensorflow as tf

        rank = y.shape.rank
        if rank == outputs.shape.rank - 1 and outputs.shape[-1] == 1:
            y = tf.expand_dims(y, -1)
        elif y.shape[-1] == 1 and (
            rank == outputs.shape.rank + 1 or (self.kind == "codes" and rank == outputs.shape.rank)
        ):
            y = tf.squeeze(y, -1)
        if self.same_shape and y.shape != outputs.shape:
            raise InputError(
                f"targets have shape {tuple(y.shape)} per batch, outputs {tuple(outputs.shape)}; "
                f"loss '{self.name}' takes equal ones"
            )
        return y

    def on_logits(self) -> "RowLoss":
        """Return the same loss as a function of the logits."""
        if self.logits_function is None:
            return self
        return replace(self, function=self.logits_function, from_logits=True)

    def reduced(self, reduction: str) -> "RowLoss":
        """Return the same loss with its places put together as Keras does for a reduction."""
        return replace(self, sums_places=reduction == "sum")


def resolve_loss(loss: "str | keras.losses.Loss | Callable | RowLoss") -> RowLoss:
    """Find a loss by Keras's name for it, or take the one that is given.

    Parameters
    ----------
    loss : str, keras.losses.Loss or callable
        Such as ``"mse"``, ``"sparse_categorical_crossentropy"``,
        ``keras.losses.Huber(delta=2.0)``, or a function of targets and outputs that gives one
        value per row.

    Raises
    ------
    InputError
        If Keras has no such loss, or its value for a row depends on other rows.

    Examples
    --------
    >>> resolve_loss("mse").kind
    'squared_error'
    """
    import keras

    if isinstance(loss, RowLoss):
        return loss
    try:
        found = keras.losses.get(loss)
    except ValueError:
        found = None
    if not callable(found):
        raise InputError(f"loss is {loss!r}; expected one of Keras's names, a Loss, or a function")
    name = getattr(found, "__name__", type(found).__name__)
    if name in NOT_BY_ROW:
        raise InputError(
            f"loss '{name}' mixes the rows of a batch; expected one that is a sum over rows"
        )
    # Keras's own `Loss.__call__` rounds to float32 even where the model computes in float64.
    is_loss = isinstance(found, keras.losses.Loss)
    function = found.call if is_loss else found
    kind, same_shape = _kind(found)
    logits_function, from_logits = None, False
    if kind in ("binary", "categorical", "sparse"):
        from_logits = bool(getattr(found, "from_logits", False))
        if is_loss:
            config = found.get_config() | {"from_logits": True}
            logits_function = type(found).from_config(config).call
        else:
            logits_function = partial(found, from_logits=True)
    return RowLoss(
        name=name,
        kind=kind,
        function=function,
        logits_function=logits_function,
        from_logits=from_logits,
        reduction=REDUCTIONS[getattr(found, "reduction", None)],
        same_shape=same_shape,
    )


def resolve_reduction(reduction: str | None, loss: RowLoss) -> str:
    """Return ``mean``, ``sum`` or ``weighted_mean``; the loss's own if none is asked for."""
    if reduction is None:
        return loss.reduction
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction is '{reduction}'; expected mean, sum or weighted_mean")
    return REDUCTIONS[reduction]


def check_rows_apart(row_loss: RowLoss, y: "tf.Tensor", outputs: "tf.Tensor") -> None:
    """Refuse a loss whose value for a row changes with the other rows of its batch.

    Raises
    ------
    InputError
        If the losses of some rows of the batch together are not those of each alone. What shows
        only among rows of another batch is not seen.
    """
    import tensorflow as tf

    rows = np.unique(np.linspace(0, outputs.shape[0] - 1, TRIAL_ROWS).astype(int)).tolist()
    # A batch of one row is tried as two.
    rows = rows if len(rows) > 1 else rows * 2
    together = row_loss(tf.gather(y, rows), tf.gather(outputs, rows)).numpy()
    alone = np.concatenate([row_loss(y[i : i + 1], outputs[i : i + 1]).numpy() for i in rows])
    rounding = ROUNDING.get(str(together.dtype), 0.0)
    scale = np.max(np.abs(alone[np.isfinite(alone)]), initial=0.0)
    if not np.allclose(together, alone, rtol=0, atol=rounding * float(scale), equal_nan=True):
        worst = np.argsort(np.abs(together - alone))[-2:]
        raise InputError(
            f"loss '{row_loss.name}' mixes the rows of a batch: two rows have the losses "
            f"{together[worst].tolist()} among {len(rows)} and {alone[worst].tolist()} alone; "
            "expected one that is a sum over rows"
        )


def output_hessian(loss: "str | keras.losses.Loss | RowLoss") -> Callable[..., "tf.Tensor"]:
    """Return the function that gives the Hessian of each row's loss by the row's outputs.

    For k outputs z, with Keras's means over outputs: squared error 2/k I; binary cross-entropy
    of logits diag(p(1 − p))/k, p = sigmoid(z); cross-entropy of logits diag(p) − p pᵀ,
    p = softmax(z), for targets that sum to one. All others, cross-entropies of probabilities
    among them, by differentiation.

    Parameters
    ----------
    loss : str, keras.losses.Loss, callable or RowLoss
        The loss. ``resolve_loss(loss).on_logits()`` takes logits.

    Returns
    -------
    callable
        ``(y, outputs of shape (n, k)) -> (n, k, k)``, a tensor in the outputs' type.

    Examples
    --------
    >>> import numpy as np
    >>> output_hessian("mse")(np.zeros((1, 2)), np.ones((1, 2))).numpy().tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    row_loss = resolve_loss(loss)
    closed = row_loss.kind == "squared_error" or row_loss.from_logits
    formula = CLOSED_FORMS.get(row_loss.kind) if closed else None

    def hessian(y: Any, outputs: Any) -> "tf.Tensor":
        import tensorflow as tf

        y, outputs = tf.convert_to_tensor(y), tf.convert_to_tensor(outputs)
        if outputs.shape.rank != 2:
            raise InputError(f"outputs have shape {tuple(outputs.shape)}; expected (n, k)")
        y = row_loss.align(y, outputs)
        if formula is not None:
            return formula(outputs)
        return _by_differentiation(row_loss, y, outputs)

    return hessian


def output_hessian_product(
    row_loss: RowLoss, y: "tf.Tensor", outputs: "tf.Tensor", vectors: "tf.Tensor"
) -> "tf.Tensor":
    """Multiply each row's Hessian by its vector; outputs and vectors of any one shape (n, …)."""
    import tensorflow as tf

    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape() as outer:
        outer.watch(outputs)
        with tf.GradientTape() as inner:
            inner.watch(outputs)
            total = tf.reduce_sum(row_loss(y, outputs))
        slope = inner.gradient(total, outputs, unconnected_gradients=zero)
    return outer.gradient(slope, outputs, output_gradients=vectors, unconnected_gradients=zero)


def _by_differentiation(row_loss: RowLoss, y: "tf.Tensor", outputs: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    unit = tf.eye(outputs.shape[1], dtype=outputs.dtype)
    columns = [
        output_hessian_product(row_loss, y, outputs, tf.broadcast_to(one, tf.shape(outputs)))
        for one in tf.unstack(unit)
    ]
    return tf.stack(columns, axis=-1)


def _kind(found: Any) -> tuple[str, bool]:
    """Return which closed form a loss has, and whether its targets have the outputs' shape."""
    import keras

    kinds = {
        "squared_error": (keras.losses.MeanSquaredError, keras.losses.mean_squared_error),
        "binary": (keras.losses.BinaryCrossentropy, keras.losses.binary_crossentropy),
        "categorical": (
            keras.losses.CategoricalCrossentropy,
            keras.losses.categorical_crossentropy,
        ),
        "sparse": (
            keras.losses.SparseCategoricalCrossentropy,
            keras.losses.sparse_categorical_crossentropy,
        ),
    }
    plain = getattr(found, "axis", -1) == -1 and getattr(found, "ignore_class", None) is None
    for kind, (of_class, function) in kinds.items():
        if type(found) is of_class or found is function:
            return kind if plain else "other", kind != "sparse"
    if isinstance(found, keras.losses.CategoricalGeneralizedCrossEntropy):
        return "codes", False
    module = getattr(found, "__module__", "") if callable(found) else ""
    return "other", module.startswith("keras.")


def _squared_error(outputs: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    n, k = tf.unstack(tf.shape(outputs))
    return tf.eye(k, batch_shape=[n], dtype=outputs.dtype) * (2.0 / outputs.shape[1])


def _binary(logits: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.linalg.diag(tf.sigmoid(logits) * tf.sigmoid(-logits)) / logits.shape[1]


def _softmax(logits: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    p = tf.nn.softmax(logits)
    return tf.linalg.diag(p) - p[:, :, None] * p[:, None, :]


CLOSED_FORMS: dict[str, Callable[..., Any]] = {
    "squared_error": _squared_error,
    "binary": _binary,
    "categorical": _softmax,
    "sparse": _softmax,
}
