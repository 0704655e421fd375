"""Estimators from entries of the config: ``{class, params, preprocess, columns}``.

An entry may nest: wherever a parameter takes an estimator (a kernel, a splitter), the config
writes another entry. Only classes of an allowed list of packages are imported. scikit-learn is
imported inside the functions, since the config is validated whenever the workflow is read.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starstack.errors import InputError
from starstack.models.classes import nearest, one_line, resolve_class, unknown

SPEC_KEYS = ("class", "params", "preprocess", "columns")

PREPROCESSING: dict[str, dict[str, Any]] = {
    "standardize": {"class": "sklearn.preprocessing.StandardScaler"},
    "robust": {"class": "sklearn.preprocessing.RobustScaler"},
    "minmax": {"class": "sklearn.preprocessing.MinMaxScaler"},
    "power": {"class": "sklearn.preprocessing.PowerTransformer"},
    "drop_constant": {"class": "sklearn.feature_selection.VarianceThreshold"},
    "whiten": {"class": "sklearn.decomposition.PCA", "params": {"whiten": True}},
}

# Parameters by which scikit-learn's compositions take named members, as a list of tuples.
NAMED_MEMBERS = ("estimators", "steps", "transformers", "transformer_list")


def is_spec(value: object) -> bool:
    """Tell whether a parameter's value is itself an entry ``{class: …}``."""
    return isinstance(value, Mapping) and "class" in value


