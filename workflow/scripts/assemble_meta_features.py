"""Put the predictions of all base models and folds of a study together, by row id."""

from job import job, provenance

from starstack.splits.split import Split
from starstack.stacking.fold_predictions import read_predictions
from starstack.stacking.stored_features import assemble, write_features

with job(snakemake) as output:
    params = snakemake.params
    split = Split.from_csv(snakemake.input.split)
    predictions = {
        model: read_predictions(snakemake.input.predictions[first : first + count])
        for model, first, count in params.files
    }
    features = assemble(split, predictions)
    write_features(features, output.meta_features, provenance(snakemake))
