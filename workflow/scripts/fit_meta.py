"""Fit one meta-learner on the out-of-fold predictions of a study."""

from job import cpu_only, job, provenance

import json
import logging

from starstack.data.store import read_dataset
from starstack.models.persistence import dump_models
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.stacking.meta_fit import (
    MetaOptions,
    fit_on_stored_features,
    write_meta_predictions,
)
from starstack.stacking.meta_learners import build_meta_learner
from starstack.stacking.stored_features import read_features
from starstack.tables.results import write_csv

cpu_only()

with job(snakemake) as output:
    params = snakemake.params
    dataset = read_dataset(snakemake.input.data)
    meta_learner = build_meta_learner(
        params.spec,
        task=dataset.task,
        seed=derive_seed(params.seed, params.study, params.meta),
        allowed_packages=params.allowed_packages,
        where=f"studies.{params.study}.meta_learners.{params.meta}",
    )
    result = fit_on_stored_features(
        dataset,
        Split.from_csv(snakemake.input.split),
        read_features(snakemake.input.meta_features),
        meta_learner,
        MetaOptions(**params.options),
    )
    made_by = provenance(snakemake, dataset)
    # What takes the stack to new rows has to lay out their meta-features in the same way.
    stated = made_by | {"options": json.dumps(params.options, sort_keys=True)}
    dump_models({"meta_learner": result.model}, output.model, stated, params.trusted_types)
    write_meta_predictions(result, output.predictions, made_by)
    table = result.weights.assign(
        study=params.study, meta_learner=params.meta, trained_on=params.options["trained_on"]
    )
    columns = ["study", "meta_learner", "trained_on", *result.weights.columns]
    write_csv(table[columns], output.weights)
    if result.description:
        logging.getLogger(__name__).info("%s", result.description)
