"""Draw the weights of each meta-learner of a study."""

from job import job

from pathlib import Path

from starstack.figures.style import save_figure
from starstack.figures.weights import plot_weights
from starstack.tables.results import read_table

with job(snakemake) as output:
    weights = read_table(snakemake.input.weights, "weights")
    figure = plot_weights(weights, snakemake.params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
