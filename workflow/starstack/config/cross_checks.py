"""Checks of a configuration that look at several keys at once; nothing is imported or opened."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starstack.config.data_checks import SPECTRA, check_data, check_file
from starstack.errors import InputError
from starstack.models.classes import check_allowed, unknown
from starstack.models.specs import PREPROCESSING, SPEC_KEYS, iter_specs

METRICS_OF_TASK = {
    "classification": ("accuracy", "balanced_accuracy", "log_loss", "brier", "roc_auc"),
    "regression": ("r2", "rmse", "mae"),
}
# The short names of starstack.stacking.meta_learners, which imports scikit-learn: a test holds
# the two tables together.
META_LEARNERS_OF_TASK = {
    "classification": ("logistic", "ridge", "dense", "convex", "nnls", "greedy", "best_single"),
    "regression": ("ridge", "lasso", "dense", "convex", "nnls", "greedy", "best_single"),
}
# Of these the one whose class no import leads to: `stacking` does not import `networks`.
NAMED_BY_TEXT = {"dense": "starstack.networks.estimators.KerasRegressor"}
PROJECTED = "starstack.projection.ProjectedLogisticRegression"
BLENDS = ("convex", "nnls", "greedy", "best_single")

# The names of starstack.networks.architectures, which is not imported whenever the workflow is
# read; a test holds the names together.
ARCHITECTURES = ("dense", "starnet", "cnn_2d", "recurrent")
# Of these what has other layers than dense and convolutional ones, and the structures of the
# curvature that are made of such layers' factors.
NOT_LAYERED = ("recurrent",)
LAYERED = ("block", "kfac", "ekfac", "diagonal")

# What a method of splitting needs: a key of data, or classes.
_NEEDS = {"grouped": "group", "stratified-grouped": "group", "time-ordered": "time"}
_STRATIFIED = {"stratified": "k-fold", "stratified-grouped": "grouped"}
_KINDS = {"base_models": "base model", "meta_learners": "meta-learner", "networks": "network"}


# Folders of results/ that are no study's.
RESERVED = ("summary",)


def check_studies(config: Mapping[str, Any]) -> None:
    """Check what the schema cannot: keys against each other, classes, files.

    Parameters
    ----------
    config : mapping
        A configuration that fits the schema, defaults filled in.

    Raises
    ------
    InputError
        One line on the first mistake.
    """
    _check_distinct(config["studies"], "config: studies")
    for name, study in config["studies"].items():
        where = f"config: studies.{name}"
        if name in RESERVED:
            raise InputError(
                f"{where}: results/{name} holds what concerns all studies; give the study another "
                "name"
            )
        _check_parts(study, where)
        _check_names(study, where)
        check_data(study, where)
        _check_split(study, where)
        _check_metrics(study, where)
        for entry, spec in _entries(study, where):
            _check_classes(entry, spec, config["allowed_packages"])
        for learner, spec in study["meta_learners"].items():
            _check_meta_learner(spec, study["task"], f"{where}.meta_learners.{learner}")
        for network, spec in study["networks"].items():
            _check_network(spec, config["allowed_packages"], f"{where}.networks.{network}")
            _check_uncertainty(spec, study["task"], f"{where}.networks.{network}")
        _check_snr_bins(study["snr_bins"], f"{where}.snr_bins")
        if study["projection"]:
            _check_projection(study, config["allowed_packages"], f"{where}.projection")


def _entries(study: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("base_models", "meta_learners"):
        for name, spec in study[kind].items():
            yield f"{where}.{kind}.{name}", spec


def _check_distinct(names: Any, where: str) -> None:
    """Refuse names that some file systems cannot tell apart."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InputError(
                f"{where}: expected names that differ in more than case, since they name files; "
                f"got {other!r} and {name!r}"
            )


def _check_parts(study: Mapping[str, Any], where: str) -> None:
    bases, metas, networks = (study[kind] for kind in _KINDS)
    if bool(bases) != bool(metas):
        lacks, has = ("meta_learners", "base_models") if bases else ("base_models", "meta_learners")
        raise InputError(f"{where}: expected {lacks} beside {has}; add at least one")
    if not bases and not networks and not study["projection"]:
        raise InputError(
            f"{where}: expected base_models with meta_learners, networks or a projection; there is "
            "nothing to fit"
        )


def _check_names(study: Mapping[str, Any], where: str) -> None:
    """Refuse names that stand for two estimators in the tables of the study."""
    seen: dict[str, str] = {}
    for kind, words in _KINDS.items():
        _check_distinct(study[kind], f"{where}.{kind}")
        for name in study[kind]:
            if name.lower() in seen:
                raise InputError(
                    f"{where}.{kind}: expected a name of its own for each estimator of a study; "
                    f"{name!r} is also {seen[name.lower()]}, rename one of them"
                )
        seen |= {name.lower(): f"the {words} {name!r}" for name in study[kind]}


def _check_split(study: Mapping[str, Any], where: str) -> None:
    split, data, place = study["split"], study["data"], f"{where}.split"
    if split["file"] is not None:
        check_file(split["file"], f"{place}.file")
        return
    method = split["method"]
    needed = _NEEDS.get(method)
    grouped = data["source"] in SPECTRA and needed == "group"  # stars, or the dataset named
    if needed and data.get(needed) is None and not grouped:
        raise InputError(
            f"{place}.method: {method} needs the {needed} of each row; "
            + (
                f"name its column under data.{needed}"
                if data["source"] != "scikit-learn"
                else "data from scikit-learn have none, choose k-fold or stratified"
            )
        )
    if method in _STRATIFIED and study["task"] != "classification":
        raise InputError(
            f"{place}.method: {method} needs classes, and the task is {study['task']}; "
            f"use {_STRATIFIED[method]}"
        )
    if split["n_repeats"] > 1 and method == "time-ordered":
        raise InputError(
            f"{place}.n_repeats: expected 1 for time-ordered, since time has one order; "
            f"got {split['n_repeats']}"
        )
    if split["n_repeats"] > 1 and not split["shuffle"]:
        raise InputError(
            f"{place}: n_repeats is {split['n_repeats']} but shuffle is false, which would repeat "
            "the same folds; set shuffle to true or n_repeats to 1"
        )


