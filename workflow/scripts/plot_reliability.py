"""Draw predicted probability against observed frequency."""

from job import job

from pathlib import Path

from starstack.figures.reliability import plot_reliability
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_reliability(read_table(snakemake.input.reliability, "reliability"))
    save_figure(figure, Path(output.pdf).with_suffix(""))
