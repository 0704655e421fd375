"""Draw the correlation of the base models' out-of-fold errors."""

from job import job

from pathlib import Path

from starstack.figures.diversity import plot_diversity
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_diversity(read_table(snakemake.input.diversity, "diversity"))
    save_figure(figure, Path(output.pdf).with_suffix(""))
