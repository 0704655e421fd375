"""Checks of the data of a study: its keys against each other, and its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starstack.data.band_spectrum import check_correlation
from starstack.errors import InputError
from starstack.models.classes import unknown
from starstack.models.specs import check_columns

# The names of starstack.spectra.sources, which is not imported whenever the workflow is read; a
# test holds them together.
SPECTRA = ("simulated-spectra", "cannon", "starnet-hdf5", "spectra-arrays", "apogee-fits")
STELLAR_LABELS = {"teff": "Teff (K)", "logg": "log g (dex)", "fe_h": "[Fe/H] (dex)"}

_FOLDERS = ("apogee-fits",)
_ROLES = ("row_id", "group", "time", "sample_weight")


def check_data(study: Mapping[str, Any], where: str) -> None:
    """Check the section `data` of a study, and what else depends on it alone.

    Parameters
    ----------
    study : mapping
        A study of a configuration that fits the schema, defaults filled in.
    where : str
        What the messages begin with.

    Raises
    ------
    InputError
        One line on the first mistake.
    """
    data = study["data"]
    targets = data.get("target", data.get("y", ()))
    targets = [targets] if isinstance(targets, str) else list(targets)
    key = "target" if "target" in data else "y"
    _check_target_labels(study, targets, f"{where}.target_labels")
    if study["task"] == "classification" and len(targets) > 1:
        raise InputError(
            f"{where}.data.{key}: expected one column for classification, got {len(targets)}; "
            "name one, or make several studies"
        )
    _check_roles(data, key, targets, f"{where}.data")
    if data.get("loader", "").startswith("make_") and data["params"].get("random_state") is None:
        raise InputError(
            f"{where}.data.params: expected a random_state, or {data['loader']} makes other data "
            "each time; add random_state: 1"
        )
    if "path" in data:
        check = _check_folder if data["source"] in _FOLDERS else check_file
        check(data["path"], f"{where}.data.path")
    if "labels_file" in data:
        check_file(data["labels_file"], f"{where}.data.labels_file")
    if data["source"] in SPECTRA and study["task"] != "regression":
        raise InputError(
            f"{where}.task: expected regression for spectra, whose labels are numbers; got "
            f"{study['task']}"
        )
    if "snr" in data and isinstance(data["snr"], list) and data["snr"][0] > data["snr"][1]:
        raise InputError(
            f"{where}.data.snr: expected the lowest and then the highest ratio; got {data['snr']}"
        )
    if data["source"] == "spectra-arrays":
        _check_grid(data, f"{where}.data")
    check_correlation(data.get("noise_correlation", ()), f"{where}.data")
    if features := data.get("features"):
        for name, spec in study["base_models"].items():
            check_columns(spec, features, where=f"{where}.base_models.{name}")


def _check_roles(data: Mapping[str, Any], key: str, targets: Sequence[str], where: str) -> None:
    roles = [(key, name) for name in targets]
    roles += [("features", name) for name in data.get("features") or ()]
    roles += [(role, data[role]) for role in _ROLES if data.get(role) is not None]
    seen: dict[str, str] = {}
    for role, name in roles:
        if name in seen:
            raise InputError(
                f"{where}: expected {name!r} under one key only; it is under {seen[name]} and "
                f"under {role}"
            )
        seen[name] = role


def _check_target_labels(study: Mapping[str, Any], targets: Sequence[str], where: str) -> None:
    """Refuse what is to be shown for a target that there is not, where the config names them."""
    data = study["data"]
    if data["source"] in SPECTRA:
        known = [*data.get("labels", ()), *STELLAR_LABELS]
    elif data["source"] == "hdf5":
        # One array may hold several targets, which are numbered.
        known = [name.rsplit("/", 1)[-1] for name in targets] if len(targets) > 1 else []
    else:
        known = targets
    for name in study["target_labels"]:
        if known and name not in known:
            raise InputError(f"{where}: {unknown('target', name, known)}")


def _check_grid(data: Mapping[str, Any], where: str) -> None:
    """Refuse what needs to know where the chips are, of spectra on any grid."""
    if data["grid"] is None:
        need = {
            "normalise": data["normalise"] == "chip-median",
            "drop_edge_pixel": data["drop_edge_pixel"],
            "chips": len(data["chips"]) < 3,
        }
        for key in (key for key, needed in need.items() if needed):
            advice = "take normalise: median" if key == "normalise" else f"leave out {key}"
            raise InputError(
                f"{where}.{key}: expected a grid of APOGEE beside it, which says where the chips "
                f"are; name it under data.grid, or {advice}"
            )


def _check_folder(path: str, where: str) -> None:
    if not Path(path).is_dir():
        what = "a file" if Path(path).is_file() else "no such folder"
        raise InputError(f"{where}: expected a folder, seen from {Path.cwd()}; {path!r} is {what}")


def check_file(path: str, where: str) -> None:
    """Refuse a path at which there is no file.

    Raises
    ------
    InputError
    """
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no such file"
        raise InputError(f"{where}: expected a file, seen from {Path.cwd()}; {path!r} is {what}")
