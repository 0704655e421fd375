"""Draw the test rows in the plane of a learned projection, with its decision regions."""

from job import job

from pathlib import Path

from starstack.figures.projection import plot_projection
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_projection(
        read_table(snakemake.input.rows, "projection_rows"),
        read_table(snakemake.input.regions, "projection_regions"),
    )
    save_figure(figure, Path(output.pdf).with_suffix(""))
