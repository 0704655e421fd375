# Leak-free stacking and neural networks, from data files to the figures and tables of a paper.
# The rules stand in workflow/rules, in the order in which data flow through them.

from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/startup.smk"
include: "workflow/rules/error_bars.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/base_models.smk"
include: "workflow/rules/meta_learners.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/derivatives.smk"
include: "workflow/rules/uncertainty.smk"
include: "workflow/rules/projection.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/uncertainty_results.smk"
include: "workflow/rules/classes.smk"
include: "workflow/rules/collect.smk"


onstart:
    hold_lock()
    check_models_before_work()
    wait_for_jobs_without_polling()


rule all:
    default_target: True
    input:
        rules.tables.input,
        get_figures,
    message:
        "all figures and tables are in results/; `make report` writes the report"
