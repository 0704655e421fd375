"""Train an ensemble, a network with dropout or one that predicts its variance, to compare with."""

from job import job, provenance

from starstack.data.store import open_dataset
from starstack.networks.device import configure_device
from starstack.networks.options import TrainingOptions
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.uncertainty.baseline_rows import train_baseline, write_baseline
from starstack.uncertainty.network_rows import rows_of_network

params = snakemake.params

with job(snakemake) as output:
    device = configure_device(**params.device, threads=snakemake.threads)
    options = TrainingOptions(**params.training)
    split = Split.from_csv(snakemake.input.split)
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(dataset, split, options.validation_fraction, seed)
        found = train_baseline(
            params.baseline,
            dataset,
            split.train_rows(),
            rows,
            options,
            seed=derive_seed(seed, params.baseline),
            build=params.build,
            build_params=params.build_params,
            input_shape=params.get("input_shape"),
            device=device,
            allowed_packages=params.allowed_packages,
        )
        made_by = provenance(snakemake, dataset) | {"network": params.network}
    write_baseline(found, output.predictions, made_by)
