"""Compare the structures of the curvature with the exact one, on a small network of the study."""

from job import cpu_only, job

import numpy as np

from starstack.curvature.summary import structure_table
from starstack.data.store import open_dataset
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.uncertainty.small_network import fit_small, rows_to_predict

cpu_only()
params = snakemake.params
PREDICTED = 300

with job(snakemake) as output:
    seed = derive_seed(params.seed, params.study, "small network")
    with open_dataset(snakemake.input.data) as dataset:
        train = Split.from_csv(snakemake.input.split).train_rows()
        network, components, posteriors = fit_small(dataset, train, seed=seed)
    x = rows_to_predict(network, components, PREDICTED, seed)
    table = structure_table(posteriors, x, components.target_names)
    # From the units of the network's outputs to those of the labels.
    scale = np.broadcast_to(network.target_scaler.scale, (len(components.target_names),))
    unit = table["output"].map(dict(zip(components.target_names, scale, strict=True)))
    for column in ("standard_deviation", "exact_standard_deviation"):
        table[column] *= unit
    named = table.assign(study=params.study, network="small")
    write_csv(named[list(RESULT_TABLES["structure_comparison"])], output.structures)