def iter_specs(spec: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk over an entry and every entry nested in its ``params`` and ``preprocess``.

    Yields
    ------
    (where, spec) : tuple of str and mapping
        Where the entry stands, in dotted form, and the entry.
    """
    yield where, spec
    parts = [(f"{where}.params", spec.get("params") or {})]
    parts.append((f"{where}.preprocess", list(spec.get("preprocess") or ())))
    while parts:
        place, value = parts.pop(0)
        if is_spec(value):
            yield from iter_specs(value, place)
        elif isinstance(value, Mapping):
            parts += [(f"{place}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            parts += [(f"{place}[{position}]", item) for position, item in enumerate(value)]


def build_estimator(
    spec: Mapping[str, Any], *, seed: int | None, allowed_packages: Sequence[str], where: str
) -> Any:
    """Build the unfitted estimator that an entry of the config describes.

    Parameters
    ----------
    spec : mapping
        ``class`` (dotted path), ``params``, ``preprocess`` (names from `PREPROCESSING` or
        entries) and ``columns`` (names of the columns that the model may see, or None for
        all). Other keys of the entry are not looked at.
    seed : int or None
        Given to every ``random_state`` that the entry leaves unset, nested ones too.
    allowed_packages : sequence of str
        The packages that classes may come from.
    where : str
        Where the entry stands; opens every message.

    Returns
    -------
    estimator
        The bare estimator, or a pipeline of the steps ``columns``, the preprocessing, ``model``.

    Raises
    ------
    InputError
        If a class cannot be used, or a parameter is unknown or refused by its class. Values
        are checked without fitting, as far as the class can tell them.

    Examples
    --------
    >>> spec = {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 2.0}}
    >>> build_estimator(spec, seed=1, allowed_packages=["sklearn"], where="models.ridge")
    Ridge(alpha=2.0, random_state=1)
    """
    estimator = _build(spec, allowed_packages, where)
    model = getattr(estimator, "steps", [("model", estimator)])[-1][1]
    lacks = [name for name in ("fit", "predict", "get_params") if not hasattr(type(model), name)]
    if lacks:
        hint = "list it under preprocess" if hasattr(model, "transform") else "name a model"
        raise InputError(
            f"{where}: expected an estimator with fit, predict and get_params; {spec['class']} "
            f"has no {' and no '.join(lacks)}, {hint} instead"
        )
    if seed is not None:
        _set_seeds(estimator, seed)
    return estimator


def check_columns(spec: Mapping[str, Any], feature_names: Sequence[str], *, where: str) -> None:
    """Check that the data have the columns that an entry wants to see.

    Raises
    ------
    InputError
        If a name under ``columns`` is not among ``feature_names``.
    """
    known = set(feature_names)
    missing = [name for name in spec.get("columns") or () if name not in known]
    if missing:
        raise InputError(
            f"{where}.columns: the data have no column {missing[0]!r}"
            f"{nearest(missing[0], feature_names) or '; the columns are ' + _some(feature_names)}"
        )


def _build(spec: Mapping[str, Any], allowed_packages: Sequence[str], where: str) -> Any:
    model = _instantiate(spec, allowed_packages, where)
    steps: list[tuple[str, Any]] = []
    if columns := spec.get("columns"):
        from sklearn.compose import ColumnTransformer

        keep = [("columns", "passthrough", list(columns))]
        steps.append(("columns", ColumnTransformer(keep, verbose_feature_names_out=False)))
    for position, item in enumerate(spec.get("preprocess") or ()):
        place = f"{where}.preprocess[{position}]"
        if isinstance(item, str) and item not in PREPROCESSING:
            raise InputError(f"{place}: {unknown('preprocessing', item, PREPROCESSING)}")
        # Our own names are no choice of the user's, so they need no place on the allowed list.
        name, step, allowed = (
            (item, PREPROCESSING[item], ("sklearn",))
            if isinstance(item, str)
            else (str(item["class"]).rpartition(".")[2].lower(), item, allowed_packages)
        )
        transformer = _build(step, allowed, place)
        if not hasattr(transformer, "transform"):
            raise InputError(
                f"{place}: expected a transformer with fit and transform; "
                f"{step['class']} has no transform"
            )
        taken = sum(other == name or other.startswith(f"{name}-") for other, _ in steps)
        steps.append((f"{name}-{taken + 1}" if taken else name, transformer))
    if not steps:
        return model
    from sklearn.pipeline import Pipeline

    return Pipeline([*steps, ("model", model)])


def _instantiate(spec: Mapping[str, Any], allowed_packages: Sequence[str], where: str) -> Any:
    cls = resolve_class(spec["class"], allowed_packages, where)
    given = spec.get("params") or {}
    _check_parameter_names(cls, given, f"{where}.params")
    constraints = getattr(cls, "_parameter_constraints", {})
    params = {
        name: _as_accepted(
            _build_value(name, value, allowed_packages, f"{where}.params.{name}"),
            constraints.get(name),
        )
        for name, value in given.items()
    }
    if "allowed_packages" in constraints:
        # A class that imports by name itself does so by the same list.
        params["allowed_packages"] = tuple(allowed_packages)
    try:
        built = cls(**params)
        # scikit-learn checks values only in fit; asked for here, a typo costs no job.
        # BaseEstimator has the method, but only scikit-learn's own classes state what it needs.
        if hasattr(built, "_parameter_constraints"):
            built._validate_params()
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {one_line(error)}{_number_hint(given)}") from error
    return built


def _build_value(name: str, value: Any, allowed_packages: Sequence[str], where: str) -> Any:
    if is_spec(value):
        return _build(value, allowed_packages, where)
    if name in NAMED_MEMBERS:
        return _named_members(name, value, allowed_packages, where)
    if isinstance(value, Mapping):
        return {
            key: _build_value("", item, allowed_packages, f"{where}.{key}")
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            _build_value("", item, allowed_packages, f"{where}[{position}]")
            for position, item in enumerate(value)
        ]
    return value


def _named_members(
    parameter: str, members: Any, allowed_packages: Sequence[str], where: str
) -> list[tuple]:
    """Turn ``{name: entry}`` or ``[[name, entry], …]`` into scikit-learn's list of tuples."""
    if isinstance(members, Mapping):
        rows = [
            [name, entry, entry["columns"]]
            if parameter == "transformers" and is_spec(entry) and "columns" in entry
            else [name, entry]
            for name, entry in members.items()
        ]
    else:
        rows = members
    length = 3 if parameter == "transformers" else 2
    wanted = "[name, entry, columns]" if length == 3 else "[name, entry]"
    built = []
    for row in rows if isinstance(rows, list | tuple) else [rows]:
        if not isinstance(row, list | tuple) or len(row) != length:
            raise InputError(f"{where}: expected a list of {wanted}; got {row!r}")
        name, entry, *columns = row
        if columns and is_spec(entry):
            entry = {key: value for key, value in entry.items() if key != "columns"}
        built.append((name, _build_value("", entry, allowed_packages, f"{where}.{name}"), *columns))
    return built


def _as_accepted(value: Any, constraint: object) -> Any:
    """Turn a list into a tuple where the class asks for one: YAML knows no tuples."""
    takes_tuples = isinstance(constraint, list) and tuple in constraint
    return tuple(value) if takes_tuples and isinstance(value, list) else value


def _check_parameter_names(cls: type, given: Mapping[str, Any], where: str) -> None:
    parameters = inspect.signature(cls).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for name in given:
        if name not in known:
            raise InputError(f"{where}: {unknown(f'parameter of {cls.__name__}', name, known)}")


def _set_seeds(estimator: Any, seed: int) -> None:
    params = estimator.get_params(deep=True)
    # Splitters have no get_params, and refuse a seed where they do not shuffle.
    for value in params.values():
        unseeded = getattr(value, "random_state", seed) is None
        if unseeded and not hasattr(value, "get_params") and getattr(value, "shuffle", True):
            value.random_state = seed
    unset = [
        name
        for name, value in params.items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    if unset:
        estimator.set_params(**dict.fromkeys(unset, seed))


def _number_hint(params: Mapping[str, Any]) -> str:
    for value in params.values():
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
            mantissa, exponent = value.lower().split("e")
            return f" (YAML reads {value} as text: write {mantissa}.0e{int(exponent):+d})"
    return ""


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
