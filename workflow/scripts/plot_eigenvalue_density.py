"""Draw the density of the eigenvalues of each network's Hessian."""

from job import job

from pathlib import Path

import pandas as pd

from starstack.figures.curvature import plot_eigenvalue_density
from starstack.figures.style import save_figure
from starstack.tables.results import read_table

with job(snakemake) as output:
    tables = [read_table(path, "eigenvalue_density") for path in snakemake.input.densities]
    figure = plot_eigenvalue_density(pd.concat(tables, ignore_index=True))
    save_figure(figure, Path(output.pdf).with_suffix(""))
