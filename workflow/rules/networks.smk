# The networks of a study: trained on its training rows, with checkpoints that a killed run goes on from.


rule train_network:
    input:
        sources=sources("train_network.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
    output:
        model="results/{study}/networks/{network}.keras",
        description="results/{study}/networks/{network}.json",
        history="results/{study}/networks/{network}.history.csv",
        predictions="results/{study}/networks/{network}.h5",
        runtime="results/{study}/runtime/train_network.{network}.json",
    log:
        "results/{study}/logs/train_network.{network}.log",
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["threads"]
    resources:
        mem_mb=4000,
        runtime=lambda wildcards: network_spec(wildcards)["runtime"],
        # Asked for only where the config names a GPU; elsewhere the resource does not exist.
        gpu=lambda wildcards: 1 if network_spec(wildcards)["device"]["device"] == "gpu" else None,
    params:
        study="{study}",
        network="{network}",
        seed=config["seed"],
        build=lambda wildcards: network_spec(wildcards)["build"],
        build_params=lambda wildcards: network_spec(wildcards)["build_params"],
        input_shape=lambda wildcards: network_spec(wildcards)["input_shape"],
        training=lambda wildcards: network_spec(wildcards)["training"],
        device=lambda wildcards: network_spec(wildcards)["device"],
        allowed_packages=lambda wildcards: builder_packages(network_spec(wildcards)),
    message:
        "{wildcards.study}: train network {wildcards.network}"
    script:
        "../scripts/train_network.py"
