"""Draw time and memory per rule."""

from job import job

from pathlib import Path

from starstack.figures.runtime import plot_runtime
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_runtime(read_table(snakemake.input.jobs, "runtime"))
    save_figure(figure, Path(output.pdf).with_suffix(""))
