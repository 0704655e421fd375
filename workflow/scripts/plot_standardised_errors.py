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
    # The first structure, recalibrated if it was.
    methods = [name for name in table["method"].unique() if name.split(",")[0] == params.structure]
    figure = plot_standardised_errors(table, methods[-1], params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
