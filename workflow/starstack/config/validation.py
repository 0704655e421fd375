"""Check a configuration and fill in its defaults, in a tenth of a second and in one line.

This runs whenever the workflow is read, once per job on a cluster, so nothing here imports
scikit-learn; what only scikit-learn can tell is asked by `starstack.config.check`.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from starstack.config.cross_checks import check_studies
from starstack.config.data_checks import SPECTRA, STELLAR_LABELS
from starstack.errors import InputError
from starstack.models.classes import nearest, unknown

DEFAULT_METRICS = {
    "classification": ["accuracy", "balanced_accuracy", "log_loss", "brier"],
    "regression": ["rmse", "mae", "r2"],
}
DEFAULT_METHOD = {"classification": "stratified", "regression": "k-fold"}

_NATURAL = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def validate_config(config: Mapping[str, Any], schema_path: str | Path) -> dict[str, Any]:
    """Check a configuration and return a copy with every default filled in.

    Parameters
    ----------
    config : mapping
        As read from ``config.yaml``; it is not changed.
    schema_path : path
        The JSON Schema (2020-12) in YAML.

    Returns
    -------
    dict
        Plain dictionaries and lists only. ``split.method`` and ``metrics`` are filled in by task.

    Raises
    ------
    InputError
        One line on the most telling mistake: where, what was expected, what came.
    """
    filled = _plain(config)
    _check_keys(filled, ())
    errors = list(_validator(str(schema_path)).iter_errors(filled))
    if errors:
        raise InputError(_message(min(errors, key=_rank)))
    for study in filled["studies"].values():
        task = study["task"]
        study["metrics"] = study["metrics"] or list(DEFAULT_METRICS[task])
        study["split"]["method"] = study["split"]["method"] or DEFAULT_METHOD[task]
        if study["data"]["source"] in SPECTRA:
            study["target_labels"] = STELLAR_LABELS | study["target_labels"]
    check_studies(filled)
    for name in filled["only"]:
        if name not in filled["studies"]:
            raise InputError(f"config: only: {unknown('study', name, filled['studies'])}")
    if filled["only"]:
        filled["studies"] = {name: filled["studies"][name] for name in filled["only"]}
    return filled


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _check_keys(value: Any, path: tuple[str, ...]) -> None:
    """Refuse keys that YAML does not read as text; only parameters may have them (class codes)."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if not isinstance(key, str):
            raise InputError(f'{_place(path)}: expected names as text, got {key!r}; write "{key}"')
        if key not in ("params", "build_params"):
            _check_keys(item, (*path, key))


def _place(path: Iterable[str | int]) -> str:
    """Name a place in dotted form: ``config: studies.wine.metrics[0]``."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"config: {dotted[1:]}" if dotted else "config"


@cache
def _validator(schema_path: str) -> Any:
    # The C loader reads the schema in 5 ms, the Python one in 60 ms.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schema = yaml.load(Path(schema_path).read_text(encoding="utf-8"), Loader=loader)
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            # JSON Schema takes 5.0 for an integer and .nan for a number; no key here does.
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: (
                isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
            ),
        }
    )
    extended = validators.extend(
        Draft202012Validator, {"properties": _fill_defaults}, type_checker=types
    )
    return extended(schema)


def _fill_defaults(validator: Any, properties: dict, instance: Any, schema: dict) -> Any:
    if isinstance(instance, dict):
        for name, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(name, copy.deepcopy(subschema["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )


def _rank(error: ValidationError) -> int:
    # An unknown key is mostly a misspelt one, and explains the key that is missing.
    order = {"additionalProperties": 0, "type": 1, "required": 3}
    return order.get(error.validator, 2)


def _message(error: ValidationError) -> str:
    where = _place(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        return f"{where}: the name {error.instance!r} cannot be used; expected {_hint(error)}"
    return f"{where}: {_MESSAGES.get(error.validator, _by_limit)(error)}"


def _unknown_key(error: ValidationError) -> str:
    known = error.schema.get("properties", {})
    return unknown("key", next(key for key in error.instance if key not in known), known)


def _missing_key(error: ValidationError) -> str:
    name = next(key for key in error.validator_value if key not in error.instance)
    text = error.schema.get("properties", {}).get(name, {}).get("description", "")
    return f"key {name!r} is missing" + (f": {text}" if text else "")


def _wrong_type(error: ValidationError) -> str:
    allowed = error.validator_value
    names = [_NATURAL[name] for name in ([allowed] if isinstance(allowed, str) else allowed)]
    return f"expected {' or '.join(names)}, got {_show(error.instance)}{_number_hint(error)}"


def _not_listed(error: ValidationError) -> str:
    listed = [str(value) for value in error.validator_value if value is not None]
    near = nearest(str(error.instance), listed)
    return f"expected one of {', '.join(listed)}; got {_show(error.instance)}{near}"


def _wrong_text(error: ValidationError) -> str:
    return f"expected {_hint(error).rstrip('.')}; got {_show(error.instance)}"


def _repeated(error: ValidationError) -> str:
    twice = next(item for item in error.instance if error.instance.count(item) > 1)
    return f"expected each entry once; {twice!r} is there {error.instance.count(twice)} times"


def _too_few(error: ValidationError) -> str:
    least = error.validator_value
    entries = "one entry" if least == 1 else f"{least} entries"
    what = "text" if isinstance(error.instance, str) else f"at least {entries}"
    return f"expected {what}, got {_show(error.instance)}"


def _too_many(error: ValidationError) -> str:
    return f"expected {error.validator_value} entries, got {len(error.instance)}"


def _by_limit(error: ValidationError) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    limit = f"{words.get(error.validator, error.validator)} {error.validator_value}"
    return f"expected {limit}, got {_show(error.instance)}"


_MESSAGES = {
    "additionalProperties": _unknown_key,
    "required": _missing_key,
    "type": _wrong_type,
    "enum": _not_listed,
    "pattern": _wrong_text,
    "uniqueItems": _repeated,
    "minItems": _too_few,
    "minProperties": _too_few,
    "minLength": _too_few,
    "maxItems": _too_many,
}


def _hint(error: ValidationError) -> str:
    text = " ".join(error.schema.get("description", "other text.").split())
    return text[0].lower() + text[1:]


def _number_hint(error: ValidationError) -> str:
    """Explain the trap that YAML 1.1 reads 1e-3 as text."""
    if error.validator_value not in ("integer", "number") or not isinstance(error.instance, str):
        return ""
    try:
        float(error.instance)
    except ValueError:
        return ""
    return "; write a number without quotes, 1e-3 as 1.0e-3"


def _show(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, value))}" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    text = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return f"the text {text}" if isinstance(value, str) else text
