"""Build every model of a configuration once, before any job: what only its class can tell."""

from collections.abc import Mapping
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
        by its class, or a model for the other task.
    """
    from sklearn.base import is_classifier

    from starstack.models.specs import build_estimator
    from starstack.stacking.meta_learners import build_meta_learner

    allowed = config["allowed_packages"]
    for name, study in config["studies"].items():
        task = study["task"]
        for model, spec in study["base_models"].items():
            where = f"config: studies.{name}.base_models.{model}"
            estimator = build_estimator(spec, seed=0, allowed_packages=allowed, where=where)
            if is_classifier(estimator) != (task == "classification"):
                kind = "classifier" if task == "classification" else "regressor"
                raise InputError(f"{where}: {task} needs a {kind}, and {spec['class']} is none")
        for learner, spec in study["meta_learners"].items():
            where = f"config: studies.{name}.meta_learners.{learner}"
            build_meta_learner(spec, task=task, seed=0, allowed_packages=allowed, where=where)
