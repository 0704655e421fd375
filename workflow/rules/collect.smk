# Targets: what `snakemake`, `snakemake figures` and `snakemake tables` make.


def get_figures(wildcards):
    """All figures that the studies of the config have something to show in."""
    files = ["results/summary/figures/runtime.pdf"]
    for study, section in config["studies"].items():
        shown = ["scores", "reliability" if section["task"] == "classification" else "residuals"]
        # A short name always has weights; a class of any other kind may have none.
        if any("." not in entry["class"] for entry in section["meta_learners"].values()):
            shown.append("weights")
        if len(section["base_models"]) > 1:
            shown.append("diversity")
        if in_sample_learners(study):
            shown.append("leakage")
        files += [f"results/{study}/figures/{name}.pdf" for name in shown]
    return files


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
