import inspect
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from starstack.autodiff.batches import Batches
from starstack.config.cross_checks import ARCHITECTURES as ARCHITECTURE_NAMES
from starstack.config.cross_checks import (
    LAYERED,
    META_LEARNERS_OF_TASK,
    METRICS_OF_TASK,
    NOT_LAYERED,
)
from starstack.config.data_checks import SPECTRA
from starstack.curvature.structures import STRUCTURES, laplace
from starstack.data.scikit_learn import LOADERS
from starstack.data.sources import SOURCES
from starstack.errors import InputError
from starstack.metrics.scores import METRICS
from starstack.models.specs import PREPROCESSING
from starstack.networks.architectures import ARCHITECTURES
from starstack.networks.heads import make_network
from starstack.spectra.sources import SPECTRA_SOURCES
from starstack.splits.splitters import SPLITTERS
from starstack.stacking.meta_learners import META_LEARNERS
from starstack.uncertainty.error_distributions import DISTRIBUTIONS
from starstack.uncertainty.labelled_errors import NONE
from starstack.uncertainty.noise_propagation import METHODS

ROOT = Path(__file__).parents[3]
SCHEMA_PATH = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_PATH.read_text())

# Mappings whose keys are not ours to know: parameters of a class, a function's arguments.
FREE = {"params", "build_params"}
# This one hands its keys on to the schema of the chosen source, which is closed.
DISPATCHES = {"study.properties.data", "data"}


def subschemas(schema, where=""):
    yield where, schema
    for key in ("properties", "$defs"):
        for name, part in schema.get(key, {}).items():
            yield from subschemas(part, f"{where}.{key}.{name}".replace(".$defs.", "").strip("."))
    for key in ("items", "additionalProperties", "then", "else"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key], f"{where}.{key}")


ALL = [pytest.param(where, part, id=where or "root") for where, part in subschemas(SCHEMA)]
PROPERTIES = [
    pytest.param(where, part, name, id=f"{where}.{name}")
    for where, part in subschemas(SCHEMA)
    for name in part.get("properties", {})
]


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert len(PROPERTIES) > 50


@pytest.mark.parametrize(("where", "part", "name"), PROPERTIES)
def test_every_key_has_type_and_description_and_is_required_or_has_a_default(where, part, name):
    key = part["properties"][name]
    assert "type" in key
    assert len(key["description"]) > 10
    assert ("default" in key) != (name in part.get("required", []))


@pytest.mark.parametrize(("where", "part"), ALL)
def test_no_mapping_takes_unknown_keys(where, part):
    if part.get("type") != "object" or where in DISPATCHES or where.split(".")[-1] in FREE:
        return
    if "$ref" in part:
        part = SCHEMA["$defs"][part["$ref"].removeprefix("#/$defs/")]
    assert "additionalProperties" in part, "name the keys, or what names stand for"
    closed = part["additionalProperties"] is False
    assert closed or {"$ref"} == set(part["additionalProperties"])
    assert closed or "propertyNames" in part


@pytest.mark.parametrize(("where", "part", "name"), PROPERTIES)
def test_every_default_fits_its_own_schema(where, part, name):
    key = part["properties"][name]
    if "default" in key:
        resolved = {**key, "$defs": SCHEMA["$defs"]}
        assert list(Draft202012Validator(resolved).iter_errors(key["default"])) == []


def test_lists_of_names_are_those_of_the_library():
    study = SCHEMA["$defs"]["study"]["properties"]
    assert set(study["metrics"]["items"]["enum"]) == set(METRICS)
    assert {m: METRICS[m].task for m in METRICS} == {
        metric: task for task, metrics in METRICS_OF_TASK.items() for metric in metrics
    }
    assert SCHEMA["$defs"]["preprocessing"]["then"]["enum"] == list(PREPROCESSING)
    methods = SCHEMA["$defs"]["split"]["properties"]["method"]["enum"]
    assert methods == [*SPLITTERS, None]
    assert {task: set(names) for task, names in META_LEARNERS_OF_TASK.items()} == {
        task: set(names) for task, names in META_LEARNERS.items()
    }
    examples = SCHEMA["$defs"]["meta_learner"]["properties"]["class"]["examples"]
    assert set(examples) == {name for names in META_LEARNERS.values() for name in names}


def test_sources_and_their_keys_are_those_of_the_library():
    sources = SOURCES | SPECTRA_SOURCES
    assert SCHEMA["$defs"]["data"]["properties"]["source"]["enum"] == list(sources)
    assert list(SPECTRA_SOURCES) == list(SPECTRA)
    loader = SCHEMA["$defs"]["scikit_learn_source"]["properties"]["loader"]
    assert loader["enum"] == list(LOADERS)
    for source, read in sources.items():
        part = SCHEMA["$defs"][f"{source.replace('-', '_')}_source"]
        parameters = {
            name: parameter.default
            for name, parameter in inspect.signature(read).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        # Seed and correlation of the noise of spectra are handed over by `write_spectra`.
        assert set(part["properties"]) - {"seed", "noise_correlation"} == {"source", *parameters}
        required = {name for name, default in parameters.items() if default is inspect._empty}
        assert set(part["required"]) == {"source", *required}


def test_architectures_are_those_of_the_library():
    assert list(ARCHITECTURE_NAMES) == list(ARCHITECTURES)
    assert SCHEMA["$defs"]["network"]["properties"]["build"]["examples"] == list(ARCHITECTURES)


def test_ways_to_make_error_bars_are_those_of_the_library():
    options = SCHEMA["$defs"]["uncertainty"]["properties"]
    assert set(options["structures"]["items"]["enum"]) == set(STRUCTURES)
    assert set(options["noise"]["enum"]) == set(METHODS)
    assert set(options["recalibration"]["enum"]) == {NONE, *DISTRIBUTIONS}


def test_structures_made_of_layers_are_those_that_refuse_other_layers():
    assert set(LAYERED) < set(STRUCTURES)
    assert set(NOT_LAYERED) < set(ARCHITECTURES)
    shape = {"input_shape": (4, 2), "task": "classification", "n_outputs": 3, "seed": 0}
    model = make_network(*NOT_LAYERED, {"units": [2]}, **shape)
    data = Batches(np.zeros((6, 4, 2), np.float32), np.arange(6) % 3)
    loss = "sparse_categorical_crossentropy"
    for structure in LAYERED:
        with pytest.raises(InputError, match="expected Dense, Conv1D and Conv2D, but gru is GRU"):
            laplace(model, data, structure=structure, loss=loss)
    laplace(model, data, structure="last_layer", loss=loss)


def test_the_config_tells_editors_where_its_schema_is():
    first = (ROOT / "config.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=workflow/schemas/config.schema.yaml"
