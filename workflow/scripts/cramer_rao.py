"""Compare the errors of a study's networks with the smallest that the noise allows."""

from job import cpu_only, job

import logging

import numpy as np
import pandas as pd

from starstack.autodiff.jacobian import input_jacobian
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.spectra.response import pixels_of, stars_of
from starstack.spectra.simulator import NUISANCES, label_derivatives
from starstack.splits.split import Split
from starstack.stacking.meta_fit import read_meta_predictions
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.uncertainty.cramer_rao import biased_bound, least_excess, simulator_bound
from starstack.uncertainty.efficiency import efficiency_table
from starstack.uncertainty.labelled_errors import join_predictions
from starstack.uncertainty.network_rows import draw_rows, read_blocks
from starstack.uncertainty.noise_covariance import propagate
from starstack.uncertainty.noise_of_rows import read_covariances

cpu_only()
given, params = snakemake.input, snakemake.params
# Stars of about this ratio are compared by themselves, with the bound of published systems.
NEAR_100 = (90.0, 110.0)
# The inequality of each network's Jacobian is checked on so many stars.
CHECKED = 100
BOUNDS = {"known physics": (), "unknown nuisances": NUISANCES}
logger = logging.getLogger(__name__)

with job(snakemake) as output:
    seed = derive_seed(params.seed, params.study, "Cramér–Rao")
    tables, excesses = [], []
    with open_dataset(given.data) as dataset:
        test = np.flatnonzero(Split.from_csv(given.split).is_test)
        snr = dataset.row_values["snr"]
        near = test[(snr[test] >= NEAR_100[0]) & (snr[test] <= NEAR_100[1])]
        drawn = draw_rows(test, params.rows, seed)
        around = draw_rows(np.setdiff1d(near, drawn), params.rows // 2, seed)
        rows = np.sort(np.concatenate([drawn, around]))
        stars, pixels = stars_of(dataset)[rows], pixels_of(dataset)
        spectra, errors = (read_blocks(dataset, name, rows) for name in ("X", "X_error"))
        bounds = {
            name: simulator_bound(
                stars,
                errors,
                pixels=pixels,
                marginalise=marginalise,
                progress=lambda done, name=name: logger.info(
                    "%s: %d of %d stars", name, done, len(rows)
                ),
            )
            for name, marginalise in BOUNDS.items()
        }
        checked = slice(0, CHECKED)
        derivatives = label_derivatives(stars[checked], pixels=pixels)
        in_drawn = np.isin(rows, drawn)
        is_near = np.isin(rows, near)
        for name, model, description, predictions, noise in zip(
            params.networks,
            given.models,
            given.descriptions,
            given.predictions,
            given.noise,
            strict=True,
        ):
            row_id, values = read_meta_predictions(predictions)["test"]
            place = {row: number for number, row in enumerate(row_id.tolist())}
            predicted = values[[place[row] for row in dataset.row_id[rows].tolist()]]
            found = join_predictions(dataset, dataset.row_id[rows], predicted)
            covariance = read_covariances(noise).of(found.row_id).noise
            for bound_name, bound in bounds.items():
                for chosen, options in (
                    (in_drawn, {"snr": snr[rows][in_drawn], "snr_bins": params.snr_bins}),
                    (is_near, {"snr": snr[rows][is_near], "snr_bins": NEAR_100}),
                ):
                    table = efficiency_table(
                        found.errors[chosen],
                        bound[chosen],
                        dataset.target_names,
                        predicted=covariance[chosen],
                        **options,
                    )
                    if chosen is is_near:
                        table = table[table["snr"] != "all"]
                    tables.append(
                        table.assign(study=params.study, estimator=name, bound=bound_name)
                    )
            network = load_network(model, description)
            scaled = network.input_scaler.transform(spectra[checked]).astype("float32")
            jacobian = input_jacobian(
                network.model,
                scaled.reshape(-1, *network.input_shape),
                input_scale=network.input_scaler.scale,
                target_scale=network.target_scaler.scale,
            ).reshape(len(scaled), -1, spectra.shape[1])
            excess = least_excess(
                propagate(jacobian.astype(float), errors[checked]),
                biased_bound(jacobian.astype(float), derivatives, errors[checked]),
            )
            logger.info("%s: J Σ Jᵀ exceeds its bound by %.3g or more of it", name, excess.min())
            excesses.append((params.study, name, float(excess.min()), len(excess)))
    write_csv(
        pd.concat(tables, ignore_index=True)[list(RESULT_TABLES["efficiency"])], output.efficiency
    )
    write_csv(
        pd.DataFrame(excesses, columns=["study", "network", "least_excess", "n"]), output.inequality
    )
