"""Multiply each network's Jacobian by the simulator's exact derivatives of the test stars."""

from job import cpu_only, job

import numpy as np
import pandas as pd

from starstack.autodiff.label_response import label_response, response_table
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.spectra.response import UNITS, seen_derivatives, simulated_fill
from starstack.splits.split import Split
from starstack.tables.results import RESULT_TABLES, write_csv

cpu_only()
params = snakemake.params

with job(snakemake) as output:
    tables = []
    rows = np.flatnonzero(Split.from_csv(snakemake.input.split).is_test)
    if params.stars < len(rows):
        rng = np.random.default_rng(derive_seed(params.seed, params.study, "jacobian identity"))
        rows = np.sort(rng.choice(rows, params.stars, replace=False))
    with open_dataset(snakemake.input.data) as dataset:
        data_seed = derive_seed(params.seed, params.study, "spectra")
        fill = simulated_fill(dataset, params.data, data_seed)
        # The same for all networks, and as many stars as there are: 500 of 7214 pixels are 87 MB.
        derivatives = seen_derivatives(dataset, rows, fill)
        for name, model, description in zip(
            params.networks, snakemake.input.models, snakemake.input.descriptions, strict=True
        ):
            network = load_network(model, description)
            response = label_response(
                network.model,
                dataset.X,
                rows,
                derivatives,
                transform=network.input_scaler.transform,
                input_scale=network.input_scaler.scale,
                target_scale=network.target_scaler.scale,
            )
            table = response_table(response, network.target_names, UNITS)
            tables.append(table.assign(study=params.study, network=name))
    columns = list(RESULT_TABLES["jacobian_identity"])
    write_csv(pd.concat(tables, ignore_index=True)[columns], output.identity)
