"""Draw how the errors of the labels hang together."""

from job import job

from pathlib import Path

from starstack.figures.correlation import plot_error_correlations
from starstack.figures.style import save_figure
from starstack.tables.budget import read_budget_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_budget_table(snakemake.input.budget)
    save_figure(
        plot_error_correlations(table, params.snr_bins, params.labels, params.structure),
        Path(output.pdf).with_suffix(""),
    )
