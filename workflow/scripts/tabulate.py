"""Turn the result tables of a study into the tables of a paper, as CSV and LaTeX."""

from job import job

from functools import partial

import pandas as pd

from starstack.tables.errors import errors_table
from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import read_table, write_csv
from starstack.tables.summaries import (
    diversity_matrix,
    score_table,
    weight_share_table,
    weight_table,
)

# Table -> result table it is made from, how, and its caption.
TABLES = {
    "scores": ("scores", score_table, "scores, with one standard error"),
    "weights": ("weights", weight_table, "weights and bias of the meta-learners"),
    "weight_shares": ("weights", weight_share_table, "share of each base model in the weights (%)"),
    "diversity": ("diversity", diversity_matrix, "correlation of the out-of-fold errors"),
    "errors": (
        "errors",
        partial(errors_table, labels=snakemake.params.labels),
        "errors of the test rows, with one standard error",
    ),
}

with job(snakemake) as output:
    params = snakemake.params
    for name, (source, arrange, caption) in TABLES.items():
        result = read_table(snakemake.input[source], source)
        # A study of one base model, or of meta-learners without weights, has an empty table.
        table = pd.DataFrame() if result.empty else arrange(result)
        write_csv(table, getattr(output, name), index=not table.empty)
        label = f"tab:{params.study}-{name.replace('_', '-')}"
        write_latex(table, getattr(output, f"{name}_tex"), f"{params.title}: {caption}.", label)
        if hasattr(output, f"{name}_html"):
            write_html(table, getattr(output, f"{name}_html"), f"{params.title}: {caption}")
