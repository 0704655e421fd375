"""The state of a training run in one file, so that a killed run goes on where it was.

The file is written beside its place and moved there, so that it is always whole, also when the
process is killed while it writes; every array in it has a checksum. It holds no code.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

logger = logging.getLogger(__name__)

FILE_NAME = "training.h5"
_STATE = "state"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training run was at the end of an epoch.

    Attributes
    ----------
    state : dict
        What JSON can hold: the number of epochs done, their history, states of the callbacks.
    arrays : dict of str to list of ndarray
        Groups of arrays, such as the weights, each in a fixed order.
    """

    state: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Give the SHA-256 of all that decides a training run.

    Parameters
    ----------
    parts : mapping
        What JSON can hold; the order of keys does not count.

    Examples
    --------
    >>> fingerprint({"seed": 1, "rows": 5}) == fingerprint({"rows": 5, "seed": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_checkpoint(
    folder: str | Path,
    state: Mapping[str, Any],
    arrays: Mapping[str, Iterable[Any]],
    run: str,
) -> None:
    """Replace the checkpoint in a folder.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    state, arrays
        See `Checkpoint`; of arrays that are made as they are asked for, one is in memory.
    run : str
        From `fingerprint`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".partial-{FILE_NAME}"
    text = json.dumps({"run": run, "groups": list(arrays), "state": state}).encode()
    with h5py.File(partial, "w") as file:
        _write(file, _STATE, np.frombuffer(text, np.uint8))
        for name, values in arrays.items():
            group = file.create_group(f"arrays/{name}")
            for number, value in enumerate(values):
                _write(group, str(number), np.asarray(value))
    os.replace(partial, folder / FILE_NAME)


def read_checkpoint(folder: str | Path, run: str) -> Checkpoint | None:
    """Read the checkpoint of a run; say in the log why one that is there is not used.

    Parameters
    ----------
    folder : path
        Where `write_checkpoint` wrote.
    run : str
        From `fingerprint`; a checkpoint of another run is not used.

    Returns
    -------
    Checkpoint or None
        None if there is none, or none that can be used.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        return None
    try:
        with h5py.File(path, "r") as file:
            content = json.loads(file[_STATE][()].tobytes())
            if content["run"] != run:
                logger.info(
                    "%s belongs to other data, options or another seed: training starts anew", path
                )
                return None
            arrays = {
                name: [group[str(number)][()] for number in range(len(group))]
                for name, group in ((name, file[f"arrays/{name}"]) for name in content["groups"])
            }
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        logger.warning(
            "%s is damaged (%s): training starts anew", path, " ".join(str(error).split())
        )
        return None
    return Checkpoint(content["state"], arrays)


def _write(group: h5py.Group, name: str, values: np.ndarray) -> None:
    # HDF5 keeps checksums of chunks, and a single number has none.
    checked = {"chunks": True, "fletcher32": True} if values.size and values.ndim else {}
    group.create_dataset(name, data=values, track_times=False, **checked)
