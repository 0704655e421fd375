# Figures, each from result tables alone: a colour or a label never refits anything.


rule plot_spectra:
    input:
        sources=sources("plot_spectra.py"),
        data=rules.load_data.output.data,
    output:
        pdf="results/{study}/figures/spectra.pdf",
        png="results/{study}/figures/spectra.png",
        svg=report(
            "results/{study}/figures/spectra.svg",
            caption="../report/spectra.rst",
            category=title_of,
            labels={"result": "Spectra"},
        ),
    log:
        "results/{study}/logs/plot_spectra.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw a few spectra"
    script:
        "../scripts/plot_spectra.py"


rule plot_scores:
    input:
        sources=sources("plot_scores.py"),
        scores=rules.evaluate.output.scores,
    output:
        pdf="results/{study}/figures/scores.pdf",
        png="results/{study}/figures/scores.png",
        svg=report(
            "results/{study}/figures/scores.svg",
            caption="../report/scores.rst",
            category=title_of,
            labels={"result": "Scores"},
        ),
    log:
        "results/{study}/logs/plot_scores.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
        weighted=is_weighted,
    message:
        "{wildcards.study}: draw the scores"
    script:
        "../scripts/plot_scores.py"


rule plot_weights:
    input:
        sources=sources("plot_weights.py"),
        weights=rules.evaluate.output.weights,
    output:
        pdf="results/{study}/figures/weights.pdf",
        png="results/{study}/figures/weights.png",
        svg=report(
            "results/{study}/figures/weights.svg",
            caption="../report/weights.rst",
            category=title_of,
            labels={"result": "Weights"},
        ),
    log:
        "results/{study}/logs/plot_weights.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw the weights of the meta-learners"
    script:
        "../scripts/plot_weights.py"


rule plot_diversity:
    input:
        sources=sources("plot_diversity.py"),
        diversity=rules.evaluate.output.diversity,
    output:
        pdf="results/{study}/figures/diversity.pdf",
        png="results/{study}/figures/diversity.png",
        svg=report(
            "results/{study}/figures/diversity.svg",
            caption="../report/diversity.rst",
            category=title_of,
            labels={"result": "Diversity"},
        ),
    log:
        "results/{study}/logs/plot_diversity.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw the correlation of errors"
    script:
        "../scripts/plot_diversity.py"


rule plot_reliability:
    input:
        sources=sources("plot_reliability.py"),
        reliability=rules.evaluate.output.reliability,
    output:
        pdf="results/{study}/figures/reliability.pdf",
        png="results/{study}/figures/reliability.png",
        svg=report(
            "results/{study}/figures/reliability.svg",
            caption="../report/reliability.rst",
            category=title_of,
            labels={"result": "Reliability"},
        ),
    log:
        "results/{study}/logs/plot_reliability.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw the reliability diagram"
    script:
        "../scripts/plot_reliability.py"


rule plot_residuals:
    input:
        sources=sources("plot_residuals.py"),
        predictions=rules.evaluate.output.predictions,
    output:
        pdf="results/{study}/figures/residuals.pdf",
        png="results/{study}/figures/residuals.png",
        svg=report(
            "results/{study}/figures/residuals.svg",
            caption="../report/residuals.rst",
            category=title_of,
            labels={"result": "Predicted against observed"},
        ),
    log:
        "results/{study}/logs/plot_residuals.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw predicted against observed values"
    script:
        "../scripts/plot_residuals.py"


rule plot_errors:
    input:
        sources=sources("plot_errors.py"),
        errors=rules.evaluate.output.errors,
    output:
        pdf="results/{study}/figures/errors.pdf",
        png="results/{study}/figures/errors.png",
        svg=report(
            "results/{study}/figures/errors.svg",
            caption="../report/errors.rst",
            category=title_of,
            labels={"result": "Errors against S/N"},
        ),
    log:
        "results/{study}/logs/plot_errors.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw bias and scatter against the signal-to-noise ratio"
    script:
        "../scripts/plot_errors.py"


rule plot_leakage:
    input:
        sources=sources("plot_leakage.py"),
        weights=rules.evaluate.output.weights,
        scores=rules.evaluate.output.scores,
    output:
        pdf="results/{study}/figures/leakage.pdf",
        png="results/{study}/figures/leakage.png",
        svg=report(
            "results/{study}/figures/leakage.svg",
            caption="../report/leakage.rst",
            category=title_of,
            labels={"result": "Leakage"},
        ),
    log:
        "results/{study}/logs/plot_leakage.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw what leakage does to the weights"
    script:
        "../scripts/plot_leakage.py"


rule plot_history:
    input:
        sources=sources("plot_history.py"),
        history=rules.evaluate.output.history,
    output:
        pdf="results/{study}/figures/history.pdf",
        png="results/{study}/figures/history.png",
        svg=report(
            "results/{study}/figures/history.svg",
            caption="../report/history.rst",
            category=title_of,
            labels={"result": "Loss curves"},
        ),
    log:
        "results/{study}/logs/plot_history.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        task=lambda wildcards: study_of(wildcards)["task"],
    message:
        "{wildcards.study}: draw the loss curves of the networks"
    script:
        "../scripts/plot_history.py"


rule plot_saddle:
    input:
        sources=sources("plot_saddle.py"),
        history=rules.trace_projection.output.history,
        eigenvalues=rules.trace_projection.output.eigenvalues,
    output:
        pdf="results/{study}/figures/saddle.pdf",
        png="results/{study}/figures/saddle.png",
        svg=report(
            "results/{study}/figures/saddle.svg",
            caption="../report/saddle.rst",
            category=title_of,
            labels={"result": "Saddles"},
        ),
    log:
        "results/{study}/logs/plot_saddle.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw loss and curvature of the joint fits"
    script:
        "../scripts/plot_saddle.py"


rule plot_projection:
    input:
        sources=sources("plot_projection.py"),
        rows=rules.project_rows.output.rows,
        regions=rules.project_rows.output.regions,
    output:
        pdf="results/{study}/figures/projection.pdf",
        png="results/{study}/figures/projection.png",
        svg=report(
            "results/{study}/figures/projection.svg",
            caption="../report/projection.rst",
            category=title_of,
            labels={"result": "Projection"},
        ),
    log:
        "results/{study}/logs/plot_projection.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw the learned projection"
    script:
        "../scripts/plot_projection.py"


rule plot_jacobian:
    input:
        sources=sources("plot_jacobian.py"),
        jacobians=get_network_files("jacobian.h5"),
    output:
        pdf="results/{study}/figures/jacobian.pdf",
        png="results/{study}/figures/jacobian.png",
        svg=report(
            "results/{study}/figures/jacobian.svg",
            caption="../report/jacobian.rst",
            category=title_of,
            labels={"result": "Sensitivity"},
        ),
    log:
        "results/{study}/logs/plot_jacobian.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        networks=lambda wildcards: list(study_of(wildcards)["networks"]),
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw what each label answers to"
    script:
        "../scripts/plot_jacobian.py"


rule plot_runtime:
    input:
        sources=sources("plot_runtime.py"),
        jobs=rules.tabulate_runtime.output.jobs,
    output:
        pdf="results/summary/figures/runtime.pdf",
        png="results/summary/figures/runtime.png",
        svg=report(
            "results/summary/figures/runtime.svg",
            caption="../report/runtime.rst",
            category="All studies",
            labels={"result": "Time and memory"},
        ),
    log:
        "results/summary/logs/plot_runtime.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "draw time and memory per rule"
    script:
        "../scripts/plot_runtime.py"
