"""Score base models, meta-learners and networks of a study from their stored predictions."""

from job import job

import pandas as pd

from starstack.data.store import open_dataset
from starstack.metrics.errors import error_table
from starstack.splits.split import Split
from starstack.stacking.evaluation import Evaluation
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.stacking.stored_features import read_features
from starstack.tables.results import empty_table, read_table, write_csv

with job(snakemake) as output:
    given, params = snakemake.input, snakemake.params

    def read_all(names, paths):
        pairs = zip(names, paths, strict=True)
        return {name: read_meta_predictions(path) for name, path in pairs}

    with open_dataset(given.data) as dataset:
        evaluation = Evaluation(
            dataset,
            Split.from_csv(given.split),
            read_features(given.meta_features) if given.meta_features else None,
            read_all(params.meta_learners, given.predictions),
            in_sample=params.in_sample,
            network_predictions=read_all(params.networks, given.networks),
        )
        predictions = evaluation.predictions()
        errors = error_table(
            predictions if dataset.task == "regression" else predictions.iloc[:0],
            dict(zip(dataset.row_id, dataset.row_values.get("snr", ()), strict=False)),
            params.snr_bins,
            group=None
            if dataset.group is None
            else dict(zip(dataset.row_id, dataset.group, strict=True)),
        )
    weights = [read_table(path, "weights") for path in given.weights]
    histories = [read_table(path, "history") for path in given.histories]
    write_csv(evaluation.scores(params.metrics), output.scores)
    write_csv(evaluation.differences(params.metrics), output.differences)
    write_csv(pd.concat([empty_table("weights"), *weights]), output.weights)
    write_csv(evaluation.diversity(), output.diversity)
    write_csv(predictions, output.predictions)
    write_csv(evaluation.reliability(), output.reliability)
    write_csv(errors, output.errors)
    write_csv(pd.concat([empty_table("history"), *histories]), output.history)
