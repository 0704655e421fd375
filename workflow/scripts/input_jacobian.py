"""Differentiate a network's outputs with respect to its inputs, over test rows."""

from job import cpu_only, job, provenance

import h5py
import numpy as np

from starstack.autodiff.jacobian_stream import stream_input_jacobian
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split

cpu_only()
params = snakemake.params

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    rows = np.flatnonzero(Split.from_csv(snakemake.input.split).is_test)
    seed = derive_seed(params.seed, params.study, params.network, "jacobian")
    if params.rows is not None and params.rows < len(rows):
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(rows, params.rows, replace=False))
    regression = network.task == "regression"
    with open_dataset(snakemake.input.data) as dataset:
        summary = stream_input_jacobian(
            network.model,
            dataset.X,
            output.jacobian if params.store else None,
            rows=rows,
            row_id=dataset.row_id,
            transform=network.input_scaler.transform,
            input_scale=network.input_scaler.scale,
            target_scale=network.target_scaler.scale if regression else None,
            sample_rows=params.quantile_rows,
            seed=seed,
        )
        made_by = provenance(snakemake, dataset) | {"network": params.network}
        summary.write(output.jacobian, made_by)
        # Two classes have one output, the probability of the second.
        classes = network.classes[1:] if len(network.classes) == 2 else network.classes
        names = network.target_names if regression else classes
        with h5py.File(output.jacobian, "a") as file:
            columns = {"output_names": names, "feature_names": dataset.feature_names}
            for key, values in columns.items():
                text = np.char.encode(np.array(values, dtype=np.str_), "utf-8")
                file.create_dataset(key, data=text, track_times=False)
            if dataset.wavelength is not None:
                file.create_dataset("wavelength", data=dataset.wavelength, track_times=False)
            file.attrs["quantity"] = (
                "∂prediction/∂input, in units of the target per unit of the input"
                if regression
                else "∂probability/∂input, per unit of the input"
            )
