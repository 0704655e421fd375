"""Draw the loss curves of a study's networks."""

from job import job

from pathlib import Path

from starstack.figures.history import plot_history
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    history = read_table(snakemake.input.history, "history")
    figure = plot_history(history, snakemake.params.task)
    save_figure(figure, Path(output.pdf).with_suffix(""))
