"""Posteriors as HDF5 files that refuse another network, other weights or other scales."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from starstack.autodiff.layers import trainable_layers
from starstack.curvature.likelihood import Likelihood
from starstack.curvature.record import CurvatureRecord
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras

    from starstack.curvature.posterior import Posterior

FORMAT_VERSION = 3
_OTHER_ARCHITECTURE = (
    "{}: belongs to a network of another architecture; give the one it was made from"
)
DTYPES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")
_FROZEN = (
    "{}: layers of this network were frozen or thawed since it was made; set `trainable` of each "
    "as it was"
)
_ARRAYS = "arrays"
# Rows whose outputs are kept, and the largest difference of a network's own outputs from these
# on another machine (TF32 rounds to 3e-4 in each layer), relative to the largest one.
PROBE_ROWS, PROBE_ROUNDING = 4, 1e-2
_PROBE_INPUTS, _PROBE_OUTPUTS = "probe/inputs", "probe/outputs"
# Where a configuration of Keras names layers; the same word elsewhere may be an activation.
_NAMING_KEYS = ("name", "keras_history", "input_layers", "output_layers")


def architecture_digest(model: "keras.Model", *, frozen: bool = True) -> str:
    """Return a SHA-256 of a network's layers, their options and how they are joined.

    Names that Keras counts up (``dense_3``) do not matter; activations, shapes and wiring do. What
    a subclassed network or layer computes is not part of its configuration: see `probe`.

    Parameters
    ----------
    model : keras.Model
        The network.
    frozen : bool
        Whether it matters which layers are frozen.
    """
    try:
        tree = model.get_config()
        if not frozen:
            tree = _without(tree, "trainable")
        numbers = {name: f"#{n}" for n, name in enumerate(dict.fromkeys(_layer_names(tree)))}
        config = json.dumps(_renamed(tree, numbers), sort_keys=True, default=str)
    except NotImplementedError:  # a subclassed network need not tell its layers
        config = type(model).__name__
    shapes = [list(variable.shape) for variable in model.weights]
    if not frozen:
        shapes.sort()
    return hashlib.sha256(f"{config} {shapes}".encode()).hexdigest()


def _layer_names(tree: Any) -> Iterator[str]:
    """Yield the names of a network and its layers in the order of its configuration."""
    if isinstance(tree, Mapping):
        # That of a dtype is no name but an option.
        if isinstance(tree.get("name"), str) and tree.get("name") not in DTYPES:
            yield tree["name"]
        tree = tree.values()
    if isinstance(tree, Iterable) and not isinstance(tree, str):
        for part in tree:
            yield from _layer_names(part)


def _without(tree: Any, key: str) -> Any:
    """Return a configuration without one of its options, at any depth."""
    if isinstance(tree, Mapping):
        return {name: _without(part, key) for name, part in tree.items() if name != key}
    if isinstance(tree, (list, tuple)):
        return [_without(part, key) for part in tree]
    return tree


def _renamed(tree: Any, names: Mapping[str, str], is_name: bool = False) -> Any:
    """Return a configuration with other names of its layers, and nothing else changed."""
    if isinstance(tree, Mapping):
        return {key: _renamed(part, names, key in _NAMING_KEYS) for key, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_renamed(part, names, is_name) for part in tree]
    return names.get(tree, tree) if is_name and isinstance(tree, str) else tree


def weights_digest(model: "keras.Model") -> str:
    """Return a SHA-256 of all weights of a network, those that are not trained included."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def probe(model: "keras.Model") -> dict[str, np.ndarray]:
    """Return a few fixed rows and the network's outputs for them; none if their shape is open."""
    inputs = getattr(model, "inputs", None)
    shape = inputs[0].shape if inputs else (model.get_build_config() or {}).get("input_shape")
    if not shape or None in shape[1:]:
        return {}
    # Not negative, so that an embedding takes them too.
    x = np.abs(np.random.default_rng(0).standard_normal((PROBE_ROWS, *shape[1:])))
    return {_PROBE_INPUTS: x, _PROBE_OUTPUTS: np.asarray(model(x, training=False))}


def _fits_probe(model: "keras.Model", kept: Mapping[str, np.ndarray]) -> bool:
    """Tell whether a network gives the outputs that were kept."""
    if not kept:
        return True
    expected = kept[_PROBE_OUTPUTS]
    found = np.asarray(model(kept[_PROBE_INPUTS], training=False))
    if found.shape != expected.shape:
        return False
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return np.allclose(found, expected, rtol=0, atol=PROBE_ROUNDING * scale, equal_nan=True)


