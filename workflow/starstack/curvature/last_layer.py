"""The posterior of the last layer's weights alone, exact; all others are fixed.

For a network whose last layer is dense and linear, under squared error, this is Bayesian linear
regression on its features.
"""

import time
from typing import TYPE_CHECKING, Any

from starstack.autodiff.batches import Batches
from starstack.autodiff.layers import trainable_layers
from starstack.curvature.block import MAX_BYTES, BlockPosterior, accumulate_blocks
from starstack.curvature.posterior import with_record

if TYPE_CHECKING:
    import keras


class LastLayerPosterior(BlockPosterior):
    """Posterior of the last layer's weights; that of `BlockPosterior` for this layer."""

    structure = "last_layer"


def fit_last_layer(
    model: "keras.Model",
    data: Batches,
    *,
    loss: Any = "mse",
    layer: str | None = None,
    max_bytes: int = MAX_BYTES,
    **options: Any,
) -> LastLayerPosterior:
    """Make the posterior of the last layer's weights, in one pass over the data.

    Parameters
    ----------
    model : keras.Model
        Whose last layer with trainable weights is Dense, Conv1D or Conv2D; the others may be of
        any kind.
    layer : str, optional
        Name of the layer; by default the last one that has trainable weights.
    data, loss, max_bytes, **options
        As for `starstack.curvature.block.fit_block`.
    """
    started = time.perf_counter()
    chosen = list(trainable_layers(model))[-1] if layer is None else layer
    sums, likelihood = accumulate_blocks(
        model, data, loss=loss, only=(chosen,), max_bytes=max_bytes
    )
    posterior = LastLayerPosterior(model, likelihood, sums=sums, covered=tuple(sums), **options)
    return with_record(posterior, started)
