"""Layers of a network that hold trainable weights, and where these stand among all of them."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def leaf_layers(model: "keras.Model") -> Iterator["keras.layers.Layer"]:
    """Yield each layer once, models inside the model by their own layers."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        layer = waiting.pop(0)
        inner = getattr(layer, "layers", None)
        if inner is not None:
            waiting[:0] = inner
        elif id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def trainable_layers(model: "keras.Model") -> dict[str, tuple[int, ...]]:
    """Name the layers with trainable weights, and number these in ``model.trainable_variables``.

    Returns
    -------
    dict
        In the order of the layers. The key is the name of the layer; its path where two layers
        inside different models bear one name. A variable that two layers share belongs to the
        first; weights of the model itself stand under ``""``.
    """
    index = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
    layers = list(leaf_layers(model))
    names = Counter(layer.name for layer in layers)
    found: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        own = [index.pop(id(v)) for v in layer.trainable_variables if id(v) in index]
        if own:
            found[layer.name if names[layer.name] == 1 else layer.path] = tuple(own)
    if index:
        found[""] = tuple(index.values())
    return found
