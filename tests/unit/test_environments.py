"""pyproject.toml, requirements.lock, envs/, the profiles and the version numbers tell one story."""

import ast
import itertools
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import starstack
from starstack.source_files import library_files

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))

PYTHONS = ("3.11.9", "3.12.9", "3.13.9")
PLATFORMS = ("linux", "darwin")

# Where conda-forge or an import statement calls a package of the lock by another name.
CONDA_TO_PYPI = {"matplotlib-base": "matplotlib"}
IMPORT_TO_PYPI = {"sklearn": "scikit-learn", "yaml": "pyyaml"}


def locked_requirements() -> list[tuple[Requirement, list[str]]]:
    """Every requirement of the lock with its hashes."""
    lines = [line for line in LOCK.splitlines() if line and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    found = []
    for line in joined:
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement.strip()), [value.strip() for value in hashes]))
    return found


def pins(python: str, platform: str) -> dict[str, str]:
    """The versions that the lock holds for one Python on one platform, by package name."""
    environment = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": platform,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
    }
    found: dict[str, str] = {}
    for requirement, _ in locked_requirements():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found, f"{requirement.name} is pinned twice"
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{requirement} is not pinned"
            found[requirement.name] = specifier.version
    return found


def conda_packages(path: Path) -> dict[str, str]:
    """The exact versions of a conda environment, by conda's names."""
    packages = {}
    for line in yaml.safe_load(path.read_text())["dependencies"]:
        name, equals, version = line.partition("=")
        assert equals, f"{path.name}: {line} has no version"
        assert re.fullmatch(r"\d+(\.\d+)+", version), f"{path.name}: {line} is not exact"
        packages[name] = version
    return packages


def test_lock_names_no_host():
    for line in LOCK.splitlines():
        assert "://" not in line, line
        assert re.match(r"#|    #|    --hash=sha256:[0-9a-f]{64}|[a-z0-9.-]+==", line), line


def test_every_locked_package_is_hashed():
    for requirement, hashes in locked_requirements():
        assert hashes, f"{requirement} has no hash"
        assert len(set(hashes)) == len(hashes)


def test_uv_block_that_the_makefile_cuts_out():
    # The bootstrap of uv relies on the order: requirement, hashes, then a comment.
    (block,) = re.findall(r"^uv==[^ ]+ \\\n((?:    --hash=\S+(?: \\)?\n)+)    # via", LOCK, re.M)
    assert block.count("--hash=") > 10


@pytest.mark.parametrize(("python", "platform"), list(itertools.product(PYTHONS, PLATFORMS)))
def test_lock_holds_every_dependency_of_pyproject(python, platform):
    pinned = pins(python, platform)
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, declared):
        assert requirement.name in pinned, f"run `make lock`: {requirement.name} is missing"
        version = pinned[requirement.name]
        assert version in requirement.specifier, f"run `make lock`: {requirement} has {version}"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_conda_environment_agrees_with_lock(path, platform):
    packages = conda_packages(path)
    python = packages.pop("python")
    assert python in SpecifierSet(PROJECT["requires-python"])
    pinned = pins(python, platform)
    for name, version in packages.items():
        assert version == pinned[CONDA_TO_PYPI.get(name, name)], f"{path.name}: {name}"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environment_uses_conda_forge_alone(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge", "nodefaults"]


def scripts_and_environments() -> list[tuple[Path, Path]]:
    """Every (script, conda environment) that stand together in a rule."""
    found = []
    for rules in RULES:
        for rule in re.split(r"^(?=rule |checkpoint )", rules.read_text(), flags=re.M)[1:]:
            script = re.search(r'^ +script:\s+"([^"]+)"', rule, re.M)
            if script:
                conda = re.search(r'^ +conda:\s+"([^"]+)"', rule, re.M)
                assert conda, f"{rules.name}: a rule with {script[1]} names no environment"
                found.append(tuple((rules.parent / path[1]).resolve() for path in (script, conda)))
    return sorted(set(found))


def imported_packages(path: Path) -> set[str]:
    """The packages that a file imports, without the standard library and our own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"starstack"}


def test_conda_environments_hold_what_the_scripts_import():
    pairs = scripts_and_environments()
    assert {environment for _, environment in pairs} == set(ENVIRONMENTS)
    for script, environment in pairs:
        own = {path.stem for path in script.parent.glob("*.py")}
        held = {CONDA_TO_PYPI.get(name, name) for name in conda_packages(environment)}
        for path in [script, *library_files(script, ROOT / "workflow" / "starstack")]:
            if path.suffix == ".py":
                needed = {IMPORT_TO_PYPI.get(name, name) for name in imported_packages(path) - own}
                assert needed <= held, f"{environment.name} lacks {needed - held} for {path.name}"


def test_slurm_profile_keeps_what_makes_a_rerun_right():
    # A named profile replaces the default one, so what a rerun depends on has to stand in both.
    default, slurm = (
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    own = {"cores", "default-resources"}
    assert {key: slurm.get(key) for key in default.keys() - own} == {
        key: default[key] for key in default.keys() - own
    }


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == starstack.__version__
    headings = re.findall(r"^## \[?([^]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[:2] == ["Unreleased", PROJECT["version"]]


def test_citation_names_what_the_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert {"message", "title", "type"} <= citation.keys()
