"""What runs again: nothing after a touch or a copy, exactly its users after an edit."""

import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

NOTHING = "Nothing to be done"
# What comes of all fits of a study.
STACKS = (
    "results/small-classes/meta_learners/logistic.h5",
    "results/small-classes/meta_learners/in-sample.h5",
)


def rules_to_run(project) -> set[str]:
    """Names of the rules that a run would execute because their own inputs changed."""
    text = project.run("--dry-run").stdout
    if NOTHING in text:
        return set()
    changed = re.search(r"updated input files:\n((?: {8}.*\n)+)", text)
    return set(re.split(r"[,\s]+", changed.group(1).strip())) if changed else set()


def test_new_time_stamps_and_another_allowed_package_rerun_nothing(finished, small_config):
    """Of a copy all files are as new as its making; those of the workflow are touched once more."""
    for path in (finished.folder / "workflow").rglob("*.*"):
        os.utime(path)
    small_config["allowed_packages"] = ["sklearn", "starstack", "elsewhere"]
    finished.configure(small_config)
    assert NOTHING in finished.run().stdout


def edit(project, *files: str) -> None:
    for file in files:
        path = project.folder / "workflow" / file
        path.write_text(path.read_text() + "\n# edited\n")


# One edit at a time where what it reruns makes inputs of other rules.
@pytest.mark.parametrize(
    ("edited", "rule"),
    [
        ("stacking/simplex.py", "fit_meta"),
        ("splits/time_ordered.py", "split"),
        ("data/scikit_learn.py", "load_data"),
        ("stacking/evaluation.py", "evaluate"),
    ],
)
def test_edit_of_the_library_reruns_exactly_what_uses_it(finished, edited, rule):
    edit(finished, f"starstack/{edited}")
    assert rules_to_run(finished) == {rule}


def test_edits_behind_the_last_rules_rerun_each_its_own(finished):
    edit(finished, "starstack/figures/weights.py", "starstack/tables/quoted.py")
    edit(finished, "scripts/tabulate.py")
    # The estimators serve people who import the library; no rule uses them.
    edit(finished, "starstack/stacking/estimators.py")
    assert rules_to_run(finished) == {"plot_weights", "quote_numbers", "tabulate"}


def test_edit_of_the_style_redraws_and_refits_nothing(finished):
    edit(finished, "starstack/figures/starstack.mplstyle")
    rules = rules_to_run(finished)
    assert rules
    assert all(rule.startswith("plot_") for rule in rules)


def test_new_model_fits_only_itself(finished, small_config):
    models = small_config["studies"]["small-classes"]["base_models"]
    models["stump"] = {
        "class": "sklearn.tree.DecisionTreeClassifier",
        "params": {"max_depth": 1},
        "job": "per_model",
    }
    finished.configure(small_config)
    text = finished.run("--dry-run").stdout
    assert re.search(r"^fit_base +1$", text, re.MULTILINE), text
    assert not re.search(r"^(load_data|split) ", text, re.MULTILINE), text


def test_class_of_the_library_named_in_the_config_counts_as_input(make_project, small_config):
    study = small_config["studies"]["small-values"]
    study["base_models"]["blend"] = {
        "class": "starstack.stacking.blends.BlendRegressor",
        "job": "per_model",
    }
    study["data"] = {
        "source": "scikit-learn",
        "loader": "make_regression",
        "params": {"n_samples": 40, "n_features": 3, "random_state": 0},
    }
    del small_config["studies"]["small-classes"]
    project = make_project(small_config)
    target = "results/small-values/base_models/blend/all.h5"
    project.run(target)
    edit(project, "starstack/stacking/simplex.py")
    text = project.run("--dry-run", target).stdout
    assert "fit_base" in text


@pytest.fixture(scope="module")
def cached(tmp_path_factory, project_class):
    """A project whose fits are also in a cache, and the variable that names the cache."""
    folder = tmp_path_factory.mktemp("cached")
    (folder / "cache").mkdir()
    variable = {"SNAKEMAKE_OUTPUT_CACHE": str(folder / "cache")}
    project = project_class(folder / "first")
    project.run("--cache", "--", *STACKS, **variable)
    return project, variable


