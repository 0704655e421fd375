"""Put together the parts of the errors of a network's predictions, and recalibrate their sum."""

from job import cpu_only, job, provenance

import numpy as np

from starstack.curvature.structures import load
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.tables.results import write_csv
from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.intrinsic import fit_intrinsic
from starstack.uncertainty.labelled_errors import budget_table, join_predictions, recalibrate
from starstack.uncertainty.network_rows import scaler_digest, weights_covariance
from starstack.uncertainty.noise_of_rows import read_covariances

cpu_only()
params = snakemake.params

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    posterior = load(snakemake.input.posterior, network.model, scaler_digest(network))
    stored = read_meta_predictions(snakemake.input.predictions)
    noise = read_covariances(snakemake.input.noise)
    with open_dataset(snakemake.input.data) as dataset:
        rows = {name: join_predictions(dataset, *stored[name]) for name in ("validation", "test")}
        position = {name: number for number, name in enumerate(dataset.row_id.tolist())}
        weights = {
            name: weights_covariance(
                posterior,
                network,
                dataset,
                np.array([position[row] for row in part.row_id.tolist()]),
            )
            for name, part in rows.items()
        }
        made_by = provenance(snakemake, dataset) | {"network": params.network}
    noise = {name: noise.of(part.row_id).noise for name, part in rows.items()}
    known = rows["validation"]
    scatter = fit_intrinsic(
        known.errors, noise["validation"] + weights["validation"], known.predicted
    )
    budgets = {
        name: ErrorBudget(
            part.row_id,
            tuple(network.target_names),
            tuple(params.units.get(name, "") for name in network.target_names),
            noise[name],
            weights[name],
            scatter.covariance(part.predicted),
            made_by,
        )
        for name, part in rows.items()
    }
    recalibration = recalibrate(
        known,
        budgets["validation"].total,
        distribution=params.recalibration,
        n_bins=params.bins,
    )
    budgets["test"].save(output.budget)
    budgets["validation"].save(output.calibration)
    named = {"study": params.study, "estimator": params.network, "structure": params.structure}
    table = budget_table(budgets["test"], rows["test"], recalibration)
    for at, (column, value) in enumerate(named.items()):
        table.insert(at, column, value)
    write_csv(table, output.table)
    write_csv(scatter.table(network.target_names).assign(**named), output.intrinsic)
    write_csv(recalibration.table(network.target_names).assign(**named), output.recalibration)
