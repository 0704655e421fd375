"""Bad input, as a user meets it: one clear line, a non-zero exit, and no result left behind.

What the config alone shows is refused while the workflow is read; what only the data show, in the
job that reads them, before it writes. Each case says what was changed and what the line must hold.
"""

import copy
import shutil

import pytest

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
    (
        "other folds than the config says",
        study(split__file="split.csv", split__n_folds=4),
        table(),
        SPLIT,
        ["4", "3", "n_folds"],
    ),
]

CASES = [
    *((name, entry, table(), None, texts) for name, entry, texts in IN_CONFIG + IN_MODELS),
    *((name, entry, content, None, texts) for name, entry, content, texts in IN_DATA),
    *IN_SPLIT,
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, project_class):
    """One project for all cases: they leave nothing behind, which each case asserts."""
    return project_class(tmp_path_factory.mktemp("bad") / "project")


@pytest.mark.parametrize(
    ("entry", "content", "split", "texts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_bad_input_is_one_clear_line(workshop, entry, content, split, texts):
    (workshop.folder / "stars.csv").write_text(content)
    (workshop.folder / "split.csv").write_text(split or SPLIT)
    workshop.configure({"studies": {"stars": entry}})
    result = workshop.run("--forceall", check=False)
    assert result.returncode != 0, result.stdout
    lines = result.stdout.splitlines()
    assert any(all(text in line for text in texts) for line in lines), result.stdout
    assert "Traceback" not in result.stdout
    results = workshop.folder / "results/stars"
    written = {str(p.relative_to(results)) for p in results.rglob("*.*") if p.is_file()}
    shutil.rmtree(results, ignore_errors=True)
    # Steps before the one that refused may have written; that one, and all after it, have not.
    before = {"data.h5", "split.csv", "runtime/load_data.json", "runtime/split.json"}
    before |= {f"base_models/tree/all.{kind}" for kind in ("h5", "skops")}
    before |= {"runtime/fit_base.tree.all.json"}
    assert {name for name in written if not name.startswith("logs/")} <= before
