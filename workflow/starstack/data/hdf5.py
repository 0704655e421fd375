"""Data sets from the arrays of an HDF5 file."""

from collections.abc import Sequence
from os import PathLike

import h5py
import numpy as np

from starstack.data.columns import Columns, as_names
from starstack.data.names import not_among
from starstack.errors import InputError


def read_hdf5(
    where: str,
    task: str,
    *,
    path: str | PathLike[str],
    X: str,
    y: str | Sequence[str],
    row_id: str | None = None,
    group: str | None = None,
    time: str | None = None,
    sample_weight: str | None = None,
    feature_names: str | None = None,
) -> Columns:
    """Read arrays by their names (``"spectra/flux"`` for one inside a group).

    Parameters
    ----------
    where : str
        The data set, for the messages.
    task : str
        Unused: labels and numbers are read alike.
    path : path
        The file.
    X : str
        Numbers, shape (n, p).
    y : str or sequence of str
        One array of shape (n,) or (n, k), or several of shape (n,). The columns of an (n, k)
        array are named after it, ``labels_0`` and so on.
    row_id, group, time, sample_weight : str, optional
        Arrays of shape (n,).
    feature_names : str, optional
        Text of shape (p,); by default the features are ``x0``, ``x1``, ….

    Raises
    ------
    InputError
        If the file is missing or damaged, or an array is missing, of the wrong shape or, for X,
        not numeric.
    """
    where = f"{where}: {path}"
    roles = {"row_id": row_id, "group": group, "time": time, "sample_weight": sample_weight}
    names = [y] if isinstance(y, str) else list(y)
    try:
        with h5py.File(path, "r") as file:
            features = _read(file, X, "X", where, dimensions=(2,))
            answers = {name: _read(file, name, "y", where, dimensions=(1, 2)) for name in names}
            others = {
                role: None if name is None else _read(file, name, role, where)
                for role, name in roles.items()
            }
            columns = None
            if feature_names is not None:
                columns = _read(file, feature_names, "feature_names", where)
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file; correct data.path") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{where}: cannot be read as HDF5 ({' '.join(str(error).split())}); the file is cut "
            "short or of another kind"
        ) from error
    if features.dtype.kind not in "biuf":
        raise InputError(f"{where}: X ('{X}') has type {features.dtype}; expected numbers")
    targets, target_names = _targets(answers, where)
    if columns is None:
        columns = [f"x{index}" for index in range(features.shape[1])]
    else:
        columns = as_names(columns, "feature name", where).tolist()
    return Columns(
        X=features.astype(np.float64),
        feature_names=columns,
        targets=targets,
        target_names=target_names,
        **others,
        provenance={"source": "hdf5", "path": str(path), "X": X, "y": ", ".join(names)},
    )


def _read(
    file: h5py.File, name: str, role: str, where: str, dimensions: Sequence[int] = (1,)
) -> np.ndarray:
    if name not in file or not isinstance(file[name], h5py.Dataset):
        present: list[str] = []
        file.visititems(
            lambda path, item: present.append(path) if isinstance(item, h5py.Dataset) else None
        )
        raise not_among(f"{where}: {role}", "array", name, sorted(present))
    stored = file[name]
    if stored.ndim not in dimensions:
        raise InputError(
            f"{where}: {role} ('{name}') has shape {stored.shape}; expected "
            f"{' or '.join(map(str, dimensions))} dimensions"
        )
    return stored.asstr()[...] if h5py.check_string_dtype(stored.dtype) else stored[...]


def _targets(answers: dict[str, np.ndarray], where: str) -> tuple[list[np.ndarray], list[str]]:
    """Return one array and one name per target."""
    if len(answers) == 1:
        ((name, values),) = answers.items()
        leaf = name.rsplit("/", 1)[-1]
        if values.ndim == 2:
            return list(values.T), [f"{leaf}_{index}" for index in range(values.shape[1])]
    for name, values in answers.items():
        if values.ndim != 1:
            raise InputError(f"{where}: y ('{name}') has shape {values.shape}; expected (rows,)")
    return list(answers.values()), [name.rsplit("/", 1)[-1] for name in answers]
