"""Turn the calibration of baselines, beside that of the error budget, into a table of a paper."""

from job import job

import pandas as pd

from starstack.tables.calibration import calibration_summary
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    baselines = read_table(snakemake.input.calibration, "calibration")
    networks = read_table(snakemake.input.networks, "calibration")
    networks = networks[networks["estimator"].isin(baselines["estimator"].unique())]
    both = pd.concat([baselines, networks], ignore_index=True)
    table = calibration_summary(both, params.labels)
    caption = "coverage of baselines and of the error budget, with one standard error"
    write_csv(table, output.calibration, index=True)
    label = f"tab:{params.study}-baselines"
    write_latex(table, output.calibration_tex, f"{params.title}: {caption}.", label)
    write_html(table, output.calibration_html, f"{params.title}: {caption}")
