"""Bad input, as a user meets it: one clear line, a non-zero exit, and no result left behind.

What the config alone shows is refused while the workflow is read; what only the data show, in the
job that reads them, before it writes. Each case says what was changed and what the line must hold.
The lines are those of the functions that the jobs call; what jobs make of them is seen in a run
with cases of every rule that refuses.
"""

import copy
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from sklearn.base import clone

from starstack.config.check import check_models
from starstack.config.validation import validate_config
from starstack.data.sources import load_dataset
from starstack.errors import InputError
from starstack.models.specs import build_estimator, check_columns
from starstack.splits.splitters import make_split, read_split
from starstack.stacking.fold_predictions import fit_folds

CLASSES = [f"{'ab'[i % 2]}" for i in range(24)]


def table(n=24, **columns) -> str:
    """A table of n rows with the columns id, x1, x2 and y, some of them replaced or added."""
    base = {
        "id": [f"star-{i}" for i in range(n)],
        "x1": [0.1 * i for i in range(n)],
        "x2": [(7 * i) % 11 for i in range(n)],
        "y": CLASSES[:n],
    }
    base |= columns
    rows = zip(*base.values(), strict=True)
    return "\n".join([",".join(base), *(",".join(map(str, row)) for row in rows)]) + "\n"


def replaced(values: list, position: int, value: object) -> list:
    changed = list(values)
    changed[position] = value
    return changed


STUDY = {
    "task": "classification",
    "data": {"source": "table", "path": "stars.csv", "target": "y", "row_id": "id"},
    "split": {"n_folds": 3},
    "base_models": {
        "tree": {"class": "sklearn.tree.DecisionTreeClassifier", "job": "per_model"},
        "bayes": {"class": "sklearn.naive_bayes.GaussianNB", "job": "per_model"},
    },
    "meta_learners": {"logistic": {"class": "logistic"}},
}
X1 = [0.1 * i for i in range(24)]
GROUPS = [f"g{i // 2}" for i in range(24)]
SPLIT = "row_id,set,fold_1\n" + "".join(
    f"star-{i},{'test,' if i >= 18 else f'train,{i % 3 + 1}'}\n" for i in range(24)
)


def study(**changes):
    """The study with parts replaced; a dotted key reaches into it (``.`` is written ``__``)."""
    changed = copy.deepcopy(STUDY)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = changed
        for key in parents:
            place = place[key]
        place[last] = value
    return changed


def forest(**params):
    return {"class": "sklearn.ensemble.RandomForestClassifier", "params": params}


# What the config shows: (name, study, text that the line holds).
IN_CONFIG = [
    ("unknown key", study(base_model={}), ["unknown key 'base_model'", "base_models"]),
    ("unknown key of a model", study(base_models__tree__parms={}), ["'parms'", "params"]),
    ("wrong type", study(split__n_folds="five"), ["n_folds", "whole number", "'five'"]),
    ("too few folds", study(split__n_folds=1), ["n_folds", "1"]),
    ("all rows tested", study(split__test_size=1.5), ["test_size", "1.5"]),
    ("no base models", study(base_models={}), ["base_models"]),
    ("no task", {k: v for k, v in STUDY.items() if k != "task"}, ["task"]),
    ("unknown task", study(task="ranking"), ["task", "'ranking'", "classification"]),
    ("unknown source", study(data__source="excel"), ["source", "'excel'", "table"]),
    ("missing file", study(data__path="strs.csv"), ["strs.csv", "no such file"]),
    ("metric of the other task", study(metrics=["rmse"]), ["rmse", "classification"]),
    ("package not allowed", study(base_models__tree__class="os.path.join"), ["os.path.join"]),
    (
        "package not allowed, nested",
        study(base_models__tree__params={"estimator": {"class": "subprocess.Popen"}}),
        ["subprocess.Popen", "allowed"],
    ),
    ("bad model name", study(base_models={"a__b": STUDY["base_models"]["tree"]}), ["a__b"]),
    ("one name twice", study(meta_learners={"tree": {"class": "logistic"}}), ["tree"]),
    ("unknown meta-learner", study(meta_learners__logistic__class="logistik"), ["logistik"]),
    ("time-ordered without time", study(split__method="time-ordered"), ["time"]),
    ("grouped without groups", study(split__method="grouped"), ["group"]),
    ("unknown preprocessing", study(base_models__tree__preprocess=["scale"]), ["'scale'"]),
]

# What building the models shows, before any job starts.
IN_MODELS = [
    (
        "unknown class",
        study(base_models__tree__class="sklearn.tree.DecisionTreeClasifier"),
        ["DecisionTreeClasifier", "DecisionTreeClassifier"],
    ),
    (
        "unknown module",
        study(base_models__tree__class="sklearn.trees.Tree"),
        ["no module 'trees'", "'tree'"],
    ),
    ("unknown parameter", study(base_models__tree=forest(n_trees=9)), ["n_trees", "n_estimators"]),
    ("refused value", study(base_models__tree=forest(n_estimators=0)), ["n_estimators", "0"]),
    ("not an estimator", study(base_models__tree__class="sklearn.pipeline.Bunch"), ["Bunch"]),
]