def _arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return a SHA-256 of arrays, their names, shapes and types."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_posterior(posterior: "Posterior", path: str | PathLike[str]) -> None:
    """Write a posterior; a file that is there is replaced when the new one is whole."""
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"posterior {path}: expected the name of a file, got that of a folder; add one, such "
            "as posterior.h5"
        )
    if not path.parent.is_dir():
        raise InputError(
            f"posterior {path}: expected a folder that is there, got {path.parent}; make it first"
        )
    prior = posterior.prior_precision
    arrays = {name: np.asarray(array) for name, array in posterior.arrays().items()}
    arrays |= probe(posterior.model)
    head = {
        "format_version": FORMAT_VERSION,
        "structure": posterior.structure,
        "architecture": architecture_digest(posterior.model),
        "architecture_unfrozen": architecture_digest(posterior.model, frozen=False),
        "weights": posterior.weights_digest,
        "scaler_digest": posterior.scaler_digest,
        "likelihood": posterior.likelihood.to_json(),
        "noise": None if posterior.noise is None else posterior.noise.tolist(),
        "prior_precision": prior if isinstance(prior, float) else list(prior.values()),
        "covered": [list(posterior.layers).index(layer) for layer in posterior.covered],
        "arrays": _arrays_digest(arrays),
        "record": None if posterior.record is None else json.loads(posterior.record.to_json()),
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}") as folder:
        whole = Path(folder) / path.name
        with h5py.File(whole, "w") as file:
            file.attrs["posterior"] = json.dumps(head)
            file.attrs["digest"] = _text_digest(file.attrs["posterior"])
            for name, array in arrays.items():
                file.create_dataset(f"{_ARRAYS}/{name}", data=array)
        whole.replace(path)


def read_posterior(
    path: str | PathLike[str], model: "keras.Model", scaler_digest: str | None = None
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_posterior` wrote, after comparing it with the network.

    Parameters
    ----------
    path : path
        The file.
    model : keras.Model
        The network that the posterior belongs to.
    scaler_digest : str, optional
        Compared with the one that was saved, if given.

    Returns
    -------
    structure : str
        Its key.
    arrays : dict of str to ndarray
        What its ``from_arrays`` needs.
    options : dict
        The arguments of `Posterior`.

    Raises
    ------
    InputError
        If the file cannot be read, or belongs to another architecture, other weights or other
        scales.
    """
    where = f"posterior {path}"
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs["posterior"]
            head = json.loads(text)
            if head["format_version"] != FORMAT_VERSION:
                raise InputError(
                    f"{where}: has format {head['format_version']}, expected {FORMAT_VERSION}; "
                    "make it again with this version"
                )
            if _text_digest(text) != file.attrs["digest"]:
                raise ValueError("its head is not the one that was saved")
            _compare(head, model, scaler_digest, where)
            arrays: dict[str, np.ndarray] = {}
            if _ARRAYS in file:
                file[_ARRAYS].visititems(
                    lambda name, item: (
                        arrays.update({name: np.asarray(item[()])})
                        if isinstance(item, h5py.Dataset)
                        else None
                    )
                )
            if _arrays_digest(arrays) != head["arrays"]:
                raise ValueError("its arrays are not those that were saved")
            kept = {name: arrays.pop(name) for name in list(arrays) if name.startswith("probe/")}
            if not _fits_probe(model, kept):
                raise InputError(_OTHER_ARCHITECTURE.format(where))
            return head["structure"], arrays, _options(head, model)
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file") from None
    except InputError:
        raise
    # The head may be any text: no JSON, another type, other fields.
    except (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where}: is not a posterior, or is damaged ({' '.join(str(error).split())}); "
            "make it again"
        ) from error


def _compare(
    head: Mapping[str, Any], model: "keras.Model", scaler_digest: str | None, where: str
) -> None:
    if head["architecture"] != architecture_digest(model):
        same = head.get("architecture_unfrozen") == architecture_digest(model, frozen=False)
        raise InputError((_FROZEN if same else _OTHER_ARCHITECTURE).format(where))
    if head["weights"] != weights_digest(model):
        raise InputError(
            f"{where}: belongs to other weights of this network; make it again after training"
        )
    if scaler_digest is not None and scaler_digest != head["scaler_digest"]:
        raise InputError(
            f"{where}: was made with other scales of inputs or targets; give the network's own"
        )


def _options(head: Mapping[str, Any], model: "keras.Model") -> dict[str, Any]:
    layers = list(trainable_layers(model))
    prior, record = head["prior_precision"], head["record"]
    return {
        "likelihood": Likelihood.from_json(head["likelihood"]),
        "noise": None if head["noise"] is None else np.array(head["noise"]),
        "prior_precision": (
            dict(zip(layers, prior, strict=True)) if isinstance(prior, list) else prior
        ),
        "record": None if record is None else CurvatureRecord.from_json(json.dumps(record)),
        "scaler_digest": head["scaler_digest"],
        "covered": tuple(layers[index] for index in head["covered"]),
    }
