"""A small copy of the workflow to run: two studies, a few models, seconds per run."""

import copy
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "workflow", "envs", "profiles", "pyproject.toml")

SMALL_CONFIG = {
    "seed": 3,
    "studies": {
        "small-classes": {
            "title": "Small classes",
            "task": "classification",
            "data": {"source": "scikit-learn", "loader": "load_wine"},
            "split": {"n_folds": 3},
            "base_models": {
                "tree": {
                    "class": "sklearn.tree.DecisionTreeClassifier",
                    "params": {"max_depth": 3, "random_state": 0},
                },
                "bayes": {"class": "sklearn.naive_bayes.GaussianNB", "job": "per_model"},
            },
            "meta_learners": {
                "logistic": {"class": "logistic"},
                "in-sample": {"class": "logistic", "trained_on": "in-sample"},
            },
        },
        "small-values": {
            "title": "Small values",
            "task": "regression",
            "data": {"source": "scikit-learn", "loader": "load_linnerud"},
            "split": {"n_folds": 2},
            "base_models": {
                "ridge": {"class": "sklearn.linear_model.Ridge", "job": "per_model"},
                "neighbours": {
                    "class": "sklearn.neighbors.KNeighborsRegressor",
                    "params": {"n_neighbors": 3},
                    "preprocess": ["standardize"],
                    "job": "per_model",
                },
            },
            "meta_learners": {"convex": {"class": "convex"}},
        },
    },
}


class Project:
    """A copy of the workflow in a folder of its own."""

    def __init__(self, folder: Path, config: dict | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = REPOSITORY / part
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / part, ignore=ignore)
            else:
                shutil.copy(source, folder / part)
        self.configure(config or SMALL_CONFIG)

    def configure(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def command(self, *options: str) -> list[str]:
        return [str(Path(sys.executable).with_name("snakemake")), "--cores", "2", *options]

    def run(self, *options: str, check: bool = True, **environment: str):
        """Run Snakemake here; the answer has all it printed in ``stdout``."""
        result = subprocess.run(
            self.command(*options),
            cwd=self.folder,
            env=os.environ | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and result.returncode:
            pytest.fail(f"snakemake {' '.join(options)} failed:\n{result.stdout}")
        return result

    def files(self) -> dict[str, bytes]:
        """The results that must not differ between runs."""
        return repeatable_files(self.folder)


def repeatable_files(folder: Path) -> dict[str, bytes]:
    """Every result that must not differ between runs: all but time, memory and logs."""
    root = folder / "results"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not {"logs", "runtime"} & set(path.relative_to(root).parts)
        and not path.name.startswith("runtime")
    }


@pytest.fixture(scope="session")
def small_files(small_run) -> dict[str, bytes]:
    """What an undisturbed run of the small configuration leaves."""
    return repeatable_files(small_run)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The folder of a finished run of the small configuration; tests must not change it.

    Processes that share the tests also share this run: the first one that asks for it makes it.
    """
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder = session / "small-run"
    with open(session / "small-run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            project = Project(session / "small-run-unfinished")
            project.run()
            project.folder.rename(folder)
    return folder


@pytest.fixture
def finished(small_run, tmp_path) -> Project:
    """A copy of the finished run that a test may change, with new time stamps."""
    folder = tmp_path / "copy"
    shutil.copytree(small_run, folder, copy_function=shutil.copyfile)
    project = Project.__new__(Project)
    project.folder = folder
    return project


@pytest.fixture(scope="session")
def project_class() -> type[Project]:
    """The class itself, for fixtures that outlive a test."""
    return Project


@pytest.fixture
def make_project(tmp_path):
    """Make a project of a configuration (the small one by default) in a new folder."""

    def make(config: dict | None = None, name: str = "project") -> Project:
        return Project(tmp_path / name, config)

    return make


@pytest.fixture
def small_config() -> dict:
    """A copy of the small configuration, to be changed."""
    return copy.deepcopy(SMALL_CONFIG)
