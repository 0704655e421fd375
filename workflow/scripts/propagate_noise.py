"""Propagate the noise of calibration and test rows to what a network predicts of them."""

from job import cpu_only, job, provenance

import numpy as np

from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.uncertainty.network_rows import rows_of_network
from starstack.uncertainty.noise_of_rows import noise_of_rows, write_covariances

cpu_only()
params = snakemake.params

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(
            dataset, Split.from_csv(snakemake.input.split), params.validation_fraction, seed
        )
        covariances = noise_of_rows(
            network,
            dataset,
            np.sort(np.concatenate([rows.calibration, rows.test])),
            rows.fit,
            method=params.method,
            n_draws=params.draws,
            n_components=params.components,
            seed=derive_seed(seed, "propagated noise"),
        )
        made_by = provenance(snakemake, dataset) | {"network": params.network}
    write_covariances(covariances, output.covariances, made_by)
