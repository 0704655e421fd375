# Base models, fold by fold, and the meta-features that their out-of-fold predictions make.


rule fit_base:
    input:
        sources=sources("fit_base.py"),
        classes=lambda wildcards: class_sources(base_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
    output:
        models="results/{study}/base_models/{model}/{fold}.skops",
        predictions="results/{study}/base_models/{model}/{fold}.h5",
        runtime="results/{study}/runtime/fit_base.{model}.{fold}.json",
    log:
        "results/{study}/logs/fit_base.{model}.{fold}.log",
    cache: True
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        study="{study}",
        model="{model}",
        folds=folds_of_job,
        seed=config["seed"],
        spec=base_spec,
        in_sample=lambda wildcards: bool(in_sample_learners(wildcards.study)),
        allowed_packages=lambda wildcards: packages_of(base_spec(wildcards)),
        trusted_types=lambda wildcards: trusted_types_of(base_spec(wildcards)),
    message:
        "{wildcards.study}: fit base model {wildcards.model}, fold {wildcards.fold}"
    script:
        "../scripts/fit_base.py"


rule assemble_meta_features:
    input:
        sources=sources("assemble_meta_features.py"),
        split=rules.split.output.split,
        predictions=get_base_predictions,
    output:
        meta_features="results/{study}/meta_features.h5",
        runtime="results/{study}/runtime/assemble_meta_features.json",
    log:
        "results/{study}/logs/assemble_meta_features.log",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=10,
    params:
        study="{study}",
        files=get_file_ranges,
    message:
        "{wildcards.study}: assemble the out-of-fold meta-features"
    script:
        "../scripts/assemble_meta_features.py"