def test_second_working_folder_takes_fits_from_the_cache(cached, make_project):
    """With SNAKEMAKE_OUTPUT_CACHE a second project refits nothing, and says what it cost once."""
    first, cache = cached
    second = make_project(name="second")
    second.run("--cache", "--", *STACKS, **cache)

    def logs(project):
        return [p.read_text() for p in (project.folder / "results").glob("*/logs/fit_*")]

    # A job writes its log from the start; where outputs come from the cache, the log stays empty.
    assert len(logs(first)) == len(logs(second)) == 7
    assert all(logs(first))
    assert not any(logs(second))
    assert first.files() == second.files()

    def records(project):
        folder = project.folder / "results"
        return {p.name: p.read_bytes() for p in sorted(folder.glob("*/runtime/fit_*"))}

    # A refit would have measured other times.
    assert records(first) == records(second)


def test_cache_knows_another_seed_and_another_parameter(cached, make_project, small_config):
    first, cache = cached
    target = "results/small-classes/base_models/tree/1.h5"
    tree = small_config["studies"]["small-classes"]["base_models"]["tree"]
    tree["params"]["max_depth"] = 1
    second = make_project(small_config, "second")
    second.run("--cache", "--", target, **cache)
    assert (second.folder / "results/small-classes/logs/fit_base.tree.1.log").read_text()
    assert (first.folder / target).read_bytes() != (second.folder / target).read_bytes()


def test_killed_runs_end_in_the_bytes_of_an_undisturbed_one(small_files, finished, tmp_path):
    """SIGKILL ten times at random moments, of Snakemake alone or with its jobs; then run again.

    All results but times and logs are compared, with those of a run in another folder. Figures and
    tables are left out: their scripts write as the others do, ``with job(snakemake)``.
    """
    project, output = finished, tmp_path / "output.txt"
    target = "results/small-classes/evaluation/scores.csv"
    study = project.folder / "results/small-classes"
    shutil.rmtree(study)
    rng = np.random.default_rng(20)
    killed = 0
    while killed < 10:
        with output.open("w") as stream:
            process = subprocess.Popen(
                project.command(target),
                cwd=project.folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Two of the ten may hit the start, which takes longer than many a job; the others, jobs.
        while killed % 5 and process.poll() is None and "\nJob " not in output.read_text():
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 2.5))
        if process.poll() is not None:
            # It was through: take its results away again, so that there is work to kill.
            assert process.returncode == 0
            shutil.rmtree(study)
            continue
        if killed % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        killed += 1
    project.run(target)
    later = ("small-classes/figures/", "small-classes/tables/")
    expected = {name: held for name, held in small_files.items() if not name.startswith(later)}
    found = project.files()
    assert sum(name.startswith("small-classes/") for name in expected) > 25
    assert found.keys() == expected.keys()
    assert [name for name in expected if expected[name] != found[name]] == []


def test_job_that_outlives_its_run_writes_nothing(make_project, small_config):
    """Snakemake is killed and its job lives on: it must not overwrite what a later run makes."""
    del small_config["studies"]["small-values"]
    bases = small_config["studies"]["small-classes"]["base_models"]
    forest = bases["forest"] = {
        "class": "sklearn.ensemble.RandomForestClassifier",
        "params": {"n_estimators": 400},
        "job": "per_model",
    }
    project = make_project(small_config)
    target = "results/small-classes/base_models/forest/all.skops"
    process = subprocess.Popen(
        project.command(target),
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = project.folder / "results/small-classes/logs/fit_base.forest.all.log"
    while not (log.exists() and "fold 1" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120
    while "ERROR" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    assert "the run that started this job has ended" in log.read_text()
    # The job reports its error before it takes away what it had written.
    models = project.folder / "results/small-classes/base_models"
    while left := list(models.rglob("*.*")):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    forest["params"]["n_estimators"] = 5
    project.configure(small_config)
    project.run(target)
    assert (project.folder / target).exists()


def test_two_runs_in_one_folder_are_kept_apart(make_project):
    project = make_project()
    target = "results/small-classes/split.csv"
    first = subprocess.Popen(project.command(target), cwd=project.folder, stdout=subprocess.DEVNULL)
    lock = project.folder / ".snakemake/running"
    while not lock.exists() and first.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    second = project.run(check=False)
    assert second.returncode != 0
    assert "another run is working in" in second.stdout
    assert first.wait() == 0
    assert (project.folder / target).exists()
