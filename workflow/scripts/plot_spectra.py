"""Draw a few spectra of a study, from its coolest to its hottest stars."""

from job import job

from pathlib import Path

from starstack.data.store import open_dataset
from starstack.figures.spectra import plot_spectra, typical_spectra
from starstack.figures.style import save_figure

with job(snakemake) as output:
    with open_dataset(snakemake.input.data) as dataset:
        wavelength, spectra = typical_spectra(dataset, snakemake.params.labels)
    save_figure(plot_spectra(wavelength, spectra), Path(output.pdf).with_suffix(""))
