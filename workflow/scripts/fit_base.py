"""Fit one base model on one fold, or on all folds of a small model in one job."""

from job import cpu_only, job, provenance

from starstack.data.store import read_dataset
from starstack.models.persistence import dump_models
from starstack.models.specs import build_estimator, check_columns
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.stacking.fold_predictions import fit_folds, write_predictions

cpu_only()

with job(snakemake) as output:
    params = snakemake.params
    where = f"studies.{params.study}.base_models.{params.model}"
    dataset = read_dataset(snakemake.input.data)
    split = Split.from_csv(snakemake.input.split)
    check_columns(params.spec, dataset.feature_names, where=where)

    def build(fold):
        return build_estimator(
            params.spec,
            seed=derive_seed(params.seed, params.study, params.model, fold),
            allowed_packages=params.allowed_packages,
            where=where,
        )

    models, predictions = fit_folds(
        dataset, split, params.folds, build, in_sample=params.in_sample, where=where
    )
    made_by = provenance(snakemake, dataset)
    dump_models(models, output.models, made_by, params.trusted_types)
    write_predictions(predictions, output.predictions, made_by)
