# Derivatives of the networks of a study: of their outputs with respect to their inputs, and of
# what they say of simulated stars with respect to the true labels.


rule input_jacobian:
    input:
        sources=sources("input_jacobian.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
    output:
        jacobian="results/{study}/networks/{network}.jacobian.h5",
        runtime="results/{study}/runtime/input_jacobian.{network}.json",
    log:
        "results/{study}/logs/input_jacobian.{network}.log",
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["analysis_threads"]
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        study="{study}",
        network="{network}",
        seed=config["seed"],
        rows=lambda wildcards: network_spec(wildcards)["jacobian"]["rows"],
        store=lambda wildcards: network_spec(wildcards)["jacobian"]["store"],
        quantile_rows=lambda wildcards: network_spec(wildcards)["jacobian"]["quantile_rows"],
    message:
        "{wildcards.study}: differentiate network {wildcards.network} by its inputs"
    script:
        "../scripts/input_jacobian.py"


rule jacobian_identity:
    input:
        sources=sources("jacobian_identity.py"),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        models=get_network_files("keras"),
        descriptions=get_network_files("json"),
    output:
        identity="results/{study}/evaluation/jacobian_identity.csv",
        runtime="results/{study}/runtime/jacobian_identity.json",
    log:
        "results/{study}/logs/jacobian_identity.log",
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        study="{study}",
        networks=lambda wildcards: list(study_of(wildcards)["networks"]),
        seed=config["seed"],
        data=lambda wildcards: study_of(wildcards)["data"],
        stars=500,
    message:
        "{wildcards.study}: compare the networks' derivatives with the simulator's"
    script:
        "../scripts/jacobian_identity.py"
