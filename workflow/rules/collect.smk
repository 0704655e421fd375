# Targets: what `snakemake`, `snakemake figures` and `snakemake tables` make.


localrules:
    figures,
    tables,


rule figures:
    input:
        get_figures,
    message:
        "all figures are drawn"


rule tables:
    input:
        expand(rules.tabulate.output.scores, study=config["studies"]),
        rules.tabulate_runtime.output.rules,
        rules.quote_numbers.output.numbers,
    message:
        "all tables are written"
