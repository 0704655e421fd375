"""A good configuration, and what the check says about changed ones."""

import copy
from pathlib import Path

import pytest
import yaml

from starstack.config.validation import validate_config
from starstack.errors import InputError

SCHEMA_PATH = Path(__file__).parents[3] / "workflow/schemas/config.schema.yaml"

GOOD = yaml.safe_load(
    """
    studies:
      stars:
        task: classification
        data: {source: table, path: stars.csv, target: kind}
        base_models:
          knn:
            class: sklearn.neighbors.KNeighborsClassifier
            preprocess: [standardize]
          forest: {class: sklearn.ensemble.RandomForestClassifier}
        meta_learners:
          logistic: {class: logistic}
      wine:
        task: regression
        data: {source: scikit-learn, loader: load_diabetes}
        base_models:
          ridge: {class: sklearn.linear_model.Ridge}
        meta_learners:
          convex: {class: convex}
    """
)


@pytest.fixture
def good():
    return copy.deepcopy(GOOD)


@pytest.fixture
def changed(good):
    """Change some keys of the good configuration: {path with slashes: value}, "-" to delete."""

    def change(changes):
        for path, value in changes.items():
            *parents, last = path.split("/")
            part = good
            for name in parents:
                part = part[name]
            if value == "-":
                del part[last]
            else:
                part[last] = value
        return good

    return change


@pytest.fixture
def validate(tmp_path, monkeypatch):
    """Check a configuration in a folder that has its data."""
    (tmp_path / "stars.csv").write_text("teff,kind\n5000,a\n")
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    return lambda config: validate_config(config, SCHEMA_PATH)


@pytest.fixture
def refusal(validate, changed):
    """Return the one line in which a changed configuration is refused."""

    def ask(changes):
        with pytest.raises(InputError) as caught:
            validate(changed(changes))
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith("config: ")
        assert len(message) < 450
        return message

    return ask
