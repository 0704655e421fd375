"""Compare the errors that baselines predict with those that they made, in a table of its own."""

from job import job

import pandas as pd

from starstack.data.store import open_dataset
from starstack.splits.split import Split
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.uncertainty.baseline_rows import read_baseline
from starstack.uncertainty.comparison import baseline_table
from starstack.uncertainty.labelled_errors import join_predictions

given, params = snakemake.input, snakemake.params

with job(snakemake) as output:
    tables = []
    with open_dataset(given.data) as dataset:
        split = Split.from_csv(given.split)
        test = set(dataset.row_id[split.is_test].tolist())
        for (network, baseline), path in zip(params.baselines, given.predictions, strict=True):
            found = read_baseline(path)
            is_test = pd.Series(found.row_id).isin(test).to_numpy()
            parts = [found.of(found.row_id[~is_test]), found.of(found.row_id[is_test])]
            table = baseline_table(
                *(join_predictions(dataset, part.row_id, part.mean) for part in parts),
                *(part.covariance for part in parts),
                name=baseline,
                distribution=params.networks[network]["recalibration"],
                n_bins=params.networks[network]["recalibration_bins"],
                names=dataset.target_names,
                snr_bins=params.snr_bins,
            )
            tables.append(table.assign(study=params.study, estimator=network))
    table = pd.concat(tables, ignore_index=True)
    columns = list(RESULT_TABLES["calibration"])
    write_csv(table.reindex(columns=columns), output.calibration)
