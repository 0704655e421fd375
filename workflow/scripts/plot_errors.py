"""Draw bias and scatter against the signal-to-noise ratio."""

from job import job

from pathlib import Path

from starstack.figures.errors import plot_errors
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    errors = read_table(snakemake.input.errors, "errors")
    figure = plot_errors(errors, labels=snakemake.params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
