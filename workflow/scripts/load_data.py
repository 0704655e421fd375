"""Read a study's data, check it, and keep it in one file."""

from job import job, provenance

from dataclasses import replace

from starstack.data.sources import load_dataset
from starstack.data.store import write_dataset

with job(snakemake) as output:
    params = snakemake.params
    dataset = load_dataset(params.study, params.task, params.data, divided=params.divided)
    made_by = dataset.provenance | provenance(snakemake)
    write_dataset(replace(dataset, provenance=made_by), output.data)
