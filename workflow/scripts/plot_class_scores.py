"""Draw log loss and Brier score of the probabilities of a network, by every method."""

from job import job

from pathlib import Path

from starstack.figures.classes import plot_class_scores
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_table(snakemake.input.calibration, "class_calibration")
    table = table[table["estimator"] == params.network]
    figure = plot_class_scores(table, weighted=params.weighted)
    save_figure(figure, Path(output.pdf).with_suffix(""))
