"""docs/your-data.md shows what works: its entries are valid, its messages are the real ones."""

import re
from pathlib import Path

import pytest
import yaml

from starstack.config.check import check_models
from starstack.config.validation import validate_config
from starstack.errors import InputError
from starstack.stacking.meta_learners import META_LEARNERS

ROOT = Path(__file__).parents[3]
SCHEMA_PATH = ROOT / "workflow/schemas/config.schema.yaml"
TEXT = (ROOT / "docs/your-data.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The first example, in a folder that has its files."""
    (tmp_path / "data").mkdir()
    for name in ("stars.csv", "spectra.h5"):
        (tmp_path / "data" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return yaml.safe_load(yaml.safe_dump(BLOCKS[0]))


def checked(config):
    validated = validate_config(config, SCHEMA_PATH)
    check_models(validated)
    return validated["studies"]["stars"]


def test_the_smallest_study_works(config):
    assert checked(config)["split"]["method"] == "k-fold"


def test_the_other_entries_work_too(config):
    data, models, top, split = BLOCKS[1:]
    stars = config["studies"]["stars"]
    stars.update(data)
    stars["base_models"].update(models)
    assert checked(config)["data"]["y"] == ["teff", "logg", "fe_h"]
    stars["data"]["time"] = "mjd"
    stars.update(split)
    assert checked(config)["split"]["n_folds"] == 4
    assert checked({**config, **top})


def test_the_messages_are_the_real_ones(config):
    shown = re.findall(r"^config: .*$", TEXT, re.MULTILINE)
    assert len(shown) == 3
    forest = config["studies"]["stars"]["base_models"]["forest"]
    wrong = [
        {"base_models": {"forest": {"clas": forest["class"]}}},
        {"base_models": {"forest": {**forest, "params": {"n_trees": 3}}}},
        {"split": {"method": "time-ordered"}},
    ]
    for message, change in zip(shown, wrong, strict=True):
        study = {**config["studies"]["stars"], **change}
        with pytest.raises(InputError) as caught:
            checked({"studies": {"stars": study}})
        assert str(caught.value).startswith(message.removesuffix("…"))


def test_the_table_of_meta_learners_is_complete():
    rows = re.findall(
        r"^\| `(\w+)` \| .* \| (classification|regression|both) \|$", TEXT, re.MULTILINE
    )
    by_task = {
        task: {name for name, fits in rows if fits in (task, "both")} for task in META_LEARNERS
    }
    assert by_task == {task: set(names) for task, names in META_LEARNERS.items()}


def test_every_key_of_the_schema_that_a_study_takes_is_spoken_of():
    definitions = yaml.safe_load(SCHEMA_PATH.read_text())["$defs"]
    for part in ("table_source", "hdf5_source", "split", "base_model", "meta_learner"):
        for key in definitions[part]["properties"]:
            assert re.search(rf"`{key}`|\b{key}:|\b{key} in", TEXT) or key in ("class", "source"), (
                key
            )