# What the data show: (name, study, table, text that the line holds).
IN_DATA = [
    ("NaN in X", STUDY, table(x1=replaced(X1, 3, "nan")), ["x1", "star-3"]),
    ("infinity in X", STUDY, table(x1=replaced(X1, 4, "inf")), ["x1", "star-4"]),
    ("empty cell in y", STUDY, table(y=replaced(CLASSES, 5, "")), ["y", "star-5"]),
    (
        "infinity in a target",
        study(
            task="regression",
            meta_learners={"ridge": {"class": "ridge"}},
            base_models={"linear": {"class": "sklearn.linear_model.Ridge"}},
        ),
        table(y=replaced(X1, 6, "inf")),
        ["y", "star-6"],
    ),
    ("labels and rows of different length", STUDY, table() + "star-24,1.0\n", ["26", "2"]),
    ("one class only", STUDY, table(y=["a"] * 24), ["'a' in every row", "two classes"]),
    ("fewer members than folds", STUDY, table(y=["b"] * 2 + ["a"] * 22), ["'b'", "2"]),
    (
        "duplicate row ids",
        STUDY,
        table(id=replaced([f"star-{i}" for i in range(24)], 7, "star-1")),
        ["star-1"],
    ),
    ("no rows", STUDY, "id,x1,x2,y\n", ["row"]),
    ("empty file", STUDY, "", ["stars.csv"]),
    ("no features", STUDY, "id,y\nstar-1,a\nstar-2,b\n", ["feature"]),
    ("non-numeric column", STUDY, table(x1=replaced(X1, 8, "red")), ["x1", "'red'", "star-8"]),
    ("missing target column", study(data__target="yy"), table(), ["'yy'", "y"]),
]

# What the data show once a model is fitted to them.
IN_FITS = [
    (
        "constant column under a model that cannot take it",
        study(
            base_models__bayes__class=(
                "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"
            )
        ),
        table(x1=[1.0] * 24),
        ["x1", "constant", "QuadraticDiscriminantAnalysis", "drop_constant"],
    ),
    (
        "column that a model names and the data lack",
        study(base_models__bayes__columns=["x3"]),
        table(),
        ["x3", "x2"],
    ),
    (
        "more neighbours than rows",
        study(
            base_models__bayes={
                "class": "sklearn.neighbors.KNeighborsClassifier",
                "params": {"n_neighbors": 50},
                "job": "per_model",
            }
        ),
        table(),
        ["bayes", "n_neighbors"],
    ),
]

# What the user's own split file shows.
IN_SPLIT = [
    (
        "a group in both test and train",
        study(split__file="split.csv", data__group="group"),
        table(group=[f"g{i % 3}" for i in range(24)]),
        SPLIT,
        ["group", "test"],
    ),
    (
        "a row twice",
        study(split__file="split.csv"),
        table(),
        SPLIT + "star-3,train,1\n",
        ["star-3"],
    ),
    (
        "a row of other data",
        study(split__file="split.csv"),
        table(),
        SPLIT.replace("star-2,", "moon-2,"),
        ["star-2", "missing"],
    ),
]
OTHER_FOLDS = (
    "other folds than the config says",
    study(split__file="split.csv", split__n_folds=4),
    table(),
    SPLIT,
    ["4", "3", "n_folds"],
)

# Steps before the one that refuses may write; that one, and all after it, may not.
BEFORE = {
    "data.h5",
    "split.csv",
    "runtime/load_data.json",
    "runtime/split.json",
    "base_models/tree/all.h5",
    "base_models/tree/all.skops",
    "runtime/fit_base.tree.all.json",
}


@pytest.fixture
def check(tmp_path, monkeypatch, repository):
    """Check a configuration of one study as the workflow does while it is read."""
    (tmp_path / "stars.csv").write_text(table())
    monkeypatch.chdir(tmp_path)
    schema = repository / "workflow/schemas/config.schema.yaml"
    return lambda entry: check_models(validate_config({"studies": {"stars": entry}}, schema))


@pytest.mark.parametrize(
    ("entry", "texts"),
    [case[1:] for case in IN_CONFIG + IN_MODELS],
    ids=[case[0] for case in IN_CONFIG + IN_MODELS],
)
def test_what_the_config_shows_is_one_clear_line(check, entry, texts):
    with pytest.raises(InputError) as caught:
        check(entry)
    message = str(caught.value)
    assert "\n" not in message
    assert all(text in message for text in texts), message


def test_a_good_study_passes(check):
    check(STUDY)


SHOWN = [*((*case[:3], SPLIT, case[3]) for case in IN_DATA + IN_FITS), *IN_SPLIT]


