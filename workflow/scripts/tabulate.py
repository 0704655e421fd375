"""Turn the result tables of a study into the tables of a paper, as CSV and LaTeX."""

from job import job

from functools import partial

import pandas as pd

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
    "scores": (
        "scores",
        partial(score_table, weighted=snakemake.params.weighted),
        "scores, with one standard error",
    ),
    "weights": ("weights", weight_table, "weights and bias of the meta-learners"),
    "weight_shares": (
        "weights",
        weight_share_table,
        "share of each base model (%) in the sum of absolute weights over meta-features and "
        "outputs, each weight times the standard deviation of its meta-feature, over that of the "
        "target if there is one; weights of blends as they are",
    ),
    "diversity": ("diversity", diversity_matrix, "correlation of the out-of-fold errors"),
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
