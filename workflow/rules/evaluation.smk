# Honest scores, errors, weights and diversity of a study, from stored predictions.


rule evaluate:
    input:
        sources=sources("evaluate.py"),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        # A study may consist of networks alone.
        meta_features=lambda wildcards: (
            rules.assemble_meta_features.output.meta_features
            if study_of(wildcards)["base_models"]
            else []
        ),
        predictions=get_meta_files("h5"),
        weights=get_meta_files("weights.csv"),
        networks=get_network_files("h5"),
        histories=get_network_files("history.csv"),
    output:
        scores="results/{study}/evaluation/scores.csv",
        differences="results/{study}/evaluation/differences.csv",
        weights="results/{study}/evaluation/weights.csv",
        diversity="results/{study}/evaluation/diversity.csv",
        predictions="results/{study}/evaluation/predictions.csv",
        reliability="results/{study}/evaluation/reliability.csv",
        errors="results/{study}/evaluation/errors.csv",
        history="results/{study}/evaluation/history.csv",
        runtime="results/{study}/runtime/evaluate.json",
    log:
        "results/{study}/logs/evaluate.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study="{study}",
        meta_learners=lambda wildcards: list(study_of(wildcards)["meta_learners"]),
        in_sample=lambda wildcards: in_sample_learners(wildcards.study),
        networks=lambda wildcards: list(study_of(wildcards)["networks"]),
        metrics=lambda wildcards: study_of(wildcards)["metrics"],
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
    message:
        "{wildcards.study}: score base models, meta-learners and networks"
    script:
        "../scripts/evaluate.py"
