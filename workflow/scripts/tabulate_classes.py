"""Turn scores and calibration of the probabilities of classes into a table of a paper."""

from job import job

import pandas as pd

from starstack.tables.classes import class_summary
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    calibration = read_table(snakemake.input.calibration, "class_calibration")
    temperatures = [read_table(path, "temperatures") for path in snakemake.input.temperatures]
    table = class_summary(calibration, pd.concat(temperatures, ignore_index=True))
    caption = "probabilities of classes in the test rows, with one standard error"
    if params.weighted:
        caption += "; scores and entropy are weighted by the rows' sample weights, ECE is not"
    label = f"tab:{params.study}-classes"
    write_csv(table, output.calibration, index=True)
    write_latex(table, output.calibration_tex, f"{params.title}: {caption}.", label)
    write_html(table, output.calibration_html, f"{params.title}: {caption}")
