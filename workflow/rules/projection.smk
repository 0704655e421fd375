# A projection that is trained together with a logistic regression: where fits get stuck, what is
# proved of their ends, and the plane of a projection of rank two.


rule trace_projection:
    input:
        sources=sources("trace_projection.py"),
        data=rules.load_data.output.data,
        split=lambda wildcards: (
            rules.split.output.split if wildcards.study in judged_studies() else []
        ),
    output:
        history="results/{study}/projection/history.csv",
        eigenvalues="results/{study}/projection/eigenvalues.csv",
        certificates="results/{study}/projection/certificates.csv",
        runtime="results/{study}/runtime/trace_projection.json",
    log:
        "results/{study}/logs/trace_projection.log",
    wildcard_constraints:
        study=one_of(traced_studies()),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        study="{study}",
        seed=config["seed"],
        projection=lambda wildcards: {
            key: value for key, value in study_of(wildcards)["projection"].items() if key != "draw"
        },
        allowed_packages=config["allowed_packages"],
    message:
        "{wildcards.study}: trace joint fits of projection and logistic regression"
    script:
        "../scripts/trace_projection.py"


rule project_rows:
    input:
        sources=sources("project_rows.py"),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        models=get_drawn_models,
    output:
        rows="results/{study}/projection/rows.csv",
        regions="results/{study}/projection/regions.csv",
        runtime="results/{study}/runtime/project_rows.json",
    log:
        "results/{study}/logs/project_rows.log",
    wildcard_constraints:
        study=one_of(traced_studies()),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        study="{study}",
        model=drawn_model,
    message:
        "{wildcards.study}: project the test rows"
    script:
        "../scripts/project_rows.py"
