"""docs/uncertainty.md names what is there: functions, rules, keys of the config."""

import re
from pathlib import Path

import yaml

from starstack.config.validation import validate_config
from starstack.curvature.structures import STRUCTURES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/uncertainty.md").read_text(encoding="utf-8")
LIBRARY = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "workflow/starstack").rglob("*.py")
)
RULES = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk")
)


def test_every_function_that_a_formula_names_is_in_the_library():
    called = re.findall(r"`(?:\w+\.)?([A-Za-z]+_[a-z_]+)`", TEXT)
    assert len(called) > 20
    for name in called:
        known = re.search(
            rf"\b(?:def|class|rule) {name}\b|\b{name}[:=]|\"{name}\"", LIBRARY + RULES
        )
        known = known or (ROOT / "workflow/starstack/uncertainty" / f"{name}.py").exists()
        assert known or name in (ROOT / "workflow/schemas/config.schema.yaml").read_text(), name


def test_every_structure_has_its_row():
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) >= set(STRUCTURES)


def test_the_example_is_a_valid_entry():
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    study = {"task": "regression", "data": {"source": "simulated-spectra"}}
    config = {"studies": {"spectra": study | yaml.safe_load(block)}}
    filled = validate_config(config, ROOT / "workflow/schemas/config.schema.yaml")
    network = filled["studies"]["spectra"]["networks"]["dense"]
    assert network["uncertainty"]["recalibration"] == "student_t"
