"""Hold out the test rows and divide the others into folds, once for all models of a study."""

from job import job

from starstack.data.store import open_dataset
from starstack.errors import InputError
from starstack.seeds import derive_seed
from starstack.splits.splitters import make_split, read_split

with job(snakemake) as output:
    params = snakemake.params
    with open_dataset(snakemake.input.data) as dataset:  # the spectra are not read
        rows = {
            "row_id": dataset.row_id,
            "y": dataset.y,
            "task": dataset.task,
            "group": dataset.group,
            "time": dataset.time,
            "classes": dataset.classes,
        }
    options = dict(params.split)
    file = options.pop("file")
    if file is None:
        split = make_split(**rows, **options, seed=derive_seed(params.seed, params.study, "split"))
    else:
        split = read_split(file, **rows)
        expected = (options["n_folds"], options["n_repeats"])
        if (split.n_folds, split.n_repeats) != expected:
            raise InputError(
                f"{file}: expected {expected[0]} folds and {expected[1]} repeat(s) as in the "
                f"config (studies.{params.study}.split), the file has {split.n_folds} and "
                f"{split.n_repeats}; bring n_folds and n_repeats in step with the file"
            )
    split.to_csv(output.split)
