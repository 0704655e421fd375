"""Draw errors over the Cramér–Rao bound against the signal-to-noise ratio."""

from job import job

from pathlib import Path

from starstack.figures.cramer_rao import plot_cramer_rao
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_table(snakemake.input.efficiency, "efficiency")
    # The stars near S/N 100 are for the table: they are in other bins as well.
    table = table[table["snr"] != params.near]
    figure = plot_cramer_rao(table, labels=params.labels)
    save_figure(figure, Path(output.pdf).with_suffix(""))
