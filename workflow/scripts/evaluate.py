"""Score the base models and meta-learners of a study from their stored predictions."""

from job import job

import pandas as pd

from starstack.data.store import read_dataset
from starstack.splits.split import Split
from starstack.stacking.evaluation import Evaluation
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.stacking.stored_features import read_features
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    paths = zip(params.meta_learners, snakemake.input.predictions, strict=True)
    evaluation = Evaluation(
        read_dataset(snakemake.input.data),
        Split.from_csv(snakemake.input.split),
        read_features(snakemake.input.meta_features),
        {meta: read_meta_predictions(path) for meta, path in paths},
        in_sample=params.in_sample,
    )
    weights = [read_table(path, "weights") for path in snakemake.input.weights]
    write_csv(evaluation.scores(params.metrics), output.scores)
    write_csv(evaluation.differences(params.metrics), output.differences)
    write_csv(pd.concat(weights), output.weights)
    write_csv(evaluation.diversity(), output.diversity)
    write_csv(evaluation.predictions(), output.predictions)
    write_csv(evaluation.reliability(), output.reliability)
