"""Turn the errors of a study into a table of a paper."""

from job import job

from starstack.tables.errors import errors_table
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    table = errors_table(read_table(snakemake.input.errors, "errors"), params.labels)
    caption = f"{params.title}: errors of the test rows, with one standard error"
    write_csv(table, output.errors, index=True)
    write_latex(table, output.errors_tex, f"{caption}.", f"tab:{params.study}-errors")
    write_html(table, output.errors_html, caption)
