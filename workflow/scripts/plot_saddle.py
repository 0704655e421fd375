"""Draw loss and curvature of a study's joint fits."""

from job import job

from pathlib import Path

from starstack.figures.saddle import plot_saddle
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_saddle(
        read_table(snakemake.input.history, "projection_history"),
        read_table(snakemake.input.eigenvalues, "projection_eigenvalues"),
    )
    save_figure(figure, Path(output.pdf).with_suffix(""))
