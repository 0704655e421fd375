# Targets: what `snakemake`, `snakemake figures`, `snakemake tables` and `snakemake baselines` make.


localrules:
    baselines,
    figures,
    tables,


rule figures:
    input:
        get_figures,
    message:
        "all figures are drawn"


rule tables:
    input:
        expand(rules.tabulate.output.scores, study=judged_studies()),
        expand(rules.tabulate_errors.output.errors, study=judged_studies("regression")),
        expand(rules.tabulate_projection.output.certificates, study=traced_studies()),
        expand(rules.tabulate_jacobian.output.identity, study=simulated_studies()),
        expand(rules.tabulate_curvature.output.curvature, study=budget_studies()),
        expand(rules.tabulate_uncertainty.output.calibration, study=budget_studies("regression")),
        expand(rules.tabulate_efficiency.output.efficiency, study=bounded_studies()),
        expand(rules.tabulate_classes.output.calibration, study=budget_studies("classification")),
        rules.tabulate_runtime.output.rules,
        rules.quote_numbers.output.numbers,
    message:
        "all tables are written"


rule baselines:
    input:
        expand(rules.tabulate_baselines.output.calibration, study=budget_studies("regression")),
    message:
        "baselines of error bars are trained and compared"
