"""docs/networks.md and docs/spectra.md show what works: every entry is valid and can be built."""

import re
from pathlib import Path

import pytest
import yaml

from starstack.config.check import check_models
from starstack.config.data_checks import SPECTRA
from starstack.config.validation import validate_config
from starstack.networks.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[3]
SCHEMA_PATH = ROOT / "workflow/schemas/config.schema.yaml"
NETWORKS, SPECTRA_TEXT = (
    (ROOT / f"docs/{name}.md").read_text() for name in ("networks", "spectra")
)


def examples(text):
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def check(study):
    config = validate_config({"studies": {"stars": study}}, SCHEMA_PATH)
    check_models(config)
    return config["studies"]["stars"]


@pytest.mark.parametrize("entry", examples(NETWORKS), ids=lambda entry: next(iter(entry)))
def test_entries_of_networks_can_be_built(entry):
    data = {"source": "scikit-learn", "loader": "load_diabetes"}
    assert check({"task": "regression", "data": data, **entry})


@pytest.mark.parametrize("entry", examples(SPECTRA_TEXT), ids=lambda e: e["data"]["source"])
def test_sources_of_spectra_are_valid(entry, tmp_path, monkeypatch):
    (tmp_path / "data" / "apstar").mkdir(parents=True)
    for name in ("apogee_cannon_giants.npz", "training_data.h5", "stars.npz", "labels.csv"):
        (tmp_path / "data" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert check({"task": "regression", **entry, "networks": {"net": {"build": "dense"}}})


def test_every_source_and_architecture_is_spoken_of():
    assert {entry["data"]["source"] for entry in examples(SPECTRA_TEXT)} == set(SPECTRA)
    assert set(re.findall(r"^\| `(\w+)` \|", NETWORKS, re.MULTILINE)) == set(ARCHITECTURES)


def test_the_configuration_of_the_full_size_is_valid():
    config = yaml.safe_load((ROOT / "config/full-spectra.yaml").read_text())
    validated = validate_config(config, SCHEMA_PATH)
    check_models(validated)
    dense = validated["studies"]["full-spectra"]["networks"]["dense"]
    assert dense["build_params"]["units"] == [2048, 1024, 512, 256, 128, 32]
    assert (dense["training"]["epochs"], dense["training"]["batch_size"]) == (100, 64)
