import subprocess
import sys

import pytest
from sklearn.linear_model import Ridge

from starstack.errors import InputError
from starstack.models.classes import check_allowed, resolve_class

ALLOWED = ["sklearn"]


def test_a_class_is_found_by_its_dotted_path():
    assert resolve_class("sklearn.linear_model.Ridge", ALLOWED, "here") is Ridge


@pytest.mark.parametrize(
    ("dotted", "fragments"),
    [
        ("Ridge", ["expected the dotted path of a class", "'Ridge'"]),
        ("sklearn.linear model.Ridge", ["expected the dotted path of a class"]),
        (3, ["expected the dotted path of a class", "got 3"]),
        ("os.system", ["os.system", "not in an allowed package (sklearn)", "allowed_packages"]),
        ("sklearnex.svm.SVC", ["not in an allowed package"]),
        ("sklearn.ensembel.BaggingClassifier", ["no module 'ensembel'", "did you mean 'ensemble'"]),
        ("sklearn.ensemble.RandomForestClasifier", ["did you mean 'RandomForestClassifier'"]),
        ("sklearn.ensemble.LinearSVC", ["did you mean 'sklearn.svm.LinearSVC'"]),
        (
            "sklearn.svm.HistGradientBoostingClassifier",
            ["did you mean 'sklearn.ensemble.HistGradientBoostingClassifier'"],
        ),
        ("sklearn.pipeline.make_pipeline", ["expected a class", "is a function"]),
        ("sklearn.pipeline.Bunch.mro", ["no module 'Bunch'"]),
        # numpy's class, reached through a module that only imports it.
        ("sklearn.linear_model._base.ABCMeta", ["is defined in abc", "not in an allowed package"]),
    ],
)
def test_a_class_that_cannot_be_used_is_one_line(dotted, fragments):
    with pytest.raises(InputError) as caught:
        resolve_class(dotted, ALLOWED, "config: studies.a.base_models.b")
    message = str(caught.value)
    assert message.startswith("config: studies.a.base_models.b: ")
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(InputError, match=r"package 'not_there' is not installed"):
        resolve_class("not_there.models.Model", ["not_there"], "here")


def test_a_module_that_fails_to_import_another_package_says_which(tmp_path, monkeypatch):
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("")
    (tmp_path / "broken_package" / "models.py").write_text("import not_there_either\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="cannot be imported: No module named 'not_there_either'"):
        resolve_class("broken_package.models.Model", ["broken_package"], "here")


def test_allowing_is_by_whole_names():
    check_allowed("sklearn.svm.SVC", ["sklearn.svm"], "here")
    for packages in (["sklearn.sv"], ["skl"], ["sklearn.svm.SVC"]):
        with pytest.raises(InputError):
            check_allowed("sklearn.svm.SVC", packages, "here")


def test_looking_up_what_is_allowed_imports_nothing():
    code = (
        "import sys\n"
        "from starstack.models.classes import check_allowed\n"
        "import starstack.models.specs\n"
        "check_allowed('sklearn.svm.SVC', ['sklearn'], 'here')\n"
        "print(sorted({'sklearn', 'numpy', 'scipy', 'pandas', 'skops'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
