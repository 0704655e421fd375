"""Compare the predicted errors of the networks and of the stack of a study with those made."""

from job import cpu_only, job, one_thread_per_block

# Threads that wait for a busy core make fits of a second last half a minute.
one_thread_per_block()

from functools import partial  # noqa: E402

import pandas as pd  # noqa: E402

from starstack.data.store import open_dataset  # noqa: E402
from starstack.seeds import derive_seed  # noqa: E402
from starstack.splits.split import Split  # noqa: E402
from starstack.stacking.fold_predictions import read_predictions  # noqa: E402
from starstack.stacking.meta_fit import read_meta_predictions  # noqa: E402
from starstack.stacking.meta_learners import build_meta_learner  # noqa: E402
from starstack.stacking.stored_features import read_features  # noqa: E402
from starstack.tables.results import RESULT_TABLES, write_csv  # noqa: E402
from starstack.uncertainty.budget import load_budget  # noqa: E402
from starstack.uncertainty.comparison import network_tables  # noqa: E402
from starstack.uncertainty.conformal_tables import stack_table  # noqa: E402
from starstack.uncertainty.labelled_errors import join_predictions  # noqa: E402
from starstack.uncertainty.noise_of_rows import read_covariances  # noqa: E402

cpu_only()
given, params = snakemake.input, snakemake.params
TABLES = ("calibration", "error_reliability", "error_histograms")

with job(snakemake) as output:
    found = {name: [] for name in TABLES}

    def keep(tables, **named):
        for name, table in tables.items():
            found[name].append(table.assign(study=params.study, **named))

    with open_dataset(given.data) as dataset:
        budgets = iter(zip(given.budgets, given.calibrations, strict=True))
        for (name, options), predictions, noise in zip(
            params.networks.items(), given.predictions, given.noise, strict=True
        ):
            stored = read_meta_predictions(predictions)
            rows = [join_predictions(dataset, *stored[part]) for part in ("validation", "test")]
            of_network = {
                structure: tuple(load_budget(path) for path in next(budgets)[::-1])
                for structure in options["structures"]
            }
            tables = network_tables(
                *rows,
                of_network,
                read_covariances(noise),
                distribution=options["recalibration"],
                n_bins=options["recalibration_bins"],
                names=dataset.target_names,
                snr_bins=params.snr_bins,
                seed=derive_seed(params.seed, params.study, name),
            )
            keep(tables, estimator=name)
        if params.stack:
            build = partial(
                build_meta_learner,
                task="regression",
                seed=derive_seed(params.seed, params.study, params.stack),
                allowed_packages=params.allowed_packages,
            )
            models = {
                model: read_predictions(given.base_models[start : start + count])
                for model, start, count in params.file_ranges
            }
            table = stack_table(
                dataset,
                Split.from_csv(given.split),
                read_features(given.meta_features),
                models,
                build(params.spec),
                snr_bins=params.snr_bins,
                n_rows=params.conformal_rows,
                seed=derive_seed(params.seed, params.study, "conformal"),
            )
            keep({"calibration": table}, estimator=params.stack)
    for name, tables in found.items():
        table = pd.concat(tables, ignore_index=True)
        write_csv(table.reindex(columns=list(RESULT_TABLES[name])), getattr(output, name))
