"""Train one network on the training rows of a study; a run that was killed goes on."""

from job import job, provenance

import dataclasses
import shutil

import numpy as np

from starstack.data.store import open_dataset
from starstack.networks.device import configure_device
from starstack.networks.holdout import validation_rows
from starstack.networks.options import TrainingOptions
from starstack.networks.persistence import save_network
from starstack.networks.predictions import predict_rows, write_predictions
from starstack.networks.training import train_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.tables.results import write_csv
from starstack.uncertainty.calibration_rows import check_calibration_rows

params = snakemake.params
# Not a parameter, of which a change would train the network again.
study = snakemake.config["studies"][params.study]
error_bars = study["networks"][params.network]["uncertainty"]
needs_recalibration = (
    study["task"] == "regression"
    and error_bars["structures"]
    and error_bars["recalibration"] != "none"
)
# Not declared as an output: Snakemake would remove it before a job that goes on.
checkpoints = f"results/{params.study}/networks/{params.network}.checkpoint"

with job(snakemake) as output:
    device = configure_device(**params.device, threads=snakemake.threads)
    options = TrainingOptions(**params.training)
    split = Split.from_csv(snakemake.input.split)
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        if needs_recalibration:
            check_calibration_rows(
                dataset,
                split.train_rows(),
                options.validation_fraction,
                seed,
                f"config: studies.{params.study}.networks.{params.network}",
            )
        network, history = train_network(
            dataset,
            split.train_rows(),
            options,
            build=params.build,
            build_params=params.build_params,
            input_shape=params.get("input_shape"),
            seed=seed,
            device=device,
            checkpoint_folder=checkpoints,
            allowed_packages=params.allowed_packages,
        )
        made_by = provenance(snakemake, dataset)
        _, held_out = validation_rows(
            dataset, split.train_rows(), options.validation_fraction, seed
        )
        rows = {"test": np.flatnonzero(split.is_test), "validation": held_out}
        write_predictions(predict_rows(network, dataset, rows), output.predictions, made_by)
    network = dataclasses.replace(network, provenance=network.provenance | made_by)
    save_network(network, output.model, output.description)
    named = history.assign(study=params.study, network=params.network)
    write_csv(named[["study", "network", *history.columns]], output.history)
shutil.rmtree(checkpoints, ignore_errors=True)
