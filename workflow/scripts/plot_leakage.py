"""Draw what training a meta-learner on in-sample predictions does."""

from job import job

from pathlib import Path

from starstack.figures.leakage import plot_leakage
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    figure = plot_leakage(
        read_table(snakemake.input.weights, "weights"), read_table(snakemake.input.scores, "scores")
    )
    save_figure(figure, Path(output.pdf).with_suffix(""))
