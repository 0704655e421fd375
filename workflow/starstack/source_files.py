"""Which files of the library a script really imports, found by parsing.

A rule lists these files as inputs, so that an edit of a module reruns what uses it and nothing
else. Imports count anywhere in a file, in functions too; those under ``if TYPE_CHECKING:`` do
not, since they never run. Imports by a computed name are not seen.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from starstack.errors import InputError

# Tables in a module that name what parsing cannot find: lazily re-exported names, and files
# beside the module that it reads.
EXPORTS_TABLE = "_EXPORTS"
DATA_TABLE = "DATA_FILES"


def library_files(script: Path, package_root: Path) -> list[Path]:
    """List the files that a script imports from the package and from its own folder.

    Parameters
    ----------
    script : Path
        A Python file; modules beside it count as its own.
    package_root : Path
        The folder of the package, whose name is the package's name.

    Returns
    -------
    list of Path
        Sorted, without the script: modules, the ``__init__.py`` of every package on the way, and
        the files that modules declare in ``DATA_FILES``.

    Raises
    ------
    InputError
        If a file imports a module of the package that does not exist.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for path in imported_files(waiting.pop(), package_root, script.parent):
            if path not in found:
                found.add(path)
                if path.suffix == ".py":
                    waiting.append(path)
    return sorted(found - {script})


def name_files(dotted: str, package_root: Path) -> list[Path]:
    """List the files that importing one name of the package needs, as `library_files` does.

    Parameters
    ----------
    dotted : str
        A dotted path, such as ``starstack.stacking.StackingRegressor``.
    package_root : Path
        The folder of the package.

    Returns
    -------
    list of Path
        Sorted; empty for a name of another package, or one that is not there.
    """
    first, *parts, name = dotted.split(".")
    found: set[Path] = set()
    if first == package_root.name and (module := _find_module(package_root, parts)) is not None:
        try:
            is_package = module.name == "__init__.py"
            own = _member_files(package_root, parts, name) if is_package else ()
            for path in (module, *own):
                found |= {*_with_parents(path, package_root), *library_files(path, package_root)}
        except LookupError:
            # Whoever imports the name says so better.
            return []
    return sorted(found)


def imported_files(path: Path, package_root: Path, siblings: Path | None = None) -> list[Path]:
    """List the files that one file imports by itself, as `library_files` does."""
    status = path.stat()
    return list(_imported(path, package_root, siblings, status.st_mtime_ns, status.st_size))


@cache
def _imported(
    path: Path, package_root: Path, siblings: Path | None, mtime_ns: int, size: int
) -> tuple[Path, ...]:
    tree = _parse(path)
    found: dict[Path, None] = {}
    for node in _import_statements(tree.body):
        try:
            for target in _targets(node, path, package_root, siblings):
                found.update(dict.fromkeys(_with_parents(target, package_root)))
        except LookupError as error:
            raise InputError(f"{path}, line {node.lineno}: {error.args[0]}") from None
    for name in _table(tree, DATA_TABLE) or ():
        beside = path.parent / name
        if not beside.is_file():
            raise InputError(f"{path}: {DATA_TABLE} names {name!r}, but there is no such file")
        found[beside] = None
    return tuple(found)


def _import_statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    # Only statements can hold imports: walking every expression would take ten times as long.
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _import_statements(node.orelse)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from _import_statements(getattr(node, field, None) or [])
            for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from _import_statements(part.body)


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


def _targets(
    node: ast.Import | ast.ImportFrom, path: Path, package_root: Path, siblings: Path | None
) -> Iterator[Path]:
    """Yield the files that one import statement loads, without the packages on the way."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            parts = alias.name.split(".")
            if parts[0] == package_root.name:
                yield _module_file(package_root, parts[1:])
            elif siblings and (beside := siblings / f"{parts[0]}.py").is_file():
                yield beside
        return
    parts = node.module.split(".") if node.module else []
    if node.level:
        base = path.parents[node.level - 1]
        if package_root not in (base, *base.parents):
            return
        parts = [*base.relative_to(package_root).parts, *parts]
    elif parts[0] == package_root.name:
        parts = parts[1:]
    else:
        if siblings and (beside := siblings / f"{parts[0]}.py").is_file():
            yield beside
        return
    module = _module_file(package_root, parts)
    yield module
    if module.name == "__init__.py":
        for alias in node.names:
            yield from _member_files(package_root, parts, alias.name)


def _member_files(package_root: Path, parts: list[str], name: str) -> Iterator[Path]:
    """Yield the files behind one name imported from a package."""
    init = package_root.joinpath(*parts, "__init__.py")
    tree = _parse(init)
    exports = _table(tree, EXPORTS_TABLE) or {}
    if name == "*":
        for exported in exports:
            yield from _member_files(package_root, parts, exported)
    elif (submodule := _find_module(package_root, [*parts, name])) is not None:
        yield submodule
    elif name in exports:
        yield _module_file(package_root, [*parts, *exports[name].split(".")])
    elif name not in _bound_names(tree):
        raise LookupError(f"{_dotted(package_root, parts)} has no module or name {name!r}")


def _module_file(package_root: Path, parts: list[str]) -> Path:
    found = _find_module(package_root, parts)
    if found is None:
        raise LookupError(f"no module {_dotted(package_root, parts)}")
    return found


def _find_module(package_root: Path, parts: list[str]) -> Path | None:
    folder = package_root.joinpath(*parts)
    candidates = [folder / "__init__.py"]
    if parts:
        candidates.append(folder.with_name(f"{parts[-1]}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _with_parents(path: Path, package_root: Path) -> Iterator[Path]:
    """Yield a module and the ``__init__.py`` of every package that Python runs before it."""
    yield path
    if package_root in path.parents:
        for folder in path.parents:
            if (init := folder / "__init__.py").is_file():
                yield init
            if folder == package_root:
                return


def _bound_names(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _table(tree: ast.Module, name: str) -> dict[str, str] | tuple[str, ...] | None:
    """Read a literal that a module assigns to a name at top level."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "id", None) == name for target in targets):
                return ast.literal_eval(node.value)
    return None


def _dotted(package_root: Path, parts: list[str]) -> str:
    return ".".join([package_root.name, *parts])


def _parse(path: Path) -> ast.Module:
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@cache
def _parsed(path: Path, mtime_ns: int, size: int) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))
