"""Collect the numbers that a paper's text quotes, of all studies, in one JSON file."""

from job import job

import json
from pathlib import Path

import pandas as pd

from starstack.tables.quoted import numbers
from starstack.tables.results import read_table

with job(snakemake) as output:
    found = {}
    if snakemake.input.scores:  # a study that only traces joint fits has none
        scores, differences, weights = (
            pd.concat([read_table(path, name) for path in snakemake.input[name]])
            for name in ("scores", "differences", "weights")
        )
        found = numbers(scores, differences, weights)
    Path(output.numbers).write_text(json.dumps(found, indent=2) + "\n")
