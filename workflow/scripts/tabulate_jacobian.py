"""Turn J·G of a study's networks into a table of a paper."""

from job import job

from starstack.tables.html import write_html
from starstack.tables.jacobian import identity_table
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv

with job(snakemake) as output:
    params = snakemake.params
    identity = read_table(snakemake.input.identity, "jacobian_identity")
    table = identity_table(identity, params.labels)
    caption = "answer of each predicted label to each true one, with one standard error"
    write_csv(table, output.identity, index=True)
    label = f"tab:{params.study}-jacobian-identity"
    write_latex(table, output.identity_tex, f"{params.title}: {caption}.", label)
    write_html(table, output.identity_html, f"{params.title}: {caption}")
