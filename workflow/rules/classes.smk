# Probabilities of classes that know of the uncertainty of a network's weights, whether they hold, and
# their figures and tables.


rule class_probabilities:
    input:
        sources=sources("class_probabilities.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
        posteriors=get_posteriors,
    output:
        class_probabilities="results/{study}/networks/{network}.probabilities.csv",
        temperatures="results/{study}/networks/{network}.temperatures.csv",
        runtime="results/{study}/runtime/class_probabilities.{network}.json",
    log:
        "results/{study}/logs/class_probabilities.{network}.log",
    wildcard_constraints:
        study=one_of(budget_studies("classification")),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        study="{study}",
        network="{network}",
        seed=config["seed"],
        validation_fraction=get_validation_fraction,
        structures=lambda wildcards: uncertainty_of(wildcards)["structures"],
        draws=lambda wildcards: uncertainty_of(wildcards)["class_draws"],
    message:
        "{wildcards.study}: probabilities of classes by network {wildcards.network}"
    script:
        "../scripts/class_probabilities.py"


rule calibrate_classes:
    input:
        sources=sources("calibrate_classes.py"),
        data=rules.load_data.output.data,
        probabilities=get_budget_files("probabilities.csv"),
    output:
        class_calibration="results/{study}/evaluation/class_calibration.csv",
        class_reliability="results/{study}/evaluation/class_reliability.csv",
        runtime="results/{study}/runtime/calibrate_classes.json",
    log:
        "results/{study}/logs/calibrate_classes.log",
    wildcard_constraints:
        study=one_of(budget_studies("classification")),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        study="{study}",
        seed=config["seed"],
        networks=lambda wildcards: list(budget_networks(wildcards.study)),
    message:
        "{wildcards.study}: compare probabilities of classes with what came true"
    script:
        "../scripts/calibrate_classes.py"


rule plot_class_reliability:
    input:
        sources=sources("plot_class_reliability.py"),
        reliability=rules.calibrate_classes.output.class_reliability,
    output:
        pdf="results/{study}/figures/class_reliability.{network}.pdf",
        png="results/{study}/figures/class_reliability.{network}.png",
        svg=report(
            "results/{study}/figures/class_reliability.{network}.svg",
            caption="../report/class_reliability.rst",
            category=title_of,
            labels={"result": "Reliability of confidence", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_class_reliability.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        network="{network}",
    message:
        "{wildcards.study}: draw how often {wildcards.network} is right, against its confidence"
    script:
        "../scripts/plot_class_reliability.py"


rule plot_class_scores:
    input:
        sources=sources("plot_class_scores.py"),
        calibration=rules.calibrate_classes.output.class_calibration,
    output:
        pdf="results/{study}/figures/class_scores.{network}.pdf",
        png="results/{study}/figures/class_scores.{network}.png",
        svg=report(
            "results/{study}/figures/class_scores.{network}.svg",
            caption="../report/class_scores.rst",
            category=title_of,
            labels={"result": "Scores of probabilities", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_class_scores.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        network="{network}",
        weighted=is_weighted,
    message:
        "{wildcards.study}: draw the scores of the probabilities of {wildcards.network}"
    script:
        "../scripts/plot_class_scores.py"


rule tabulate_classes:
    input:
        sources=sources("tabulate_classes.py"),
        calibration=rules.calibrate_classes.output.class_calibration,
        temperatures=get_budget_files("temperatures.csv"),
    output:
        calibration="results/{study}/tables/class_calibration.csv",
        calibration_tex="results/{study}/tables/class_calibration.tex",
        calibration_html=report(
            "results/{study}/tables/class_calibration.html",
            caption="../report/class_calibration_table.rst",
            category=title_of,
            labels={"result": "Calibration of classes (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_classes.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        study="{study}",
        title=title_of,
        weighted=is_weighted,
    message:
        "{wildcards.study}: write the table of probabilities of classes"
    script:
        "../scripts/tabulate_classes.py"
