"""Compare the errors of a study's networks with the smallest that the noise allows."""

from job import cpu_only, job, one_thread_per_block

one_thread_per_block()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from starstack.data.store import open_dataset  # noqa: E402
from starstack.networks.persistence import load_network  # noqa: E402
from starstack.seeds import derive_seed  # noqa: E402
from starstack.splits.split import Split  # noqa: E402
from starstack.stacking.meta_fit import read_meta_predictions  # noqa: E402
from starstack.tables.results import RESULT_TABLES, write_csv  # noqa: E402
from starstack.uncertainty.efficiency import efficiency_table  # noqa: E402
from starstack.uncertainty.flux_models import FLUX_MODELS  # noqa: E402
from starstack.uncertainty.labelled_errors import join_predictions  # noqa: E402
from starstack.uncertainty.network_rows import draw_rows  # noqa: E402
from starstack.uncertainty.noise_of_rows import read_covariances  # noqa: E402
from starstack.uncertainty.row_bounds import bounds_of_rows, excess_of_network  # noqa: E402

cpu_only()
given, params = snakemake.input, snakemake.params
# The inequality of each network's Jacobian is checked on so many stars.
CHECKED = 64

with job(snakemake) as output:
    seed = derive_seed(params.seed, params.study, "Cramér–Rao")
    tables, excesses = [], []
    with open_dataset(given.data) as dataset:
        test = np.flatnonzero(Split.from_csv(given.split).is_test)
        snr = dataset.row_values["snr"]
        low, high = params.near
        near = test[(snr[test] >= low) & (snr[test] <= high)]
        drawn = draw_rows(test, params.rows, seed)
        more = draw_rows(np.setdiff1d(near, drawn), params.rows // 2, seed)
        rows = np.sort(np.concatenate([drawn, more]))
        model = FLUX_MODELS[params.data["source"]](dataset, params.data)
        bounds = bounds_of_rows(model, dataset, rows, snakemake.threads)
        # Bins of all ratios from rows drawn at random; the one near 100 from those and more.
        parts = [
            (np.isin(rows, drawn), params.snr_bins, True),
            (np.isin(rows, near), params.near, False),
        ]
        for name, weights, description, predictions, noise in zip(
            params.networks,
            given.models,
            given.descriptions,
            given.predictions,
            given.noise,
            strict=True,
        ):
            row_id, values = read_meta_predictions(predictions)["test"]
            place = {row: number for number, row in enumerate(row_id.tolist())}
            wanted = [place[row] for row in dataset.row_id[rows].tolist()]
            found = join_predictions(dataset, row_id[wanted], values[wanted])
            noise_part = read_covariances(noise).of(found.row_id).noise
            for bound, least in bounds.items():
                for chosen, bins, with_all in parts:
                    if not chosen.any():
                        continue
                    table = efficiency_table(
                        found.errors[chosen],
                        least[chosen],
                        dataset.target_names,
                        snr=found.snr[chosen],
                        snr_bins=bins,
                        predicted=noise_part[chosen],
                    )
                    table = table[with_all | (table["snr"] != "all")]
                    tables.append(table.assign(study=params.study, estimator=name, bound=bound))
            network = load_network(weights, description)
            excess = excess_of_network(network, model, dataset, draw_rows(rows, CHECKED, seed))
            excesses.append((params.study, name, float(excess.min()), len(excess)))
    table = pd.concat(tables, ignore_index=True)
    write_csv(table[list(RESULT_TABLES["efficiency"])], output.efficiency)
    columns = ["study", "network", "least_excess", "n"]
    write_csv(pd.DataFrame(excesses, columns=columns), output.inequality)
