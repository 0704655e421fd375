"""The floors of the library: imports go down only, and what draws never fits.

The rooms and their floors are those of docs/architecture.md.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import starstack
from starstack.source_files import imported_files

LIBRARY = Path(starstack.__file__).parent
MODULES = sorted(LIBRARY.rglob("*.py"))

GROUND = "the ground floor"
FLOORS = {
    GROUND: 0,
    "data": 1,
    "splits": 1,
    "metrics": 1,
    "models": 2,
    "autodiff": 2,
    "stacking": 3,
    "networks": 3,
    "spectra": 3,
    "projection": 3,
    "curvature": 3,
    "config": 4,
    "uncertainty": 4,
    "figures": 5,
    "tables": 5,
}
# What draws reads files that others wrote.
NEVER_FITS = {"figures", "tables"}
FITS = {
    "models",
    "autodiff",
    "stacking",
    "networks",
    "projection",
    "curvature",
    "uncertainty",
}


def room(path: Path) -> str:
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else GROUND


def imports(path: Path) -> list[Path]:
    # A package's own __init__ is on the way to each of its modules, and says nothing.
    return [
        other
        for other in imported_files(path, LIBRARY)
        if other.suffix == ".py" and other.name != "__init__.py"
    ]


def allowed(importer: str, imported: str) -> bool:
    if importer in NEVER_FITS and imported in FITS:
        return False
    return importer == imported or FLOORS[importer] > FLOORS[imported]


def name(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def test_every_room_has_a_floor():
    rooms = {room(path) for path in MODULES}
    assert rooms <= set(FLOORS), "give the new room a floor, here and in docs/architecture.md"
    assert len(rooms) > 5


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_down_only(path):
    wrong = [name(other) for other in imports(path) if not allowed(room(path), room(other))]
    assert wrong == [], f"{name(path)} on floor {FLOORS[room(path)]} imports these"


def test_the_rule_of_the_floors_can_fail():
    assert not allowed("models", "stacking")
    assert not allowed("data", "splits")
    assert not allowed("figures", "tables")
    assert not allowed("tables", "stacking")
    assert not allowed("tables", "uncertainty")
    assert not allowed("uncertainty", "config")
    assert not allowed("autodiff", "models")
    assert allowed("stacking", "models")
    assert allowed("figures", "metrics")
    assert allowed("uncertainty", "networks")


def test_only_autodiff_uses_tensorflows_differentiation():
    tools = {"GradientTape", "ForwardAccumulator"}
    for path in MODULES:
        used = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert room(path) == "autodiff" or not used & tools, name(path)


def test_no_circles():
    graph = {path: imports(path) for path in MODULES}
    assert sum(map(len, graph.values())) > 20
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(name(path) for path in error.args[1]))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_internal_imports_name_the_leaf_module(path):
    """A name from a package's ``__init__`` would tie a rule to files that it does not use."""
    packages = {
        ".".join(["starstack", *init.parent.relative_to(LIBRARY).parts])
        for init in LIBRARY.rglob("__init__.py")
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the absolute path"
            if node.module in packages:
                own = node.module == "starstack" and [a.name for a in node.names]
                assert own == ["__version__"], f"line {node.lineno}: import from the leaf module"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_knows_snakemake(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or ""]
        elif isinstance(node, ast.Name):
            imported = [node.id]
        else:
            continue
        assert all(module.partition(".")[0] != "snakemake" for module in imported), node.lineno


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name)
def test_an_init_imports_nothing_of_the_library(path):
    assert [name(other) for other in imports(path)] == []


@pytest.mark.parametrize("package", sorted({path.parent.name for path in MODULES} - {"starstack"}))
def test_exports_stay_what_they_are(package):
    """A module of the same name would take an export's place once it is imported."""
    found = import_module(f"starstack.{package}")
    for export in getattr(found, "_EXPORTS", ()):
        first = getattr(found, export)
        assert not isinstance(first, ModuleType), export
        assert getattr(found, export) is first, export
