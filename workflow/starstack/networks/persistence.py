"""A trained network with its scales: predictions in physical units, and a pair of files.

``.keras`` holds the network (layers and weights), ``.json`` all else: task, names, scales, origin
and the checksum of the first. The same network gives the same bytes: times are left out, and
marks that Keras takes from addresses in memory are numbered anew.
"""

import hashlib
import io
import json
import math
import operator
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from starstack.data.new_rows import check_values, names_of, values_of
from starstack.errors import InputError
from starstack.models.classes import one_line
from starstack.models.persistence import write_member
from starstack.networks.heads import head_of
from starstack.networks.scaling import Scaler

if TYPE_CHECKING:
    import keras

FORMAT_VERSION = 1
# Rows that are predicted at once. The last block is filled up, so that every row goes through the
# same arithmetic: in blocks of other sizes its last digits change with the rows beside it.
BLOCK_ROWS = 256

_CONFIG, _METADATA = "config.json", "metadata.json"
# Classes of Keras that run code from the file, or read other files.
_UNSAFE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A trained network, and what it takes to use it on rows as they are in the data.

    Attributes
    ----------
    model : keras.Model
        From scaled rows of `input_shape` to the output of a head.
    task : str
        ``regression`` or ``classification``.
    target_names : tuple of str
        The targets of a regression; empty if they have no names.
    classes : tuple
        Labels of the classes in the order of their codes; empty for regression.
    input_shape : tuple of int
        Shape of one row as the network takes it.
    input_scaler, target_scaler : Scaler
        Of the flattened rows, and of the targets.
    provenance : dict
        What made it; anything that JSON can hold.
    feature_names : tuple of str
        The columns of a row; empty if they have no names, as the pixels of spectra.
    """

    model: "keras.Model"
    task: str
    target_names: tuple[str, ...]
    classes: tuple[Any, ...]
    input_shape: tuple[int, ...]
    input_scaler: Scaler
    target_scaler: Scaler
    provenance: dict[str, Any] = field(default_factory=dict)
    feature_names: tuple[str, ...] = ()

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets of a regression.

        Parameters
        ----------
        X : DataFrame, array or h5py dataset of shape (n, p) or (n, *input_shape)
            Rows, unscaled; read a block at a time. A data frame has the columns of the training
            rows in their order.

        Returns
        -------
        ndarray of float64, shape (n, k)
            In the units of the targets.

        Raises
        ------
        InputError
            If the rows have other columns than the network's, a value is missing or infinite, or
            it is a classifier.
        """
        if self.task != "regression":
            raise InputError("predict: the network is a classifier; use predict_proba")
        return self.target_scaler.inverse(self._outputs(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Rows sum to one.

        Raises
        ------
        InputError
            As `predict`, or if it is a regression.
        """
        if self.task != "classification":
            raise InputError("predict_proba: the network is a regression; use predict")
        return head_of(self.task, len(self.classes)).decode(self._outputs(X))

    def _outputs(self, X: Any) -> np.ndarray:
        row_names, X = names_of(X), values_of(X, self.feature_names)
        width, own = math.prod(X.shape[1:]), math.prod(self.input_shape)
        if width != own:
            raise InputError(
                f"the network takes rows of {own} values, these have {width}; give the columns "
                "that it was trained on"
            )
        outputs = np.empty((X.shape[0], self.model.output_shape[-1]))
        block = np.zeros((BLOCK_ROWS, own), dtype=self.model.inputs[0].dtype)
        for start in range(0, X.shape[0], BLOCK_ROWS):
            rows = np.asarray(X[start : start + BLOCK_ROWS]).reshape(-1, own)
            check_values(rows, row_names[start : start + BLOCK_ROWS], self.feature_names)
            block[: len(rows)] = self.input_scaler.transform(rows)
            # Called as a function: Keras's own predict compiles a graph first, which takes longer
            # than the prediction itself.
            output = self.model(block.reshape(-1, *self.input_shape), training=False)
            outputs[start : start + len(rows)] = np.asarray(output)[: len(rows)]
        return outputs

    def __getstate__(self) -> dict[str, Any]:
        # Keras's models hold locks and compiled graphs; their file format is what is stable.
        keras_file = network_bytes(self.model)
        return {"keras": keras_file, "json": _sidecar(self, keras_file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fields, _ = _parse_sidecar(state["json"], "a stored network")
        model = model_from_bytes(state["keras"], "a stored network")
        _check_agreement(fields, model, "a stored network")
        for name, value in {**fields, "model": model}.items():
            object.__setattr__(self, name, value)


def save_network(network: FittedNetwork, keras_path: str | Path, json_path: str | Path) -> None:
    """Write a network as a pair of files; the same network gives the same bytes.

    Parameters
    ----------
    network : FittedNetwork
        The network.
    keras_path, json_path : path
        Where to write.

    Raises
    ------
    InputError
        If the network has parts that `load_network` would refuse.
    """
    keras_file = network_bytes(network.model)
    Path(keras_path).write_bytes(keras_file)
    Path(json_path).write_text(_sidecar(network, keras_file), encoding="utf-8")


def load_network(keras_path: str | Path, json_path: str | Path) -> FittedNetwork:
    """Read what `save_network` wrote, without running code from the files.

    Raises
    ------
    InputError
        If a file is missing, damaged or does not belong to the other, or if the network has parts
        that are unknown or could run code.
    """
    try:
        keras_file = Path(keras_path).read_bytes()
        text = Path(json_path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: there is no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{json_path}: is no JSON file of a network") from None
    fields, keras_sha256 = _parse_sidecar(text, str(json_path))
    if hashlib.sha256(keras_file).hexdigest() != keras_sha256:
        raise InputError(
            f"{keras_path}: is not the file that {json_path} describes; it is cut short, or one "
            "of the two is of another network: make both again"
        )
    model = model_from_bytes(keras_file, str(keras_path))
    _check_agreement(fields, model, str(json_path))
    return FittedNetwork(**fields, model=model)


def network_bytes(model: "keras.Model") -> bytes:
    """Give a model as the bytes of a ``.keras`` file, without optimiser and times.

    Raises
    ------
    InputError
        If the model has parts that `model_from_bytes` would refuse.
    """
    import keras

    # A model of its own leaves the optimiser of a compiled one behind.
    bare = keras.Model(model.inputs[0], model.outputs[0], name="network")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        bare.save(path)
        with ZipFile(path) as source:
            members = {name: source.read(name) for name in source.namelist()}
    config = json.loads(members[_CONFIG])
    _check_parts(config, "this network")
    members[_CONFIG] = _to_json(_renumbered(config, {}))
    version = json.loads(members[_METADATA])["keras_version"]
    # Keras reads the metadata, but no more of it than the version.
    members[_METADATA] = _to_json({"keras_version": version, "date_saved": ""})
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as target:
        for name in sorted(members):
            # The weights are noise, which does not get smaller.
            write_member(target, name, members[name], ZIP_STORED)
    return buffer.getvalue()


def model_from_bytes(content: bytes, where: str) -> "keras.Model":
    """Build a model from the bytes of a ``.keras`` file, in Keras's safe mode.

    Raises
    ------
    InputError
        If the file is not whole, or has parts that are unknown or could run code.
    """
    import keras

    try:
        with ZipFile(io.BytesIO(content)) as source:
            config = json.loads(source.read(_CONFIG))
    except (BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"{where}: is not a whole .keras file ({one_line(error)}); make it again"
        ) from error
    _check_parts(config, where)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(content)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except (BadZipFile, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: cannot be read as a network ({one_line(error)[:200]}); it is damaged, "
                "or of another version of Keras"
            ) from error


def _check_parts(config: Any, where: str) -> None:
    """Refuse what is not Keras's own or registered, before Keras looks at it."""
    import keras

    for part in _parts(config):
        # Keras writes no module for its own marks, and null for a class of the main program.
        name, module = part["class_name"], part.get("module", "keras")
        registered = part.get("registered_name") or name
        if (module, name) == ("builtins", "function"):
            name = registered = part.get("config")
        if name in _UNSAFE or name == "__lambda__":
            raise InputError(
                f"{where}: holds a {name} layer, which could run any code; build the network from "
                "other layers"
            )
        known = (
            str(module).partition(".")[0] == "keras"
            or keras.saving.get_registered_object(registered) is not None
        )
        if not known:
            raise InputError(
                f"{where}: holds {module or '__main__'}.{name}, which Keras does not know; "
                "register it with keras.saving.register_keras_serializable and import its module "
                "first"
            )


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list):
        for item in config:
            yield from _parts(item)


def _renumbered(part: Any, shared: dict[int, int]) -> Any:
    """Renumber shared objects by their order: Keras marks them by their address in memory.

    Precisions lose their mark: they are shared before a network is stored, and not after.
    """
    if isinstance(part, list):
        return [_renumbered(item, shared) for item in part]
    if not isinstance(part, dict):
        return part
    copy = {key: _renumbered(value, shared) for key, value in part.items()}
    if (mark := copy.pop("shared_object_id", None)) and copy["class_name"] != "DTypePolicy":
        copy["shared_object_id"] = shared.setdefault(mark, len(shared) + 1)
    return copy


def _sidecar(network: FittedNetwork, keras_file: bytes) -> str:
    content = {
        "format_version": FORMAT_VERSION,
        "keras_sha256": hashlib.sha256(keras_file).hexdigest(),
        "task": network.task,
        "target_names": list(network.target_names),
        "classes": list(network.classes),
        "input_shape": list(network.input_shape),
        "input_scaler": network.input_scaler.to_json(),
        "target_scaler": network.target_scaler.to_json(),
        "provenance": network.provenance,
        "feature_names": list(network.feature_names),
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _parse_sidecar(text: str, where: str) -> tuple[dict[str, Any], str]:
    """Give the fields of a network but for its model, and the checksum of the other file."""
    try:
        content = json.loads(text)
        version = content["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(where, error) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{where}: expected format {FORMAT_VERSION} of a network, got {version!r}; use the "
            "version of starstack that wrote it"
        )
    try:
        return _fields(content), content["keras_sha256"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {one_line(error)}"
    return InputError(f"{where}: is no whole description of a network ({reason}); make it again")


def _fields(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": str(content["task"]),
        "target_names": tuple(content["target_names"]),
        "classes": tuple(content["classes"]),
        "input_shape": tuple(operator.index(length) for length in content["input_shape"]),
        "input_scaler": Scaler.from_json(content["input_scaler"]),
        "target_scaler": Scaler.from_json(content["target_scaler"]),
        "provenance": dict(content["provenance"]),
        # Files from before features had names have none.
        "feature_names": tuple(content.get("feature_names", ())),
    }


def _check_agreement(fields: Mapping[str, Any], model: "keras.Model", where: str) -> None:
    """Check what is written beside a network against the network itself."""
    task, shape, classes = fields["task"], fields["input_shape"], fields["classes"]
    width = model.output_shape[-1]
    if task == "classification":
        n_outputs, targets = len(classes), 1
        wanted = head_of(task, max(n_outputs, 2)).units(n_outputs)
    else:
        n_outputs, targets, wanted = width, width, width
    own = model.input_shape[1:]
    agreements = {
        "task": task in ("regression", "classification"),
        "classes": width == wanted
        and (n_outputs > 1 if task == "classification" else not classes)
        and all(isinstance(label, str | int | float) for label in classes)
        and len(set(classes)) == len(classes),
        "target_names": len(fields["target_names"]) in (0, n_outputs)
        and all(isinstance(name, str) for name in fields["target_names"]),
        "feature_names": len(fields["feature_names"]) in (0, math.prod(shape))
        and all(isinstance(name, str) for name in fields["feature_names"]),
        "input_shape": len(shape) == len(own)
        and all(there in (None, here) for there, here in zip(own, shape, strict=True)),
        "input_scaler": _scales(fields["input_scaler"], math.prod(shape)),
        "target_scaler": _scales(fields["target_scaler"], targets),
    }
    for name, agrees in agreements.items():
        if not agrees:
            raise InputError(
                f"{where}: {name} does not fit a network from rows of shape {tuple(own)} to "
                f"{width} numbers; it is damaged: make both files again"
            )


def _scales(scaler: Scaler, length: int) -> bool:
    parts = [np.asarray(part) for part in (scaler.mean, scaler.scale)]
    return (
        all(part.shape in ((), (length,)) and np.isfinite(part).all() for part in parts)
        and (parts[1] > 0).all()
    )


def _to_json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
