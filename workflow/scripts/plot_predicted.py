"""Draw predicted against true labels with their error bars."""

from job import job

from pathlib import Path

from starstack.figures.predicted import plot_predicted
from starstack.figures.style import save_figure
from starstack.tables.budget import read_budget_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_budget_table(snakemake.input.budget)
    figure = plot_predicted(table, params.labels, params.structure)
    save_figure(figure, Path(output.pdf).with_suffix(""))
