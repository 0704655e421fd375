"""Turn the calibration of a study into a table of a paper."""

from job import job

from starstack.tables.calibration import calibration_summary
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    calibration = read_table(snakemake.input.calibration, "calibration")
    table = calibration_summary(calibration, params.labels)
    what = "coverage of predicted intervals in the test rows, with one standard error"
    caption = f"{params.title}: {what}"
    write_csv(table, output.calibration, index=True)
    write_latex(table, output.calibration_tex, f"{caption}.", f"tab:{params.study}-calibration")
    write_html(table, output.calibration_html, caption)
