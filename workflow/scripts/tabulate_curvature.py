"""Turn what is known of the curvature of a study's networks into a table of a paper."""

from job import job

import json
from pathlib import Path

import pandas as pd

from starstack.tables.curvature import curvature_table
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    records = [
        json.loads(Path(path).read_text()) | {"network": network}
        for network, path in zip(params.networks, snakemake.input.records, strict=True)
    ]
    eigenvalues = [read_table(path, "eigenvalues") for path in snakemake.input.eigenvalues]
    table = curvature_table(records, pd.concat(eigenvalues, ignore_index=True))
    caption = "approximations of the curvature of the networks"
    write_csv(table, output.curvature, index=True)
    write_latex(
        table, output.curvature_tex, f"{params.title}: {caption}.", f"tab:{params.study}-curvature"
    )
    write_html(table, output.curvature_html, f"{params.title}: {caption}")
