# Figures and tables of error bars, from result tables alone.


rule plot_coverage:
    input:
        sources=sources("plot_coverage.py"),
        calibration=rules.calibrate.output.calibration,
    output:
        pdf="results/{study}/figures/coverage.{network}.pdf",
        png="results/{study}/figures/coverage.{network}.png",
        svg=report(
            "results/{study}/figures/coverage.{network}.svg",
            caption="../report/coverage.rst",
            category=title_of,
            labels={"result": "Coverage", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_coverage.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        network="{network}",
        stack=lambda wildcards: conformal_stack(wildcards.study),
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw how often intervals of {wildcards.network} hold the truth"
    script:
        "../scripts/plot_coverage.py"


rule plot_standardised_errors:
    input:
        sources=sources("plot_standardised_errors.py"),
        histograms=rules.calibrate.output.error_histograms,
    output:
        pdf="results/{study}/figures/standardised_errors.{network}.pdf",
        png="results/{study}/figures/standardised_errors.{network}.png",
        svg=report(
            "results/{study}/figures/standardised_errors.{network}.svg",
            caption="../report/standardised_errors.rst",
            category=title_of,
            labels={"result": "Standardised errors", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_standardised_errors.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        network="{network}",
        structure=lambda wildcards: uncertainty_of(wildcards)["structures"][0],
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw the errors of {wildcards.network} over their predictions"
    script:
        "../scripts/plot_standardised_errors.py"


rule plot_error_budget:
    input:
        sources=sources("plot_error_budget.py"),
        budget=first_structure("budget.csv"),
    output:
        pdf="results/{study}/figures/error_budget.{network}.pdf",
        png="results/{study}/figures/error_budget.{network}.png",
        svg=report(
            "results/{study}/figures/error_budget.{network}.svg",
            caption="../report/error_budget.rst",
            category=title_of,
            labels={"result": "Error budget", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_error_budget.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        structure=lambda wildcards: uncertainty_of(wildcards)["structures"][0],
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw the error budget of {wildcards.network}"
    script:
        "../scripts/plot_error_budget.py"


rule plot_error_correlations:
    input:
        sources=sources("plot_error_correlations.py"),
        budget=first_structure("budget.csv"),
    output:
        pdf="results/{study}/figures/error_correlations.{network}.pdf",
        png="results/{study}/figures/error_correlations.{network}.png",
        svg=report(
            "results/{study}/figures/error_correlations.{network}.svg",
            caption="../report/error_correlations.rst",
            category=title_of,
            labels={"result": "Correlations of the errors", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_error_correlations.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        structure=lambda wildcards: uncertainty_of(wildcards)["structures"][0],
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw the correlations of the errors of {wildcards.network}"
    script:
        "../scripts/plot_error_correlations.py"


rule plot_predicted:
    input:
        sources=sources("plot_predicted.py"),
        budget=first_structure("budget.csv"),
    output:
        pdf="results/{study}/figures/predicted.{network}.pdf",
        png="results/{study}/figures/predicted.{network}.png",
        svg=report(
            "results/{study}/figures/predicted.{network}.svg",
            caption="../report/predicted.rst",
            category=title_of,
            labels={"result": "Predicted against true", "network": "{network}"},
        ),
    log:
        "results/{study}/logs/plot_predicted.{network}.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        structure=lambda wildcards: uncertainty_of(wildcards)["structures"][0],
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw predictions of {wildcards.network} with their errors"
    script:
        "../scripts/plot_predicted.py"


rule plot_cramer_rao:
    input:
        sources=sources("plot_cramer_rao.py"),
        efficiency=rules.cramer_rao.output.efficiency,
    output:
        pdf="results/{study}/figures/cramer_rao.pdf",
        png="results/{study}/figures/cramer_rao.png",
        svg=report(
            "results/{study}/figures/cramer_rao.svg",
            caption="../report/cramer_rao.rst",
            category=title_of,
            labels={"result": "Cramér–Rao bound"},
        ),
    log:
        "results/{study}/logs/plot_cramer_rao.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        near=f"{NEAR_100[0]}-{NEAR_100[1]}",
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw errors over the Cramér–Rao bound"
    script:
        "../scripts/plot_cramer_rao.py"


rule plot_eigenvalue_density:
    input:
        sources=sources("plot_eigenvalue_density.py"),
        densities=get_budget_files("eigenvalue_density.csv"),
    output:
        pdf="results/{study}/figures/eigenvalue_density.pdf",
        png="results/{study}/figures/eigenvalue_density.png",
        svg=report(
            "results/{study}/figures/eigenvalue_density.svg",
            caption="../report/eigenvalue_density.rst",
            category=title_of,
            labels={"result": "Eigenvalues of the Hessian"},
        ),
    log:
        "results/{study}/logs/plot_eigenvalue_density.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "{wildcards.study}: draw the eigenvalues of the Hessian"
    script:
        "../scripts/plot_eigenvalue_density.py"


rule plot_structures:
    input:
        sources=sources("plot_structures.py"),
        structures=rules.compare_structures.output.structures,
    output:
        pdf="results/{study}/figures/structures.pdf",
        png="results/{study}/figures/structures.png",
        svg=report(
            "results/{study}/figures/structures.svg",
            caption="../report/structures.rst",
            category=title_of,
            labels={"result": "Structures of the curvature"},
        ),
    log:
        "results/{study}/logs/plot_structures.log",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: study_of(wildcards)["target_labels"],
    message:
        "{wildcards.study}: draw structures of the curvature beside the exact one"
    script:
        "../scripts/plot_structures.py"


rule tabulate_curvature:
    input:
        sources=sources("tabulate_curvature.py"),
        records=get_structure_files("json"),
        eigenvalues=get_budget_files("eigenvalues.csv"),
    output:
        curvature="results/{study}/tables/curvature.csv",
        curvature_tex="results/{study}/tables/curvature.tex",
        curvature_html=report(
            "results/{study}/tables/curvature.html",
            caption="../report/curvature_table.rst",
            category=title_of,
            labels={"result": "Curvature (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_curvature.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        study="{study}",
        title=title_of,
        networks=lambda wildcards: [
            network
            for network, options in budget_networks(wildcards.study).items()
            for _ in options["structures"]
        ],
    message:
        "{wildcards.study}: write the table of curvatures"
    script:
        "../scripts/tabulate_curvature.py"


rule tabulate_uncertainty:
    input:
        sources=sources("tabulate_uncertainty.py"),
        calibration=rules.calibrate.output.calibration,
    output:
        calibration="results/{study}/tables/calibration.csv",
        calibration_tex="results/{study}/tables/calibration.tex",
        calibration_html=report(
            "results/{study}/tables/calibration.html",
            caption="../report/calibration_table.rst",
            category=title_of,
            labels={"result": "Calibration (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_uncertainty.log",
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
        "{wildcards.study}: write the table of error bars"
    script:
        "../scripts/tabulate_uncertainty.py"


rule tabulate_efficiency:
    input:
        sources=sources("tabulate_efficiency.py"),
        efficiency=rules.cramer_rao.output.efficiency,
    output:
        efficiency="results/{study}/tables/cramer_rao.csv",
        efficiency_tex="results/{study}/tables/cramer_rao.tex",
        efficiency_html=report(
            "results/{study}/tables/cramer_rao.html",
            caption="../report/cramer_rao_table.rst",
            category=title_of,
            labels={"result": "Cramér–Rao bound (table)"},
        ),
    log:
        "results/{study}/logs/tabulate_efficiency.log",
    wildcard_constraints:
        study=one_of(bounded_studies()),
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
        "{wildcards.study}: write the table of errors over the Cramér–Rao bound"
    script:
        "../scripts/tabulate_efficiency.py"


rule tabulate_baselines:
    input:
        sources=sources("tabulate_baselines.py"),
        calibration=rules.calibrate_baselines.output.calibration,
        networks=rules.calibrate.output.calibration,
    output:
        calibration="results/{study}/tables/baselines.csv",
        calibration_tex="results/{study}/tables/baselines.tex",
        calibration_html="results/{study}/tables/baselines.html",
    log:
        "results/{study}/logs/tabulate_baselines.log",
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
        "{wildcards.study}: write the table of baselines beside the error budget"
    script:
        "../scripts/tabulate_baselines.py"
