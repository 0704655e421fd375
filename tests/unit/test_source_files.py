import ast
import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

import starstack
from starstack.errors import InputError
from starstack.source_files import library_files, name_files

LIBRARY = Path(starstack.__file__).parent


@pytest.fixture
def made(tmp_path):
    """Write files below a folder: {relative name: text}; answer (script, package root)."""

    def write(files):
        for name, text in {"pkg/__init__.py": "", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path / "scripts/job.py", tmp_path / "pkg"

    return write


def names(paths, root):
    return [path.relative_to(root.parent).as_posix() for path in paths]


def found(made, files):
    script, root = made(files)
    return names(library_files(script, root), root)


TREE = {
    "pkg/plain.py": "",
    "pkg/room/__init__.py": "",
    "pkg/room/leaf.py": "def thing(): ...",
    "pkg/room/other.py": "from pkg.plain import x",
    "pkg/room/deep/__init__.py": "",
    "pkg/room/deep/down.py": "from ..leaf import thing\nfrom ... import plain\n",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os, json, sys", []),
        ("import pkg", ["pkg/__init__.py"]),
        ("import pkg.plain", ["pkg/__init__.py", "pkg/plain.py"]),
        ("import pkg.plain as p, os", ["pkg/__init__.py", "pkg/plain.py"]),
        ("from pkg import plain", ["pkg/__init__.py", "pkg/plain.py"]),
        ("from pkg.plain import anything", ["pkg/__init__.py", "pkg/plain.py"]),
        (
            "from pkg.room import leaf",
            ["pkg/__init__.py", "pkg/room/__init__.py", "pkg/room/leaf.py"],
        ),
        (
            "from pkg.room.leaf import thing",
            ["pkg/__init__.py", "pkg/room/__init__.py", "pkg/room/leaf.py"],
        ),
        ("import pkg.room", ["pkg/__init__.py", "pkg/room/__init__.py"]),
        ("from pkg.room import deep", [
            "pkg/__init__.py", "pkg/room/__init__.py", "pkg/room/deep/__init__.py"]),
        ("from pkg.room.other import x", [
            "pkg/__init__.py", "pkg/plain.py", "pkg/room/__init__.py", "pkg/room/other.py"]),
        ("import pkg.room.deep.down", [
            "pkg/__init__.py", "pkg/plain.py", "pkg/room/__init__.py",
            "pkg/room/deep/__init__.py", "pkg/room/deep/down.py", "pkg/room/leaf.py"]),
        ("import pkgother.plain\nfrom pkgother import plain", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_kind_of_import_leads_to_its_files(made, text, expected):
    assert found(made, {**TREE, "scripts/job.py": text}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    from pkg import plain\n",
        "class A:\n    def f(self):\n        async def g():\n            import pkg.plain\n",
        "try:\n    import fast\nexcept ImportError:\n    from pkg import plain\n",
        "try:\n    pass\nfinally:\n    from pkg import plain\n",
        "if x:\n    pass\nelif y:\n    from pkg import plain\n",
        "if x:\n    pass\nelse:\n    from pkg import plain\n",
        "with a as b:\n    for c in d:\n        while e:\n            from pkg import plain\n",
        "for c in d:\n    pass\nelse:\n    from pkg import plain\n",
        "match x:\n    case 1:\n        from pkg import plain\n",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pkg.plain\n",
    ],
)
def test_imports_count_wherever_they_stand(made, text):
    assert found(made, {**TREE, "scripts/job.py": text}) == ["pkg/__init__.py", "pkg/plain.py"]


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_type_checkers_do_not(made, test):
    text = f"import typing\nif {test}:\n    from pkg.room import missing\n"
    assert found(made, {**TREE, "scripts/job.py": text}) == []


def test_text_that_looks_like_an_import_does_not(made):
    text = '"""\nfrom pkg import plain\n"""\n# import pkg.plain\n'
    assert found(made, {**TREE, "scripts/job.py": text}) == []


def test_lazy_names_lead_to_their_own_leaf_only(made):
    files = {
        "pkg/room/__init__.py": """
            _EXPORTS: dict[str, str] = {"thing": "leaf", "Deep": "deep.down"}

            def __getattr__(name):
                from importlib import import_module
                return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
            """,
    }
    init = ["pkg/__init__.py", "pkg/room/__init__.py"]
    one = {**TREE, **files, "scripts/job.py": "from pkg.room import thing"}
    assert found(made, one) == [*init, "pkg/room/leaf.py"]
    deep = {**TREE, **files, "scripts/job.py": "from pkg.room import Deep"}
    assert {"pkg/room/deep/down.py", "pkg/room/deep/__init__.py"} < {*found(made, deep)}
    star = {**TREE, **files, "scripts/job.py": "from pkg.room import *"}
    assert {"pkg/room/deep/down.py", "pkg/room/leaf.py"} < {*found(made, star)}


def test_names_that_a_package_holds_itself_need_no_module(made):
    init = "import os as system\nlimit: int = 3\nsize = 4\ndef f(): ...\nclass C: ...\n"
    text = "from pkg.room import system, limit, size, f, C\n"
    files = {**TREE, "pkg/room/__init__.py": init, "scripts/job.py": text}
    assert found(made, files) == ["pkg/__init__.py", "pkg/room/__init__.py"]


def test_what_a_package_imports_itself_counts(made):
    files = {**TREE, "pkg/room/__init__.py": "from pkg.plain import x"}
    expected = ["pkg/__init__.py", "pkg/plain.py", "pkg/room/__init__.py", "pkg/room/leaf.py"]
    assert found(made, {**files, "scripts/job.py": "import pkg.room.leaf"}) == expected


def test_modules_beside_the_script_count_with_what_they_import(made):
    files = {
        **TREE,
        "scripts/job.py": "import helper\nfrom second import y\nimport unrelated.thing",
        "scripts/helper.py": "def f():\n    import third",
        "scripts/second.py": "from pkg import plain\nimport job",
        "scripts/third.py": "",
        "scripts/not_imported.py": "",
    }
    assert found(made, files) == [
        "pkg/__init__.py",
        "pkg/plain.py",
        "scripts/helper.py",
        "scripts/second.py",
        "scripts/third.py",
    ]


def test_a_module_of_the_library_does_not_reach_for_modules_beside_itself(made):
    files = {
        **TREE,
        "pkg/room/json.py": "",
        "pkg/room/leaf.py": "import json\nfrom json import dumps\n",
        "scripts/job.py": "import pkg.room.leaf",
    }
    assert "pkg/room/json.py" not in found(made, files)


def test_declared_data_files_count(made):
    files = {
        **TREE,
        "pkg/room/leaf.py": 'DATA_FILES = ("look.mplstyle", "sub/labels.csv")\n',
        "pkg/room/look.mplstyle": "",
        "pkg/room/sub/labels.csv": "",
        "pkg/room/not_declared.csv": "",
        "scripts/job.py": "import pkg.room.leaf",
    }
    assert [name for name in found(made, files) if not name.endswith(".py")] == [
        "pkg/room/look.mplstyle",
        "pkg/room/sub/labels.csv",
    ]


def test_circles_end(made):
    files = {
        "pkg/a.py": "import pkg.b",
        "pkg/b.py": "def f():\n    import pkg.a\n",
        "scripts/job.py": "import pkg.a",
    }
    assert found(made, files) == ["pkg/__init__.py", "pkg/a.py", "pkg/b.py"]


@pytest.mark.parametrize(
    ("files", "fragments"),
    [
        ({"scripts/job.py": "\n\nimport pkg.missing"}, ["job.py, line 3", "no module pkg.missing"]),
        (
            {"scripts/job.py": "from pkg import missing"},
            ["line 1", "pkg has no module or name 'mi"],
        ),
        ({"scripts/job.py": "from pkg.room import mis"}, ["pkg.room has no module or name 'mis'"]),
        ({"scripts/job.py": "from pkg.missing import x"}, ["line 1", "no module pkg.missing"]),
        ({"scripts/job.py": "from pkg.plain.sub import x"}, ["no module pkg.plain.sub"]),
        (
            {"scripts/job.py": "import pkg.room.leaf", "pkg/room/leaf.py": "from . import gone"},
            ["leaf.py, line 1", "pkg.room has no module or name 'gone'"],
        ),
        (
            {"scripts/job.py": "import pkg.plain", "pkg/plain.py": 'DATA_FILES = ("no.csv",)'},
            ["plain.py", "DATA_FILES names 'no.csv'"],
        ),
        (
            {
                "scripts/job.py": "from pkg.room import X",
                "pkg/room/__init__.py": '_EXPORTS = {"X": "gone"}',
            },
            ["line 1", "no module pkg.room.gone"],
        ),
    ],
)
def test_an_import_that_leads_nowhere_is_one_line_with_file_and_line(made, files, fragments):
    script, root = made({**TREE, **files})
    with pytest.raises(InputError) as caught:
        library_files(script, root)
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_an_edit_is_seen_in_the_same_process(made):
    script, root = made({**TREE, "scripts/job.py": "import pkg.plain"})
    assert len(library_files(script, root)) == 2
    script.write_text("import os")
    assert library_files(script, root) == []
    script.write_text("import pkg.plain")
    os.utime(script)
    assert len(library_files(script, root)) == 2


def test_python_itself_loads_no_file_that_was_not_found(made, tmp_path):
    """Run a script and compare: what Python loaded must be among what parsing found."""
    files = {
        **TREE,
        "pkg/room/__init__.py": """
            _EXPORTS = {"thing": "leaf"}
            def __getattr__(name):
                from importlib import import_module
                return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
            """,
        "pkg/plain.py": "x = 1",
        "scripts/helper.py": "from pkg.room.deep import down",
        "scripts/job.py": """
            import sys
            import helper
            from pkg.room import thing
            from pkg.room.other import x
            for module in list(sys.modules.values()):
                print(getattr(module, "__file__", None))
            """,
    }
    script, root = made(files)
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{script.parent}"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))}
    assert len(loaded) == 9
    assert loaded - {str(script)} == {str(path) for path in library_files(script, root)}


def test_the_real_library_agrees_with_python():
    module = LIBRARY / "config" / "validation.py"
    code = (
        "import sys, starstack.config.validation\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('starstack')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(path) for path in done.stdout.split()} - {module}
    found = set(library_files(module, LIBRARY))
    assert loaded <= found
    assert LIBRARY / "config" / "cross_checks.py" in loaded
    assert LIBRARY / "stacking" / "meta_learners.py" not in found


def test_each_module_of_the_library_is_parsed_once(tmp_path, monkeypatch):
    library = tmp_path / "starstack"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    modules, parsed, parse = sorted(library.rglob("*.py")), Counter(), ast.parse

    def note(source, filename):
        parsed[filename] += 1
        return parse(source, filename)

    monkeypatch.setattr(ast, "parse", note)
    for module in modules * 2:
        library_files(module, library)
    assert parsed == {str(module): 1 for module in modules}


def test_files_behind_a_name_of_the_config():
    short = name_files("starstack.stacking.StackingRegressor", LIBRARY)
    leaf = name_files("starstack.stacking.estimators.StackingRegressor", LIBRARY)
    assert short == leaf
    assert {LIBRARY / "stacking" / "estimators.py", LIBRARY / "stacking" / "__init__.py"} < {*leaf}
    assert LIBRARY / "tables" / "results.py" not in leaf


@pytest.mark.parametrize(
    "dotted", ["sklearn.linear_model.Ridge", "starstack.nowhere.Thing", "starstack.stacking.Thing"]
)
def test_a_name_that_is_not_of_the_library_has_no_files(dotted):
    assert name_files(dotted, LIBRARY) == []
