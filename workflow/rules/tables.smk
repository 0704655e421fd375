# Tables for reading and for a paper, and the numbers that its text quotes.


rule tabulate:
    input:
        sources=sources("tabulate.py"),
        scores=rules.evaluate.output.scores,
        weights=rules.evaluate.output.weights,
        diversity=rules.evaluate.output.diversity,
    output:
        scores="results/{study}/tables/scores.csv",
        weights="results/{study}/tables/weights.csv",
        weight_shares="results/{study}/tables/weight_shares.csv",
        diversity="results/{study}/tables/diversity.csv",
        scores_tex="results/{study}/tables/scores.tex",
        weights_tex="results/{study}/tables/weights.tex",
        weight_shares_tex="results/{study}/tables/weight_shares.tex",
        diversity_tex="results/{study}/tables/diversity.tex",
        scores_html=report(
            "results/{study}/tables/scores.html",
            caption="../report/scores_table.rst",
            category=title_of,
            labels={"result": "Scores (table)"},
        ),
        weights_html=report(
            "results/{study}/tables/weights.html",
            caption="../report/weights.rst",
            category=title_of,
            labels={"result": "Weights (table)"},
        ),
    log:
        "results/{study}/logs/tabulate.log",
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
        "{wildcards.study}: write the tables"
    script:
        "../scripts/tabulate.py"


rule tabulate_errors:
    input:
        sources=sources("tabulate_errors.py"),
        errors=rules.evaluate.output.errors,
    output:
        errors="results/{study}/tables/errors.csv",
        errors_tex="results/{study}/tables/errors.tex",
        errors_html=report(
            "results/{study}/tables/errors.html",
            caption="../report/errors_table.rst",
            category=title_of,
            labels={"result": "Errors (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_errors.log",
    wildcard_constraints:
        study=one_of(studies_of("regression")),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        study="{study}",
        title=title_of,
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: write the table of errors"
    script:
        "../scripts/tabulate_errors.py"


rule tabulate_projection:
    input:
        sources=sources("tabulate_projection.py"),
        certificates=rules.trace_projection.output.certificates,
    output:
        certificates="results/{study}/tables/projection.csv",
        certificates_tex="results/{study}/tables/projection.tex",
        certificates_html=report(
            "results/{study}/tables/projection.html",
            caption="../report/projection_table.rst",
            category=title_of,
            labels={"result": "Joint fits (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_projection.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        study="{study}",
        title=title_of,
    message:
        "{wildcards.study}: write the table of joint fits"
    script:
        "../scripts/tabulate_projection.py"


rule tabulate_jacobian:
    input:
        sources=sources("tabulate_jacobian.py"),
        identity=rules.jacobian_identity.output.identity,
    output:
        identity="results/{study}/tables/jacobian_identity.csv",
        identity_tex="results/{study}/tables/jacobian_identity.tex",
        identity_html=report(
            "results/{study}/tables/jacobian_identity.html",
            caption="../report/jacobian_identity.rst",
            category=title_of,
            labels={"result": "Answers of labels (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_jacobian.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        study="{study}",
        title=title_of,
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: write the table of answers of labels"
    script:
        "../scripts/tabulate_jacobian.py"


rule tabulate_runtime:
    input:
        sources=sources("tabulate_runtime.py"),
        runtimes=get_runtimes,
    output:
        jobs="results/summary/runtime.csv",
        rules="results/summary/runtime_per_rule.csv",
        rules_html=report(
            "results/summary/runtime_per_rule.html",
            caption="../report/runtime.rst",
            category="All studies",
            labels={"result": "Time and memory (table)"},
        ),
        rules_tex="results/summary/runtime_per_rule.tex",
    log:
        "results/summary/logs/tabulate_runtime.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "collect time and memory of all jobs"
    script:
        "../scripts/tabulate_runtime.py"


rule quote_numbers:
    input:
        sources=sources("quote_numbers.py"),
        scores=expand(rules.evaluate.output.scores, study=judged_studies()),
        differences=expand(rules.evaluate.output.differences, study=judged_studies()),
        weights=expand(rules.evaluate.output.weights, study=judged_studies()),
    output:
        numbers="results/summary/numbers.json",
    log:
        "results/summary/logs/quote_numbers.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "collect the numbers that a text quotes"
    script:
        "../scripts/quote_numbers.py"
