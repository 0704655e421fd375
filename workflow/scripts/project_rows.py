"""Place the test rows in the plane of a fitted projection, and colour the plane by class."""

from job import job

import numpy as np

from starstack.data.store import read_dataset
from starstack.models.persistence import load_models
from starstack.projection.plane import project_rows
from starstack.splits.split import Split
from starstack.tables.results import write_csv

with job(snakemake) as output:
    params = snakemake.params
    dataset = read_dataset(snakemake.input.data)
    test = np.flatnonzero(Split.from_csv(snakemake.input.split).is_test)
    model = load_models(snakemake.input.models)["refit"]
    tables = project_rows(model, dataset.frame().iloc[test], dataset.y[test], dataset.row_id[test])
    names = np.array(dataset.classes)
    for table, path in zip(tables, (output.rows, output.regions), strict=True):
        for column in {"class", "predicted"} & set(table):
            table[column] = names[table[column].to_numpy()]
        table.insert(0, "study", params.study)
        write_csv(table, path)
