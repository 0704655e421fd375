"""Collect what the jobs of all studies measured of themselves: time and memory."""

from job import job

import json
from pathlib import Path

import pandas as pd

from starstack.tables.html import write_html
from starstack.tables.latex import write_latex
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.tables.summaries import runtime_table

with job(snakemake) as output:
    records = [json.loads(Path(path).read_text()) for path in snakemake.input.runtimes]
    runtime = pd.DataFrame(records, columns=list(RESULT_TABLES["runtime"]))
    per_rule = runtime_table(runtime).round(3)
    write_csv(runtime, output.jobs)
    write_csv(per_rule, output.rules, index=True)
    write_html(per_rule, output.rules_html, "Time and memory per rule")
    write_latex(per_rule, output.rules_tex, "Time and memory per rule.", "tab:runtime")
