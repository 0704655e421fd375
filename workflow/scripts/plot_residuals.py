"""Draw predicted against observed values, and the residuals."""

from job import job

from pathlib import Path

from starstack.figures.residuals import plot_residuals
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    predictions = read_table(snakemake.input.predictions, "predictions")
    figure = plot_residuals(predictions, labels=snakemake.params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
