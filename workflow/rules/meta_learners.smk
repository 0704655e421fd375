# Meta-learners on stored out-of-fold predictions.


rule fit_meta:
    input:
        sources=sources("fit_meta.py"),
        classes=lambda wildcards: class_sources(meta_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        meta_features=rules.assemble_meta_features.output.meta_features,
    output:
        model="results/{study}/meta_learners/{meta}.skops",
        predictions="results/{study}/meta_learners/{meta}.h5",
        weights="results/{study}/meta_learners/{meta}.weights.csv",
        runtime="results/{study}/runtime/fit_meta.{meta}.json",
    log:
        "results/{study}/logs/fit_meta.{meta}.log",
    cache: True
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        study="{study}",
        meta="{meta}",
        seed=config["seed"],
        spec=meta_spec,
        options=get_meta_options,
        allowed_packages=lambda wildcards: packages_of(meta_spec(wildcards)),
        trusted_types=lambda wildcards: trusted_types_of(meta_spec(wildcards)),
    message:
        "{wildcards.study}: fit meta-learner {wildcards.meta}"
    script:
        "../scripts/fit_meta.py"
