"""Turn the certificates of a study's joint fits into a table of a paper."""

from job import job

from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.projection import certificate_table
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    table = certificate_table(read_table(snakemake.input.certificates, "projection_certificates"))
    caption = "joint fits of a projection and a logistic regression"
    write_csv(table, output.certificates)
    write_latex(
        table,
        output.certificates_tex,
        f"{params.title}: {caption}.",
        f"tab:{params.study}-projection",
    )
    write_html(table, output.certificates_html, f"{params.title}: {caption}")