def load_divide_and_fit(stars):
    """Call what the jobs call, up to the fits of the base models."""
    dataset = load_dataset("stars", stars["task"], stars["data"], divided=True)
    names = ("row_id", "y", "task", "group", "time", "classes")
    rows = {name: getattr(dataset, name) for name in names}
    options = dict(stars["split"])
    file = options.pop("file")
    split = read_split(file, **rows) if file else make_split(**rows, **options, seed=0)
    for name, entry in stars["base_models"].items():
        given = {key: entry[key] for key in ("class", "params", "columns") if key in entry}
        check_columns(given, dataset.feature_names, where=name)
        model = build_estimator(given, seed=0, allowed_packages=["sklearn"], where=name)
        fit_folds(dataset, split, ["1", "refit"], lambda _, model=model: clone(model), where=name)


@pytest.mark.parametrize(
    ("entry", "content", "split", "texts"),
    [case[1:] for case in SHOWN],
    ids=[case[0] for case in SHOWN],
)
def test_what_the_data_show_is_one_clear_line(
    tmp_path, monkeypatch, repository, entry, content, split, texts
):
    monkeypatch.chdir(tmp_path)
    Path("stars.csv").write_text(content)
    Path("split.csv").write_text(split)
    schema = repository / "workflow/schemas/config.schema.yaml"
    stars = validate_config({"studies": {"stars": entry}}, schema)["studies"]["stars"]
    with pytest.raises(InputError) as caught:
        load_divide_and_fit(stars)
    message = str(caught.value)
    assert "\n" not in message
    assert all(text in message for text in texts), message


# One that Snakemake finds while it reads the config, and one that it finds before the first job.
@pytest.mark.parametrize(("name", "entry", "texts"), [IN_CONFIG[0], IN_MODELS[0]])
def test_no_job_starts_on_a_bad_config(make_project, name, entry, texts):
    project = make_project({"studies": {"stars": entry}})
    (project.folder / "stars.csv").write_text(table())
    result = project.run(check=False)
    assert result.returncode != 0, result.stdout
    assert any(all(text in line for text in texts) for line in result.stdout.splitlines())
    assert "Traceback" not in result.stdout
    assert not (project.folder / "results").exists()


def test_a_key_that_stands_twice_in_a_file_of_the_command_line(make_project):
    project = make_project({"studies": {"stars": STUDY}})
    (project.folder / "stars.csv").write_text(table())
    (project.folder / "mine.yaml").write_text("seed: 1\nonly: []\nseed: 2\n")
    result = project.run("--dry-run", "--configfile", "mine.yaml", check=False)
    assert result.returncode != 0, result.stdout
    assert "mine.yaml: expected each key once; 'seed' stands in line 1 and in" in result.stdout
    assert "Traceback" not in result.stdout


class Refused(NamedTuple):
    """A run of one study per case, each of which has bad data; the refusals of every rule."""

    folder: Path
    result: subprocess.CompletedProcess


# Two of loading, one of dividing, one of fitting; a split file of other folds is found by the job.
OF_EVERY_RULE = ("NaN in X", "empty file", "fewer members than folds", "more neighbours than rows")
IN_JOBS = [*(case for case in SHOWN if case[0] in OF_EVERY_RULE), OTHER_FOLDS]


def study_name(case: str) -> str:
    return re.sub("[^a-z]+", "-", case.lower())


@pytest.fixture(scope="module")
def refused(tmp_path_factory, project_class):
    studies = {study_name(name): copy.deepcopy(entry) for name, entry, *_ in IN_JOBS}
    project = project_class(tmp_path_factory.mktemp("bad") / "project")
    for name, _, content, split, _ in IN_JOBS:
        folder = project.folder / study_name(name)
        folder.mkdir()
        (folder / "stars.csv").write_text(content)
        (folder / "split.csv").write_text(split)
        entry = studies[folder.name]
        entry["data"]["path"] = f"{folder.name}/stars.csv"
        if "file" in entry["split"]:
            entry["split"]["file"] = f"{folder.name}/split.csv"
    project.configure({"studies": studies})
    return Refused(project.folder, project.run("--keep-going", check=False))


@pytest.mark.parametrize(
    ("name", "texts"), [(case[0], case[-1]) for case in IN_JOBS], ids=[case[0] for case in IN_JOBS]
)
def test_what_a_job_refuses_is_one_line_and_nothing_is_left(refused, name, texts):
    results = refused.folder / "results" / study_name(name)
    logs = [path.read_text() for path in (results / "logs").glob("*.log")]
    errors = [line for log in logs for line in log.splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert all(text in errors[0] for text in texts), errors
    assert errors[0] in refused.result.stdout
    written = {str(path.relative_to(results)) for path in results.rglob("*.*") if path.is_file()}
    assert {name for name in written if not name.startswith("logs/")} <= BEFORE


def test_a_run_with_bad_data_fails_without_a_traceback(refused):
    assert refused.result.returncode != 0
    assert "Traceback" not in refused.result.stdout
