"""Draw the errors that each structure of the curvature predicts over the exact ones."""

from job import job

from pathlib import Path

from starstack.figures.curvature import plot_structures
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    table = read_table(snakemake.input.structures, "structure_comparison")
    figure = plot_structures(table, snakemake.params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