def _check_metrics(study: Mapping[str, Any], where: str) -> None:
    known = METRICS_OF_TASK[study["task"]]
    for metric in study["metrics"]:
        if metric not in known:
            raise InputError(
                f"{where}.metrics: {metric} does not fit the task {study['task']}; "
                f"expected some of {', '.join(known)}"
            )


def _check_meta_learner(spec: Mapping[str, Any], task: str, where: str) -> None:
    name, short_names = spec["class"], META_LEARNERS_OF_TASK[task]
    if "." not in name and name not in short_names:
        known = [*short_names, "the dotted path of a class"]
        raise InputError(f"{where}.class: {unknown(f'meta-learner for {task}', name, known)}")
    if name in BLENDS and spec["keep_features"]:
        raise InputError(
            f"{where}.keep_features: {name} weighs whole base models and cannot use features; "
            "set it to false, or take another meta-learner"
        )
    if name in BLENDS and spec["preprocess"]:
        raise InputError(
            f"{where}.preprocess: {name} weighs predictions as they are; remove preprocess, or "
            "take another meta-learner"
        )
    if spec["trained_on"] == "in-sample":
        if "." in name:
            raise InputError(
                f"{where}.trained_on: in-sample leaks, and is only there to show it with one of "
                f"{', '.join(short_names)}; use out-of-fold for {name}"
            )
        if spec["member_predictions"] != "refit":
            raise InputError(
                f"{where}.member_predictions: expected refit with trained_on: in-sample; "
                f"got {spec['member_predictions']}"
            )


def _check_classes(where: str, entry: Mapping[str, Any], allowed_packages: Sequence[str]) -> None:
    for place, spec in iter_specs(entry, where):
        nested = place != where
        for key in spec if nested else ():
            if key not in SPEC_KEYS:
                raise InputError(f"{place}: {unknown('key', key, SPEC_KEYS)}")
        if nested or "." in spec["class"]:
            check_allowed(spec["class"], allowed_packages, f"{place}.class")
        for position, item in enumerate(spec.get("preprocess") or ()):
            if isinstance(item, str) and item not in PREPROCESSING:
                what = unknown("preprocessing", item, PREPROCESSING)
                raise InputError(f"{place}.preprocess[{position}]: {what}")


def _check_network(spec: Mapping[str, Any], allowed_packages: Sequence[str], where: str) -> None:
    build = spec["build"]
    if "." in build:
        check_allowed(build, allowed_packages, f"{where}.build")
    elif build not in ARCHITECTURES:
        known = [*ARCHITECTURES, "the dotted path of a function"]
        raise InputError(f"{where}.build: {unknown('architecture', build, known)}")


def _check_uncertainty(spec: Mapping[str, Any], task: str, where: str) -> None:
    options, training = spec["uncertainty"], spec["training"]
    if not options["structures"]:
        return
    if spec["build"] in NOT_LAYERED:
        for structure in options["structures"]:
            if structure in LAYERED:
                raise InputError(
                    f"{where}.uncertainty.structures: {structure} needs dense and convolutional "
                    f"layers, and build is {spec['build']}; take last_layer, low_rank, cg, or "
                    "exact of a small network"
                )
    if not training["validation_fraction"]:
        raise InputError(
            f"{where}.training.validation_fraction: expected more than 0 with uncertainty, since "
            "error bars are calibrated on rows that were not trained on; 0.25 serves"
        )
    if task == "regression" and training["loss"] not in (None, "mean_squared_error"):
        raise InputError(
            f"{where}.training.loss: expected mean_squared_error with uncertainty.structures, "
            f"whose posterior is that of Gaussian noise; got {training['loss']}"
        )
    if options["noise"] == "monte_carlo" and options["noise_draws"] == 1:
        raise InputError(
            f"{where}.uncertainty.noise_draws: expected 2 or more with monte_carlo, which takes "
            "the scatter of the draws; got 1"
        )


def _check_projection(study: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    if study["task"] != "classification":
        raise InputError(
            f"{where}: expected a study of classification, whose classes the projection tells "
            f"apart; got {study['task']}"
        )
    spec = study["projection"]
    model = {"class": PROJECTED, "params": {}, "preprocess": spec["preprocess"]}
    _check_classes(where, model, [*allowed, "starstack"])
    name = spec["draw"]
    if name is None:
        return
    if name not in study["base_models"]:
        raise InputError(f"{where}.draw: {unknown('base model', name, study['base_models'])}")
    drawn = study["base_models"][name]
    if drawn["class"] != PROJECTED or drawn["params"].get("rank", 2) != 2:
        raise InputError(
            f"{where}.draw: expected a base model of class {PROJECTED} and rank 2, which can be "
            f"drawn in a plane; {name} has class {drawn['class']} and rank "
            f"{drawn['params'].get('rank', 'none')}"
        )


def _check_snr_bins(edges: Sequence[float], where: str) -> None:
    if list(edges) != sorted(edges):
        raise InputError(f"{where}: expected edges in rising order; got {list(edges)}")
