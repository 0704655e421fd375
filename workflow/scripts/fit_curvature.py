"""Approximate the posterior of a network's weights in one structure of its curvature."""

from job import cpu_only, job

import json
import logging
from dataclasses import replace
from pathlib import Path

from starstack.curvature.diagnosis import diagnose, likelihood_products
from starstack.curvature.hyperparameters import choose_prior_precision, residual_noise
from starstack.curvature.structures import laplace
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.uncertainty.network_rows import (
    draw_rows,
    rows_of_network,
    scaled_batches,
    scaler_digest,
)

cpu_only()
params = snakemake.params
# Gradient, proofs and expected decrease of the record are those of so many of the rows.
DIAGNOSED = 1024

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(
            dataset, Split.from_csv(snakemake.input.split), params.validation_fraction, seed
        )
        fit = draw_rows(rows.fit, params.fit_rows, seed)
        data = scaled_batches(network, dataset, fit, stand_for=len(rows.fit))
        held_out = scaled_batches(network, dataset, rows.calibration)
        posterior = laplace(
            network.model,
            data,
            structure=params.structure,
            noise=residual_noise(network.model, held_out),
            scaler_digest=scaler_digest(network),
        )
        chosen = scaled_batches(
            network, dataset, draw_rows(rows.calibration, params.prior_rows, seed)
        )
        choice = choose_prior_precision(posterior, chosen)
        posterior = choice.posterior
        logging.getLogger(__name__).info(
            "prior precision %g, of %d values from %g to %g",
            choice.prior_precision,
            len(choice.tried),
            choice.tried[0][0],
            choice.tried[-1][0],
        )
        diagnosed = draw_rows(fit, DIAGNOSED, seed)
        some = scaled_batches(network, dataset, diagnosed, stand_for=len(rows.fit))
        found = diagnose(posterior, likelihood_products(posterior, some), n_steps=0)
        posterior.record = replace(found, seconds=posterior.record.seconds)
    posterior.save(output.posterior)
    stated = json.loads(posterior.record.to_json()) | {
        "noise": posterior.noise.tolist(),
        "diagnosed_rows": len(diagnosed),
        "held_out_log_likelihood": choice.score,
        "tried_prior_precisions": [list(pair) for pair in choice.tried],
    }
    Path(output.record).write_text(json.dumps(stated, indent=2) + "\n")
