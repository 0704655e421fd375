"""Turn the errors over the Cramér–Rao bound of a study into a table of a paper."""

from job import job

from starstack.tables.efficiency import efficiency_summary
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    efficiency = read_table(snakemake.input.efficiency, "efficiency")
    table = efficiency_summary(efficiency, params.labels)
    what = "errors of the test rows over the Cramér–Rao bound, with one standard error"
    caption = f"{params.title}: {what}"
    write_csv(table, output.efficiency, index=True)
    write_latex(table, output.efficiency_tex, f"{caption}.", f"tab:{params.study}-efficiency")
    write_html(table, output.efficiency_html, caption)
