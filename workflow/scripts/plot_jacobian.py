"""Draw what each label of the networks answers to, against wavelength."""

from job import job

from pathlib import Path

from starstack.figures.jacobian import plot_jacobian, read_sensitivities
from starstack.figures.style import save_figure

with job(snakemake) as output:
    params = snakemake.params
    files = dict(zip(params.networks, snakemake.input.jacobians, strict=True))
    figure = plot_jacobian(read_sensitivities(files), params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
