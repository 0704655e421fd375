"""Draw the errors of a network over their predicted standard deviations."""

from job import job

from pathlib import Path

from starstack.figures.coverage import plot_standardised_errors
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_table(snakemake.input.histograms, "error_histograms")
    table = table[table["estimator"] == params.network]
    figure = plot_standardised_errors(table, params.method, params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
