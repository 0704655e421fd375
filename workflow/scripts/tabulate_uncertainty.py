"""Turn calibration and efficiency of a study into the tables of a paper."""

from job import job

import pandas as pd

from starstack.tables.calibration import calibration_summary
from starstack.tables.efficiency import efficiency_summary
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    path = snakemake.input.efficiency
    efficiency = efficiency_summary(read_table(path, "efficiency"), params.labels) if path else None
    tables = {
        "calibration": (
            calibration_summary(
                read_table(snakemake.input.calibration, "calibration"), params.labels
            ),
            "coverage of predicted intervals in the test rows, with one standard error",
        ),
        "efficiency": (
            pd.DataFrame() if efficiency is None else efficiency,
            "errors of the test rows over the Cramér–Rao bound, with one standard error",
        ),
    }
    for name, (table, caption) in tables.items():
        write_csv(table, getattr(output, name), index=not table.empty)
        label = f"tab:{params.study}-{name}"
        write_latex(table, getattr(output, f"{name}_tex"), f"{params.title}: {caption}.", label)
        write_html(table, getattr(output, f"{name}_html"), f"{params.title}: {caption}")
