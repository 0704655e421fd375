"""Read or make a study's spectra, check them, and keep them in one file."""

from job import job, one_thread_per_block, provenance

one_thread_per_block()

from starstack.seeds import derive_seed  # noqa: E402
from starstack.spectra.sources import write_spectra  # noqa: E402

with job(snakemake) as output:
    params = snakemake.params
    write_spectra(
        params.study,
        params.data,
        output.data,
        seed=derive_seed(params.seed, params.study, "spectra"),
        threads=snakemake.threads,
        provenance=provenance(snakemake),
    )
