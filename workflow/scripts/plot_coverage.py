"""Draw how many of a network's errors the intervals of every method hold."""

from job import job

from pathlib import Path

from starstack.figures.coverage import plot_coverage
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    params = snakemake.params
    table = read_table(snakemake.input.calibration, "calibration")
    stack = table["estimator"] == params.stack
    # The stack has intervals of its own, which stand beside those of each network.
    table.loc[stack, "method"] += f" of {params.stack}"
    shown = table[stack | (table["estimator"] == params.network)]
    save_figure(plot_coverage(shown, labels=params.labels), Path(output.pdf).with_suffix(""))
