"""Classes that the config names by dotted path: what may be imported, and what was meant."""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterable, Sequence
from typing import Any

from starstack.errors import InputError

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that looks most like an unknown one.

    Returns
    -------
    str
        ``"; did you mean 'class'?"``, or ``""`` where nothing is near.

    Examples
    --------
    >>> nearest("clas", ["class", "params"])
    "; did you mean 'class'?"
    >>> nearest("zzz", ["class", "params"])
    ''
    """
    folded = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[match[0]]!r}?" if match else ""


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Say that a name is unknown, which ones are known, and which one may have been meant.

    Examples
    --------
    >>> unknown("key", "clas", ["class", "params"])
    "unknown key 'clas'; expected one of class, params; did you mean 'class'?"
    """
    known = list(known)
    listed = f"expected one of {', '.join(known)}" if known else "none is expected here"
    return f"unknown {what} {name!r}; {listed}{nearest(str(name), known)}"


def one_line(error: BaseException) -> str:
    """Fold the text of an error into one line."""
    return " ".join(str(error).split())


def check_allowed(dotted: object, allowed_packages: Sequence[str], where: str) -> None:
    """Check, without importing anything, that a class may be imported.

    Raises
    ------
    InputError
        If ``dotted`` is not the dotted path of a class in one of ``allowed_packages``.
    """
    if not isinstance(dotted, str) or not _DOTTED.fullmatch(dotted):
        raise InputError(
            f"{where}: expected the dotted path of a class, such as "
            f"sklearn.linear_model.Ridge; got {dotted!r}"
        )
    if not _in_packages(dotted, allowed_packages):
        raise InputError(
            f"{where}: class {dotted} is not in an allowed package "
            f"({', '.join(allowed_packages)}); if you trust {dotted.partition('.')[0]}, "
            "add it to allowed_packages"
        )


def resolve_class(dotted: str, allowed_packages: Sequence[str], where: str) -> type:
    """Import a class by its dotted path.

    Raises
    ------
    InputError
        If the package is not allowed or not installed, or has no such module or class.
    """
    check_allowed(dotted, allowed_packages, where)
    module_name, _, name = dotted.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"{where}: {_missing_module(module_name, error)}") from error
    try:
        found = getattr(module, name)
    except (AttributeError, ImportError) as error:
        raise InputError(
            f"{where}: {module_name} has no class {name!r}{_class_hint(module, name)}"
        ) from error
    if not isinstance(found, type):
        raise InputError(
            f"{where}: expected a class; {dotted} is a {type(found).__name__}"
            f"{_class_hint(module, name)}"
        )
    # A module hands out whatever it imported itself: the class must be the package's own.
    if not _in_packages(f"{found.__module__}.{name}", allowed_packages):
        raise InputError(
            f"{where}: {dotted} is defined in {found.__module__}, which is not in an allowed "
            f"package ({', '.join(allowed_packages)}); name it by its own package"
        )
    return found


def _in_packages(dotted: str, packages: Sequence[str]) -> bool:
    return any(dotted.startswith(f"{package}.") for package in packages)


def _missing_module(module_name: str, error: ImportError) -> str:
    top = module_name.partition(".")[0]
    absent = getattr(error, "name", None)
    if absent == top:
        return f"package {top!r} is not installed in this environment"
    if not absent or not f"{module_name}.".startswith(f"{absent}."):
        return f"{module_name} cannot be imported: {one_line(error)}"
    parent, _, name = absent.rpartition(".")
    package = importlib.import_module(parent)
    names = [found.name for found in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return f"{parent} has no module {name!r}{nearest(name, names)}"


def _class_hint(module: Any, name: str) -> str:
    """Suggest the same name elsewhere in scikit-learn, else a similar one in this module."""
    if module.__name__.partition(".")[0] == "sklearn":
        from sklearn.utils import all_estimators

        for known, found in all_estimators():
            if known == name:
                public = found.__module__.partition("._")[0]
                return f"; did you mean '{public}.{name}'?"
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    return nearest(name, [*classes, *getattr(module, "__all__", [])])
