"""Collect the numbers that a paper's text quotes, of all studies, in one JSON file."""

from job import job

import json
from pathlib import Path

import pandas as pd

from starstack.tables.quoted import numbers
from starstack.tables.results import read_table

with job(snakemake) as output:
    scores = pd.concat([read_table(path, "scores") for path in snakemake.input.scores])
    weights = pd.concat([read_table(path, "weights") for path in snakemake.input.weights])
    Path(output.numbers).write_text(json.dumps(numbers(scores, weights), indent=2) + "\n")
