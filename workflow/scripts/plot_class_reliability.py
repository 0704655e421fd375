"""Draw how often a network is right against its confidence, by every method."""

from job import job

from pathlib import Path

from starstack.figures.classes import plot_class_reliability
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    table = read_table(snakemake.input.reliability, "class_reliability")
    figure = plot_class_reliability(table[table["estimator"] == snakemake.params.network])
    save_figure(figure, Path(output.pdf).with_suffix(""))
