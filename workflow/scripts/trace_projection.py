"""Run joint fits of projection and logistic regression: each start, with and without escape."""

from job import cpu_only, job

import numpy as np

from starstack.data.store import read_dataset
from starstack.models.specs import build_estimator
from starstack.projection.runs import trace_fits
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.tables.results import write_csv

cpu_only()

with job(snakemake) as output:
    params = snakemake.params
    options = dict(params.projection)
    dataset = read_dataset(snakemake.input.data)
    split = snakemake.input.get("split")
    rows = Split.from_csv(split).train_rows() if split else np.arange(dataset.n_rows)
    seed = derive_seed(params.seed, params.study, "projection")
    spec = {
        "class": "starstack.projection.ProjectedLogisticRegression",
        "preprocess": options.pop("preprocess"),
    }
    where = f"studies.{params.study}.projection"
    allowed = [*params.allowed_packages, "starstack"]
    built = build_estimator(spec, seed=seed, allowed_packages=allowed, where=where)
    X = dataset.X[rows]
    if spec["preprocess"]:
        X = np.asarray(built[:-1].fit_transform(X), dtype=np.float64)
    tables = trace_fits(X, dataset.y[rows], **options, seed=seed)
    for name, table in tables.items():
        table.insert(0, "study", params.study)
        write_csv(table, getattr(output, name))
