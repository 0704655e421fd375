"""Build every model of a configuration once, before any job: what only its class can tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from starstack.errors import InputError


def check_models(config: Mapping[str, Any]) -> None:
    """Build, without fitting, each base model and meta-learner of each study.

    Parameters
    ----------
    config : mapping
        From `starstack.config.validation.validate_config`.

    Raises
    ------
    InputError
        For a class that does not exist or is no estimator, a parameter that is unknown or refused
        by its class, a model for the other task, or a blend of models without probabilities.
    """
    from starstack.stacking.blends import BlendClassifier
    from starstack.stacking.meta_learners import build_meta_learner

    allowed = config["allowed_packages"]
    for name, study in config["studies"].items():
        bases = _build_base_models(name, study, allowed)
        for learner, spec in study["meta_learners"].items():
            where = f"config: studies.{name}.meta_learners.{learner}"
            built = build_meta_learner(
                spec, task=study["task"], seed=0, allowed_packages=allowed, where=where
            )
            if isinstance(built, BlendClassifier):
                _check_probabilities(bases, spec["class"], where)
        for network, spec in study["networks"].items():
            _check_network(spec, allowed, f"config: studies.{name}.networks.{network}")


def _build_base_models(
    name: str, study: Mapping[str, Any], allowed: Sequence[str]
) -> dict[str, Any]:
    from sklearn.base import is_classifier

    from starstack.models.specs import build_estimator

    built = {}
    for model, spec in study["base_models"].items():
        where = f"config: studies.{name}.base_models.{model}"
        built[model] = build_estimator(spec, seed=0, allowed_packages=allowed, where=where)
        if is_classifier(built[model]) != (study["task"] == "classification"):
            kind = "classifier" if study["task"] == "classification" else "regressor"
            raise InputError(f"{where}: {study['task']} needs a {kind}; {spec['class']} is none")
    return built


def _check_network(spec: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    from starstack.networks.architectures import check_build
    from starstack.networks.options import TrainingOptions

    check_build(spec["build"], spec["build_params"], allowed, f"{where}.build")
    try:
        TrainingOptions(**spec["training"])
    except InputError as error:
        raise InputError(f"{where}.{error}") from None


def _check_probabilities(bases: Mapping[str, Any], blend: str, where: str) -> None:
    for model, estimator in bases.items():
        # Some compositions only know once they are fitted; those are given the benefit of doubt.
        certain = hasattr(estimator, "decision_function") or not hasattr(
            type(estimator), "predict_proba"
        )
        if certain and not hasattr(estimator, "predict_proba"):
            raise InputError(
                f"{where}: {blend} blends probabilities, and base model {model!r} gives none; "
                "wrap it in sklearn.calibration.CalibratedClassifierCV, or take logistic"
            )
