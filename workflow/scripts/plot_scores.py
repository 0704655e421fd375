"""Draw the scores of a study with their standard errors."""

from job import job

from pathlib import Path

from starstack.figures.scores import plot_scores
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    scores = read_table(snakemake.input.scores, "scores")
    params = snakemake.params
    figure = plot_scores(scores, labels=params.labels, weighted=params.weighted)
    save_figure(figure, Path(output.pdf).with_suffix(""))
