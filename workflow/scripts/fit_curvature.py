"""Approximate the posterior of a network's weights in one structure of its curvature."""

from job import cpu_only, job

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from starstack.curvature.diagnosis import diagnose, likelihood_products
from starstack.curvature.hyperparameters import residual_noise
from starstack.data.store import open_dataset
from starstack.networks.heads import head_of
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.uncertainty.chosen_prior import fit_with_chosen_prior
from starstack.uncertainty.network_rows import (
    draw_rows,
    rows_of_network,
    scaled_batches,
    scaler_digest,
)
from starstack.uncertainty.noise_of_rows import read_covariances

cpu_only()
params = snakemake.params
# Gradient, proofs and expected decrease of the record are those of so many of the rows, and the
# extreme eigenvalues of the Hessian those of fewer.
DIAGNOSED, EIGENVALUE_ROWS = 1024, 256

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(
            dataset, Split.from_csv(snakemake.input.split), params.validation_fraction, seed
        )
        fit = draw_rows(rows.fit, params.fit_rows, seed)
        data = scaled_batches(network, dataset, fit, fitted=rows.fit)
        held_out = scaled_batches(network, dataset, rows.calibration)
        regression = network.task == "regression"
        chosen = draw_rows(rows.calibration, params.prior_rows, seed)
        known = None
        if snakemake.input.noise:
            covariances = read_covariances(snakemake.input.noise).of(dataset.row_id[chosen])
            scale = np.broadcast_to(network.target_scaler.scale, covariances.noise.shape[1:2])
            known = covariances.noise / np.outer(scale, scale)
        found = fit_with_chosen_prior(
            network.model,
            data,
            scaled_batches(network, dataset, chosen),
            structure=params.structure,
            known=known,
            loss="mse" if regression else head_of(network.task, len(network.classes)).loss,
            # Probabilities of classes are all the noise there is.
            noise=residual_noise(network.model, held_out) if regression else None,
            scaler_digest=scaler_digest(network),
        )
        posterior = found.posterior
        diagnosed = draw_rows(fit, DIAGNOSED, seed)
        some, fewer = (
            scaled_batches(network, dataset, part, fitted=rows.fit)
            for part in (diagnosed, draw_rows(diagnosed, EIGENVALUE_ROWS, seed))
        )
        products = likelihood_products(posterior, some)
        record = diagnose(posterior, products, fewer=products.over(fewer), seed=seed)
        posterior.record = replace(record, seconds=posterior.record.seconds)
        # That of `cg` holds its rows, which are read from the file of the data.
        posterior.save(output.posterior)
    stated = json.loads(posterior.record.to_json()) | {
        "diagnosed_rows": len(diagnosed),
        "held_out_noise": known is not None and bool(known.any()),
        **found.stated(),
    }
    Path(output.record).write_text(json.dumps(stated, indent=2) + "\n")
