"""Compare the probabilities that networks give to classes with what came true."""

from job import job

import pandas as pd

from starstack.data.store import open_dataset
from starstack.seeds import derive_seed
from starstack.tables.results import RESULT_TABLES, read_table, write_csv
from starstack.uncertainty.class_calibration import class_tables

params = snakemake.params

with job(snakemake) as output:
    found = {"class_calibration": [], "class_reliability": []}
    with open_dataset(snakemake.input.data) as dataset:
        for network, path in zip(params.networks, snakemake.input.probabilities, strict=True):
            tables = class_tables(
                read_table(path, "class_probabilities"),
                dataset,
                seed=derive_seed(params.seed, params.study, network, "calibrated"),
            )
            for name, table in tables.items():
                found[name].append(table.assign(study=params.study, estimator=network))
    for name, tables in found.items():
        columns = list(RESULT_TABLES[name])
        write_csv(pd.concat(tables, ignore_index=True)[columns], getattr(output, name))
