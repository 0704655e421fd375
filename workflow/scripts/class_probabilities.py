"""Predict the classes of the test rows with and without the uncertainty of a network's weights."""

from job import cpu_only, job

from starstack.curvature.structures import load
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.uncertainty.class_predictions import (
    fit_temperatures,
    predict_classes,
    probability_table,
    temperature_table,
)
from starstack.uncertainty.network_rows import rows_of_network, scaler_digest

cpu_only()
params = snakemake.params

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    posteriors = {
        structure: load(path, network.model, scaler_digest(network))
        for structure, path in zip(params.structures, snakemake.input.posteriors, strict=True)
    }
    seed = derive_seed(params.seed, params.study, params.network)
    drawn = {"n_draws": params.draws, "seed": derive_seed(seed, "classes")}
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(
            dataset, Split.from_csv(snakemake.input.split), params.validation_fraction, seed
        )
        known, _ = predict_classes(posteriors, network, dataset, rows.calibration, **drawn)
        temperatures = fit_temperatures(known, dataset.y[rows.calibration])
        found, errors = predict_classes(posteriors, network, dataset, rows.test, **drawn)
        table = probability_table(dataset, rows.test, found, errors, temperatures)
    named = {"study": params.study, "estimator": params.network}
    for name, values in (
        ("class_probabilities", table),
        ("temperatures", temperature_table(temperatures)),
    ):
        write_csv(values.assign(**named)[list(RESULT_TABLES[name])], getattr(output, name))
