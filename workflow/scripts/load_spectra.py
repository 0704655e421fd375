"""Read or make a study's spectra, check them, and keep them in one file."""

from job import job, provenance

from starstack.seeds import derive_seed
from starstack.spectra.sources import write_spectra

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
